"""All that imports Dagster: partitions, assets, checks, resources, jobs, sensors. The work itself is in the rooms."""
