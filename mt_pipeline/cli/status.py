"""`mt-pipeline status`: states of captures, read from the ledger alone."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from mt_pipeline import settings
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import State, Status
from mt_pipeline.cli import status_lines
from mt_pipeline.cli.parameters import not_empty
from mt_pipeline.system.nearest import did_you_mean


def _states(
    _context: click.Context, _parameter: click.Parameter, names: Sequence[str]
) -> list[State]:
    """Return states by their names."""
    for name in names:
        if name not in list(State):
            hint = did_you_mean(name, map(str, State)) or ";"
            raise click.BadParameter(
                f"there is no state {name!r}{hint} use one of {', '.join(State)}"
            )
    return [State(name) for name in names]


@click.command()
@click.option("--name", callback=not_empty, help="Only captures of this experiment.")
@click.option(
    "--state",
    "states",
    multiple=True,
    callback=_states,
    metavar="STATE",
    help="Only captures in this state; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def status(name: str | None, states: Sequence[State], *, as_json: bool) -> None:
    """Show the state of every capture.

    This needs neither Dagster nor QuestDB.
    """
    options = settings.load().options()
    place = options.state or options.ledger_file
    ledger = Ledger(place) if not isinstance(place, Path) or place.exists() else None
    records = ledger.records() if ledger else []
    selected = status_lines.select(records, experiment=name, states=states)
    if as_json:
        click.echo(
            json.dumps([asdict(Status.from_record(record)) for record in selected], indent=2)
        )
    elif ledger and records:
        for line in status_lines.lines(ledger, records, selected):
            click.echo(line)
    else:
        click.echo(
            "no captures yet: copy one into the watched folder, or `mt-pipeline ingest FILE`"
        )
