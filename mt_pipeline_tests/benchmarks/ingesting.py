"""The process to measure: the job with all captures of a folder, in runs as large as the sensor's.

`python -m mt_pipeline_tests.benchmarks.ingesting FOLDER FILE` writes the seconds and the processor
seconds of Dagster's runs to the file, children included.
"""

import logging
import os
import shutil
import sys
from pathlib import Path

from mt_pipeline import settings
from mt_pipeline.captures import inbox
from mt_pipeline.definitions import build_defs
from mt_pipeline.defs.partitions import captures
from mt_pipeline.defs.runs import CAPTURES_PER_RUN
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.service import dagster_home
from mt_pipeline_tests.benchmarks.measuring import used


def main(source: Path, output: Path) -> None:
    """Ingest all captures of a folder; end with an error if a run fails."""
    logging.disable(logging.CRITICAL)
    options = settings.load().options()
    shutil.copytree(source, options.inbox_dir / "bench", copy_function=os.link)
    workspace = Workspace(options)
    keys = sorted(capture.key for capture in inbox.walk(options.inbox_dir).captures)
    seconds = processor = 0.0
    with dagster_home.opened(options) as opened:
        opened.add_dynamic_partitions(captures.name or "", keys)
        for start in range(0, len(keys), CAPTURES_PER_RUN):
            some = keys[start : start + CAPTURES_PER_RUN]
            before = used()
            result = (
                build_defs(workspace=workspace)
                .resolve_job_def("ingest_captures")
                .execute_in_process(
                    instance=opened,
                    tags={
                        "dagster/asset_partition_range_start": some[0],
                        "dagster/asset_partition_range_end": some[-1],
                    },
                )
            )
            record = opened.get_run_record_by_id(result.run_id)
            if record is None or record.end_time is None or record.start_time is None:
                sys.exit(f"run {result.run_id} did not end")
            seconds += record.end_time - record.start_time
            processor += used() - before
    output.write_text(f"{seconds} {processor}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
