"""The user's table of first parties, by experiment or device, read from a CSV file.

The header has `first_party` and one or both of `experiment` and `device`. A row holds for every
experiment or device where that cell is empty or missing. Several rows add up. A first party is a
domain, or the name of a company of our lists.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.enrichment.owners.companies import Companies
from mt_pipeline.enrichment.owners.parties import FirstParty
from mt_pipeline.packets.endpoints import is_askable
from mt_pipeline.system.named_files import read_text, why_unreadable
from mt_pipeline.system.nearest import did_you_mean

_HEADER = ("experiment", "device", "first_party")
_EXAMPLE = "`experiment,device,first_party`"


class PartiesUnusable(Exception):
    """The table cannot be used; the message names file, line, reason and cure."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path}{f', line {line}' if line else ''}: {reason}, or unset MT_PARTIES")


@dataclass(frozen=True)
class Row:
    """A row of the table; an empty cell holds for all."""

    experiment: str
    device: str
    first: FirstParty


class FirstParties:
    """The first parties of experiments and devices; without rows, nobody."""

    def __init__(self, rows: tuple[Row, ...] = ()) -> None:
        self._rows = rows
        self.of = lru_cache(maxsize=10_000)(self._of)

    @classmethod
    def read(cls, path: Path, companies: Companies) -> Self:
        """Read a table.

        Args:
            path: the file.
            companies: who runs a domain; all domains and networks of that company are first, too.

        Raises:
            PartiesUnusable: the file cannot be read, or has something that is not understood.
        """
        try:
            text = read_text(path)
        except (OSError, UnicodeDecodeError) as error:
            raise PartiesUnusable(path, None, why_unreadable(error)) from None
        rows = tuple(_rows(path, text, companies))
        if not rows:
            raise PartiesUnusable(path, None, "it has no rows; add some")
        return cls(rows)

    def _of(self, experiment: str, device: str | None) -> FirstParty:
        """Return the first party.

        Args:
            experiment: name of the experiment.
            device: label of the device at the local end; None if it is not known.
        """
        first = FirstParty()
        for row in self._rows:
            if row.experiment in ("", experiment) and row.device in ("", device):
                first |= row.first
        return first


def _rows(path: Path, text: str, companies: Companies) -> Iterator[Row]:
    header = text.partition("\n")[0]
    delimiter = next((mark for mark in ";\t" if mark in header), ",")
    lines = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        names = [name.strip().lower() for name in next(lines, [])]
        if "first_party" not in names or not set(names) <= set(_HEADER) or len(names) < 2:
            raise PartiesUnusable(
                path, 1, f"the header is not as it must be; begin with {_EXAMPLE}"
            )
        for cells in lines:
            values = dict.fromkeys(_HEADER, "") | {
                name: cell.strip() for name, cell in zip(names, cells, strict=False)
            }
            if any(cell.strip() for cell in cells[len(names) :]):
                raise PartiesUnusable(
                    path, lines.line_num, "it has more cells than the header; write a row for each"
                )
            if any(values.values()):
                yield Row(
                    values["experiment"] and fold_experiment(values["experiment"]),
                    values["device"],
                    _first_party(path, lines.line_num, values["first_party"], companies),
                )
    except csv.Error as error:
        raise PartiesUnusable(
            path, lines.line_num, f"it is not valid CSV ({error}); fix it"
        ) from None


def _first_party(path: Path, line: int, value: str, companies: Companies) -> FirstParty:
    """Return the first party that a cell names."""
    if not value:
        raise PartiesUnusable(path, line, "it has no first party; name a domain or a company")
    folded = value.lower().rstrip(".")
    names = {name.lower(): name for name in companies.names}
    if not is_askable(folded) and folded not in names:
        hint = did_you_mean(value, sorted(names.values())) or ";"
        raise PartiesUnusable(
            path,
            line,
            f"{value[:80]!r} is neither a domain nor a company of our lists{hint} "
            "write a domain such as example.com",
        )
    company = folded if folded in names else companies.of_name(folded).company
    return FirstParty(
        frozenset([folded] if is_askable(folded) else []),
        frozenset([company.lower()] if company else []),
    )
