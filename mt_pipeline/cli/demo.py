"""`mt-pipeline demo`. The captures are made in `demo/`, and loaded as `ingest` loads any."""

import sys
from pathlib import Path

import click

from mt_pipeline import settings
from mt_pipeline.cli.exit_codes import FAILED
from mt_pipeline.errors import CommandError

_NEXT = """\
A phone (192.168.1.20), a speaker (192.168.1.21) and a camera (192.168.1.22) for ten minutes,
before and after an update of the camera. What differs:
  mt-pipeline compare demo_before demo_after
Remove the rows again:
  mt-pipeline purge --name demo_before
  mt-pipeline purge --name demo_after"""


@click.command()
def demo() -> None:
    """Load a made-up household of two experiments, for a first look.

    Two small captures appear in the inbox, and are loaded as any other. Nothing is recorded, and
    the packets are the same each time.
    """
    loaded = settings.load()
    from mt_pipeline.cli.progress_bars import Bars

    with Bars() as bars:
        bars.step("starting")
        from mt_pipeline.cli import ingestion
        from mt_pipeline.demo import files

        if not isinstance(loaded.inbox_dir, Path):
            raise CommandError(
                f"the demo puts captures into the inbox, and {loaded.inbox_dir} is only read: "
                "set MT_INBOX to a folder"
            )
        folders = files.write(loaded.inbox_dir)
        all_loaded = ingestion.ingest(loaded, folders, name=None, display_filter=None, bars=bars)
    if not all_loaded:
        sys.exit(FAILED)
    click.echo(_NEXT)
