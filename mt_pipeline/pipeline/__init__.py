"""A capture's way through the rooms: prepare, load, finish. Knows no Dagster."""
