"""What the flows of a capture tell at a glance: traffic over time, and who has most of it. How it is drawn is not said here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg import sql

from mt_pipeline.questdb.database import Database
from mt_pipeline.questdb.tables import FLOWS

MOST = 10
"""Entries of a list."""

_OF_CAPTURE = sql.SQL("FROM {} WHERE capture = {} AND NOT gone")
_TOTALS = sql.SQL("""SELECT min(first_ts), max(last_ts), sum(packets_out + packets_in), sum(bytes_out), sum(bytes_in),
    sum(CASE WHEN direction IN ('outside', 'transit') THEN bytes_out + bytes_in ELSE 0 END),
    sum(CASE WHEN direction IN ('outside', 'transit') AND app_tag IS NULL THEN bytes_out + bytes_in ELSE 0 END) """)


@dataclass(frozen=True)
class Story:
    """What a capture tells.

    Attributes:
        first: time of its first packet; None without packets.
        last: time of its last packet.
        packets: how many.
        bytes_out: bytes from local ends to remote ones, on the wire.
        bytes_in: bytes the other way.
        public_bytes: bytes of packets with a public end.
        unnamed_bytes: those of them without an application.
        over_time: bytes out and in, by equal parts of its time.
        most: columns of the flows to their values with the most bytes, and these.
    """

    first: datetime | None = None
    last: datetime | None = None
    packets: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    public_bytes: int = 0
    unnamed_bytes: int = 0
    over_time: Sequence[tuple[int, int]] = ()
    most: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)

    @property
    def unnamed_share(self) -> float:
        """Share of the public bytes without an application; 0 if there are none."""
        return self.unnamed_bytes / self.public_bytes if self.public_bytes else 0.0


def story(database: Database, capture: str, *, parts: int, columns: Sequence[str]) -> Story:
    """Ask for the story of a capture that is loaded.

    Args:
        database: where.
        capture: the capture key.
        parts: into how many parts its time is divided, at most; a part has whole seconds.
        columns: of which the values with the most bytes are wanted.
    """
    which = _OF_CAPTURE.format(sql.Identifier(FLOWS.name), sql.Placeholder())
    with database.connect() as connection:
        first, last, packets, out, into, public, unnamed = connection.execute(_TOTALS + which, (capture,)).fetchone() or (None,) * 7
        if first is None:
            return Story()
        start = first.replace(microsecond=0)
        seconds = int((last - start).total_seconds()) + 1
        width = -(-seconds // parts)
        over_time = [(0, 0)] * -(-seconds // width)
        query = sql.SQL("SELECT (datediff('s', {}, ts) / {})::INT AS part, sum(bytes_out), sum(bytes_in) ")
        for part, part_out, part_in in connection.execute(query.format(sql.Literal(start), sql.Literal(width)) + which, (capture,)):
            over_time[part] = (part_out, part_in)
        most = {name: _most(connection, name, which, capture) for name in columns}
        return Story(first, last, packets, out, into, public, unnamed, over_time, most)


def _most(connection: psycopg.Connection, column: str, which: sql.Composed, capture: str) -> list[tuple[str, int]]:
    query = sql.SQL("SELECT * FROM (SELECT {0} AS value, sum(bytes_out + bytes_in) AS bytes ").format(sql.Identifier(column)) + which
    most = sql.SQL(" AND {0} IS NOT NULL GROUP BY value) ORDER BY bytes DESC, value LIMIT {1}").format(sql.Identifier(column), sql.Literal(MOST))
    return [(value, total) for value, total in connection.execute(query + most, (capture,))]
