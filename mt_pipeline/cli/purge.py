"""`mt-pipeline purge`: arguments and the question. The work is `pipeline/purge.py`."""

from functools import partial

import click

from mt_pipeline import settings
from mt_pipeline.cli.parameters import not_empty


@click.command()
@click.option(
    "--capture",
    "key",
    callback=not_empty,
    metavar="KEY",
    help="One capture: its path below the inbox.",
)
@click.option(
    "--name", callback=not_empty, metavar="EXPERIMENT", help="All captures of an experiment."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="List what would be deleted, and stop.")
def purge(key: str | None, name: str | None, *, yes: bool, dry_run: bool) -> None:
    """Delete what was made of captures.

    That is rows, files of all stages, partition, runs. The captures themselves stay.
    """
    if (key is None) == (name is None):
        raise click.UsageError("use either --capture KEY or --name EXPERIMENT")
    from mt_pipeline.defs.partitions import captures, experiments, forget
    from mt_pipeline.pipeline.purge import make_room, plan, purge
    from mt_pipeline.pipeline.workspace import Workspace
    from mt_pipeline.service import dagster_home

    workspace = Workspace(settings.load().options())
    planned = plan(workspace, key=key, experiment=name)
    click.echo("\n".join(planned.lines()))
    if dry_run:
        return
    if not yes:
        click.confirm("Remove this?", abort=True)
    make_room(planned)
    with dagster_home.opened(workspace.options) as instance, workspace.questdb():
        purge(
            planned,
            forget_capture=partial(forget, instance, captures),
            forget_experiment=partial(forget, instance, experiments),
            echo=click.echo,
        )
