"""`mt-pipeline coverage`. The work is `api/coverage.py`."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mt_pipeline.cli import questions

if TYPE_CHECKING:
    from mt_pipeline.api.coverage import Coverage

_LINES = 10
"""Of each dimension on the terminal; JSON has all."""


@click.command()
@click.argument("experiment", metavar="EXPERIMENT")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs; has all values.")
def coverage(experiment: str, *, as_json: bool) -> None:
    """Say how much of an experiment's traffic with public addresses is explained.

    Bytes by source of the remote name, by organisation, party, kind of tracker, and by what the
    application is known by. (none) is what is not known.
    """
    with questions.opened() as (_, session):
        covered = session.coverage(experiment)
    if as_json:
        click.echo(json.dumps(_json(covered), indent=2, ensure_ascii=False))
        return
    for line in _lines(covered):
        click.echo(line)


def _json(covered: "Coverage") -> dict[str, object]:
    return {
        "experiment": covered.experiment,
        "total": asdict(covered.total),
        "dimensions": {
            name: [{"value": value, **asdict(part)} for value, part in parts]
            for name, parts in covered.dimensions.items()
        },
    }


def _lines(covered: "Coverage") -> Iterator[str]:
    yield f"{covered.experiment}: {covered.total.bytes:,} bytes with public addresses"
    for name, parts in covered.dimensions.items():
        yield ""
        yield name
        for value, part in parts[:_LINES]:
            text = "(none)" if value is None else str(value)
            cell = questions.first_cell(text)
            yield f"  {cell}  {part.bytes:>15,}  {covered.share(part):>6.1%}"
        if len(parts) > _LINES:
            yield f"  and {len(parts) - _LINES:,} more: --json has them"
