"""`mt-pipeline refresh`: arguments and exit code. The work is `refresh_job.py`."""

import sys

import click

from mt_pipeline import settings
from mt_pipeline.cli.exit_codes import FAILED
from mt_pipeline.cli.parameters import not_empty


@click.command()
@click.argument("experiment", required=False, metavar="[EXPERIMENT]", callback=not_empty)
@click.option(
    "--capture",
    "key",
    callback=not_empty,
    metavar="KEY",
    help="Only this capture: its path below the inbox.",
)
@click.option("--all", "everything", is_flag=True, help="All experiments.")
@click.option(
    "--as-of",
    metavar="DATE",
    help="Load what was known on that day, or at that moment; no provider is asked.",
)
@click.option(
    "--dry-run", is_flag=True, help="Count the calls that it would cost; no provider is asked."
)
def refresh(
    experiment: str | None, key: str | None, as_of: str | None, *, everything: bool, dry_run: bool
) -> None:
    """Bring the answers of loaded captures up to date.

    Captures whose answers changed are loaded again, without tshark.
    """
    if [experiment is not None, key is not None, everything].count(True) != 1:
        raise click.UsageError("use one of EXPERIMENT, --capture KEY and --all")
    if dry_run and as_of:
        raise click.UsageError("--as-of costs no calls, so --dry-run has nothing to count")
    from mt_pipeline.cli import refresh_job
    from mt_pipeline.pipeline.as_of import MomentError

    loaded = settings.load()
    if dry_run:
        refresh_job.dry_run(loaded, experiment=experiment, capture=key, echo=click.echo)
        return
    try:
        succeeded = refresh_job.run(
            loaded, experiment=experiment, capture=key, as_of=as_of, echo=click.echo
        )
    except MomentError as error:
        raise click.UsageError(str(error)) from None
    if not succeeded:
        sys.exit(FAILED)
