"""What packets said that is handed on in a rotation: answers of DNS, and names of devices.

A name is asked for once, and a device joins a network once; the next file knows neither. Streams
are the business of `continuation.py`.
"""

from pathlib import Path

from mt_pipeline.packets import typed
from mt_pipeline.packets.announcements import ADDRESS, OWN_ADDRESS
from mt_pipeline.system.atomic import whole

_HOURS = 24
"""How long an answer of DNS is handed on. Programs keep addresses longer than DNS allows."""

_MOST = 100_000
"""Statements of a kind that are handed on, the latest ones."""

_OWN = "SELECT * FROM read_parquet($own)"
_AND_BEFORE = """
UNION ALL BY NAME SELECT * REPLACE (0 AS frame_number) FROM read_parquet($before)
"""
_IN_ORDER = " ORDER BY time_us, frame_number"

_LEFT = {
    "lookups": f"""
SELECT * REPLACE (0 AS frame_number) FROM read_parquet($known)
QUALIFY time_us >= max(time_us) OVER () - {_HOURS * 3_600_000_000} AND row_number() OVER (
    PARTITION BY client, name, canonical, address ORDER BY time_us DESC, frame_number DESC) = 1
ORDER BY time_us DESC, client, name, canonical, address
""",
    "announcements": f"""
SELECT * REPLACE (0 AS frame_number) FROM read_parquet($known)
WHERE kind NOT IN ('{ADDRESS}', '{OWN_ADDRESS}')
QUALIFY row_number() OVER (PARTITION BY hardware, kind, text ORDER BY time_us, frame_number) = 1
ORDER BY time_us DESC, hardware, kind, text
""",
}
"""SQL of what is handed on. Addresses of devices change, and a certificate is that of a stream."""

HANDED_ON = tuple(_LEFT)
"""Kinds of statements that are handed on, as `said.SaidFiles` names them."""


def inherit(own: Path, before: Path, output: Path) -> None:
    """Write the statements of one kind that are known in a capture.

    Args:
        own: those of its own packets.
        before: what `leave` wrote for the file before it. If it is missing, nothing is known.
        output: Parquet; it appears when it is complete.
    """
    query, parameters = _OWN, {"own": str(own)}
    if before.exists():
        query, parameters = query + _AND_BEFORE, parameters | {"before": str(before)}
    _write(query + _IN_ORDER, parameters, output)


def leave(kind: str, known: Path, output: Path) -> None:
    """Write the statements of one kind that the next file takes up.

    Args:
        kind: one of HANDED_ON.
        known: those that are known in the capture.
        output: Parquet; it appears when it is complete.
    """
    _write(f"{_LEFT[kind]} LIMIT {_MOST}", {"known": str(known)}, output)


def _write(query: str, parameters: dict[str, str], output: Path) -> None:
    with whole(output) as partial, typed.connection(output) as connection:
        selected = connection.sql(query, params=parameters)
        selected.write_parquet(str(partial), compression="zstd")
