"""Captures for the tests and for the benchmark, built by code.

`files.py` writes capture files. `hellos.py` makes the messages that carry server names.
`traffic.py`, `tunnels.py` and `odd.py` make frames, and `everything.py` combines them. `bulk.py`
writes the big capture of the benchmark. `test_building.py` only tests that tshark sees what each
builder claims, not what the product does with it.
"""
