"""The Parquet back end: the same rows as files for DuckDB, pandas, Polars and Spark."""
