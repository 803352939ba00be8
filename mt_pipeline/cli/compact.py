"""`mt-pipeline compact`: its lines for people. The work is `backends/questdb/compact.py`."""

import click

from mt_pipeline import settings


@click.command()
@click.option("--dry-run", is_flag=True, help="List what would be given back, and stop.")
def compact(*, dry_run: bool) -> None:
    """Give back the disk space of deleted rows.

    You can query meanwhile; loads wait.
    """
    from mt_pipeline.backends.questdb import compact as questdb
    from mt_pipeline.pipeline.workspace import Workspace

    workspace = Workspace(settings.load().options())
    with workspace.questdb():
        for result in questdb.compact(
            workspace.database(), workspace.loading_lock, dry_run=dry_run, echo=click.echo
        ):
            verb = "would be" if dry_run else "were"
            click.echo(
                f"{result.table}: {result.rows:,} rows in {result.partitions:,} partitions, "
                f"{result.bytes:,} bytes {verb} given back"
            )
            if result.rewritten and dry_run:
                click.echo(
                    f"{result.table}: other rows live in {result.rewritten:,} of these: "
                    f"{result.needed:,} bytes must be free to write them anew"
                )
