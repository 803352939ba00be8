"""The partitions: one per capture, added by the sensor and by `mt-pipeline ingest`. The key is the capture key (`captures/identity.py`)."""

import dagster as dg

captures = dg.DynamicPartitionsDefinition(name="captures")
