"""The Parquet room: the rows that QuestDB has, as a data set of files for DuckDB, pandas, Polars and Spark."""
