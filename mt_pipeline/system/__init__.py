"""Atomic files, processes, the pool of DuckDB databases: tools for every room."""
