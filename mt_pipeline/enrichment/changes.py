"""The content of a file of answers, and what changed from one file to another.

`enrich.py` writes these files.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mt_pipeline.enrichment.models import FACTS

_ROW_COLUMNS = ["kind", "endpoint", "provider", *FACTS]
_COMPARED = {"app_tag": "application", "geo_country": "country"}


@dataclass(frozen=True)
class Change:
    """A new value of an endpoint.

    Attributes:
        endpoint: address or name.
        what: application or country.
        before: the value before; None for none.
        after: the value now; None for none.
    """

    endpoint: str
    what: str
    before: str | None
    after: str | None


def fingerprint(answers: Path) -> str:
    """Return a hash of what a file of answers adds to rows: 12 hexadecimal digits.

    The times of the answers are not part of it: files with one fingerprint make the same rows.
    """
    table = pq.read_table(answers, columns=_ROW_COLUMNS)
    table = table.sort_by([("kind", "ascending"), ("endpoint", "ascending")])
    digest = hashlib.sha256()
    for column in table.columns:
        digest.update(repr(column.to_pylist()).encode())
    return digest.hexdigest()[:12]


def count_owed(answers: Path) -> int:
    """Count the endpoints of a file of answers for which a provider owes a fresh answer."""
    return int(pc.sum(pq.read_table(answers, columns=["owed"])["owed"]).as_py() or 0)


def read(answers: Path) -> pa.Table | None:
    """Return the table of a file of answers for `changes`; None if the file does not exist."""
    return pq.read_table(answers, columns=_ROW_COLUMNS) if answers.exists() else None


def changes(before: pa.Table, answers: Path) -> list[Change]:
    """Return the changed applications and countries of endpoints, those with most bytes first.

    Args:
        before: the result of `read`; an endpoint that it lacks did not change.
        answers: the file now.
    """
    after = pq.read_table(answers, columns=_ROW_COLUMNS)
    positions = pa.array(range(after.num_rows), pa.int64())
    joined = before.join(
        after.append_column("position", positions),
        ["kind", "endpoint"],
        join_type="inner",
        right_suffix=".after",
    ).sort_by("position")
    changed = [row for name, what in _COMPARED.items() for row in _changed(joined, name, what)]
    return [change for _, change in sorted(changed, key=lambda row: row[0])]


def _changed(joined: pa.Table, name: str, what: str) -> Iterator[tuple[int, Change]]:
    before, after = joined[name], joined[f"{name}.after"]
    rows = pa.table(
        [joined["position"], joined["endpoint"], before, after],
        ["position", "endpoint", "before", "after"],
    ).filter(pc.not_equal(pc.coalesce(before, ""), pc.coalesce(after, "")))
    for row in rows.to_pylist():
        yield row["position"], Change(row["endpoint"], what, row["before"], row["after"])
