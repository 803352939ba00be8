"""`mt-pipeline report`. The work is `pipeline/report.py`."""

from pathlib import Path

import click

from mt_pipeline import settings
from mt_pipeline.cli.parameters import NewFile


@click.command()
@click.argument("experiment", metavar="EXPERIMENT")
@click.option(
    "--output",
    type=NewFile(),
    metavar="FILE",
    help="By default report-EXPERIMENT.html in the current folder; the folder must exist.",
)
def report(experiment: str, output: Path | None) -> None:
    """Write a page about an experiment.

    It is one HTML file that needs no network. It replaces an earlier report, but no other file.
    """
    from mt_pipeline.pipeline.report import report
    from mt_pipeline.pipeline.workspace import Workspace
    from mt_pipeline.report.formatting import size

    workspace = Workspace(settings.load().options())
    with workspace.questdb():
        written = report(workspace, experiment, output)
    click.echo(
        f"{written.path}: {written.packets:,} packets of {written.captures:,} captures; "
        f"the page itself is a file of {size(written.size)}"
    )
