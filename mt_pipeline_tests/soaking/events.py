"""Writes events of materialisations: `python -m mt_pipeline_tests.soaking.events DATA COUNT`."""

import os
import sys
from pathlib import Path

import dagster as dg

from mt_pipeline.service import dagster_home
from mt_pipeline.settings import Settings


def main(data: Path, count: int) -> None:
    """Write the events, and check that each is stored."""
    with dagster_home.opened(Settings(_env_file=None, data_dir=data).options()) as opened:
        for number in range(count):
            opened.report_runless_asset_event(
                dg.AssetMaterialization("tshark_json", partition=f"{os.getpid()}-{number}")
            )
        mine = [
            key
            for key in opened.get_materialized_partitions(dg.AssetKey("tshark_json"))
            if key.startswith(f"{os.getpid()}-")
        ]
        if len(mine) != count:
            sys.exit(f"{len(mine)} of {count} events are there")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
