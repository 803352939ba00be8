"""`mt-pipeline run`. The work is `service/supervisor.py`."""

import click

from mt_pipeline import settings


@click.command()
def run() -> None:
    """Run the service: QuestDB, the Dagster UI, and the watched folder."""
    from mt_pipeline.service import supervisor

    supervisor.run(settings.load(), echo=click.echo)
