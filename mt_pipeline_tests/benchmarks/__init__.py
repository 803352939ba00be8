"""What `make bench` measures, part by part; `bench.py` runs them."""
