"""Atomic files, processes, the pool of DuckDB databases: what every room may use."""
