"""What the answers of a capture were, and what changed between two files of them. How they come about is `enrich.py`."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mt_pipeline.enrichment.models import FACTS

_IN_ROWS = ["kind", "endpoint", "provider", *FACTS]
_TOLD = {"app_tag": "application", "geo_country": "country"}


@dataclass(frozen=True)
class Change:
    """Something else is said of an endpoint now.

    Attributes:
        endpoint: address or name.
        what: application or country.
        before: what was said; None for nothing.
        after: what is said now; None for nothing.
    """

    endpoint: str
    what: str
    before: str | None
    after: str | None


def fingerprint(answers: Path) -> str:
    """Hash what a file of answers gives to rows, whenever it was asked: files of one fingerprint make the same rows."""
    table = _sorted(pq.read_table(answers, columns=_IN_ROWS))
    digest = hashlib.sha256()
    for column in table.columns:
        digest.update(repr(column.to_pylist()).encode())
    return digest.hexdigest()[:12]


def owed(answers: Path) -> int:
    """Count the endpoints of a file of answers for which a provider still owes a fresh one."""
    return int(pc.sum(pq.read_table(answers, columns=["owed"])["owed"]).as_py() or 0)


def read(answers: Path) -> pa.Table | None:
    """Read a file of answers for `changes`; None if there is none."""
    return pq.read_table(answers, columns=_IN_ROWS) if answers.exists() else None


def changes(before: pa.Table, answers: Path) -> list[Change]:
    """List the endpoints whose application or country is another than before, in the order of the file: most bytes first.

    Args:
        before: of `read`; an endpoint that it lacks did not change.
        answers: the file now.
    """
    after = pq.read_table(answers, columns=_IN_ROWS)
    places = pa.array(range(after.num_rows), pa.int64())
    both = before.join(
        after.append_column("place", places),
        ["kind", "endpoint"],
        join_type="inner",
        right_suffix=".after",
    ).sort_by("place")
    found = []
    for name, what in _TOLD.items():
        old, new = both[name], both[f"{name}.after"]
        other = pc.not_equal(pc.coalesce(old, ""), pc.coalesce(new, ""))
        changed = pa.table(
            [both["place"], both["endpoint"], old, new], ["place", "endpoint", "before", "after"]
        ).filter(other)
        found += [
            (row["place"], Change(row["endpoint"], what, row["before"], row["after"]))
            for row in changed.to_pylist()
        ]
    return [change for _, change in sorted(found, key=lambda one: one[0])]


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([("kind", "ascending"), ("endpoint", "ascending")])
