"""What happens to a capture: prepare, load, finish. Nothing here imports Dagster."""
