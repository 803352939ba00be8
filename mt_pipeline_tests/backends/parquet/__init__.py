"""Tests of the parquet room."""
