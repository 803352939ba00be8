"""`mt-pipeline worker`. The work is `service/worker.py`."""

from pathlib import Path

import click

from mt_pipeline import settings


@click.command()
@click.option(
    "--join",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The data folder of the head, mounted under the same path: its settings count here, too.",
)
def worker(folder: Path | None) -> None:
    """Work for the service of another machine.

    That is the head of a cluster: `mt-pipeline run` with MT_BROKER_URL. The settings of this
    machine win over the head's. Ctrl-C gives captures at work back to the others.
    """
    from mt_pipeline.cluster import joining
    from mt_pipeline.service import worker as service

    service.run(joining.joined(folder) if folder else settings.load(), echo=click.echo)
