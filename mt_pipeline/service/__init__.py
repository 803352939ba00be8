"""`mt-pipeline run` and `make setup`: processes started, watched, stopped; Dagster's home."""
