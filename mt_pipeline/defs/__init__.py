"""What Dagster needs: assets, checks, jobs, sensors. `pipeline/` does the work itself."""
