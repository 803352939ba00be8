"""The partitions: one per capture, added by the sensor and by `mt-pipeline ingest`. The key is the capture key (`captures/identity.py`).

Reports have one per experiment, added when the first of it is asked for; the key is the folded name.
"""

import dagster as dg

captures = dg.DynamicPartitionsDefinition(name="captures")
experiments = dg.DynamicPartitionsDefinition(name="experiments")
