"""Captures for the tests and for the benchmark, built by code.

`files.py` writes capture files, `hellos.py` makes the messages that carry server names, `traffic.py`, `tunnels.py` and `odd.py` make
frames, `everything.py` puts them together, `bulk.py` writes the big capture of the benchmark. What the product does with them is not
tested here: `test_building.py` only holds that tshark sees what each builder claims.
"""
