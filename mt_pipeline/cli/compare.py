"""`mt-pipeline compare`. The work is `api/comparison.py`."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from mt_pipeline.cli import questions

if TYPE_CHECKING:
    from mt_pipeline.api.comparison import Comparison, Line
    from mt_pipeline.api.question import Sum

_LINES = 10
"""Of each dimension on the terminal; JSON has all."""


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@questions.where
@click.option("--all", "everything", is_flag=True, help=f"All values, not only {_LINES} of each.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs; has all values.")
def compare(a: str, b: str, where: str | None, *, everything: bool, as_json: bool) -> None:
    """Compare two experiments: what is new, gone, more or less from A to B.

    Bytes and packets by application, server name, country, device, protocol, remote address and
    more; the greatest difference comes first.
    """
    with questions.opened() as (_, session):
        compared = session.compare(a, b, where=where)
    if as_json:
        click.echo(json.dumps(_json(compared), indent=2, ensure_ascii=False))
        return
    for line in _lines(compared, None if everything else _LINES):
        click.echo(line)


def _json(compared: "Comparison") -> dict[str, object]:
    return {
        "a": compared.a,
        "b": compared.b,
        "total": _line(compared.total),
        "dimensions": {
            name: [{"value": line.value, "change": line.change, **_line(line)} for line in lines]
            for name, lines in compared.dimensions.items()
        },
    }


def _line(line: "Line") -> dict[str, object]:
    sums = {"a": line.a, "b": line.b, "difference": line.difference}
    return {name: _sum(each) for name, each in sums.items()}


def _sum(each: "Sum | None") -> dict[str, int]:
    return {"packets": each.packets if each else 0, "bytes": each.bytes if each else 0}


def _lines(compared: "Comparison", most: int | None) -> Iterator[str]:
    head = questions.first_cell("")
    yield f"{head}  {'bytes in A':>15}  {'bytes in B':>15}  {'difference':>16}  change"
    yield _row(f"{compared.a} (A) and {compared.b} (B)", compared.total, "")
    for name, lines in compared.dimensions.items():
        if all(line.value is None for line in lines):
            continue
        yield ""
        yield name
        for line in lines[:most]:
            value = "(none)" if line.value is None else str(line.value)
            yield _row(f"  {value}", line, line.change)
        if most is not None and len(lines) > most:
            yield f"  and {len(lines) - most:,} more: --all shows them"


def _row(name: str, line: "Line", change: str) -> str:
    a, b = (_sum(each)["bytes"] for each in (line.a, line.b))
    cell, difference = questions.first_cell(name), line.difference.bytes
    return f"{cell}  {a:>15,}  {b:>15,}  {difference:>+16,}  {change}".rstrip()
