"""The experiments, each with what became of its captures: sums that the database makes.

Lists and sensors ask again and again, and 100,000 records take seconds to read.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from mt_pipeline.captures.database import TABLE
from mt_pipeline.captures.records import State


@dataclass(frozen=True)
class Experiment:
    """What became of the captures of an experiment. Times are seconds since 1970.

    Attributes:
        name: folded.
        captures: how many there are; purged and refused ones do not count.
        loaded: how many are done.
        failed: how many failed.
        refused: files that were refused.
        running: how many are at work.
        packets: packets read of those that count.
        rows: their rows.
        with_packets: captures that have rows of packets stored.
        changed_at: when the state of a capture changed last, purged and refused ones included.
    """

    name: str
    captures: int
    loaded: int
    failed: int
    refused: int
    running: int
    packets: int
    rows: int
    with_packets: int
    changed_at: float


@dataclass(frozen=True)
class Answers:
    """The answers for the loaded captures of an experiment, summed up.

    An endpoint of two captures counts twice.

    Attributes:
        captures: how many are loaded.
        owed: endpoints for which a provider still owes an answer.
        by_provider: what became of the endpoints, by provider: {"netify": {"answered": 3, …}}.
    """

    captures: int
    owed: int
    by_provider: Mapping[str, Mapping[str, int]]


def experiments(db: sa.Connection) -> list[Experiment]:
    """Sum up the records; see `Queries.experiments`."""
    counts = TABLE.c.state.not_in([State.PURGED, State.REFUSED])
    stored = sa.and_(TABLE.c.rows > 0, TABLE.c.packets_expired_at.is_(None))
    query = sa.select(
        TABLE.c.experiment,
        _number(counts),
        _number(TABLE.c.state == State.DONE),
        _number(TABLE.c.state == State.FAILED),
        _number(TABLE.c.state == State.REFUSED),
        _number(TABLE.c.state == State.RUNNING),
        _sum(TABLE.c.packets, counts),
        _sum(TABLE.c.rows, counts),
        _number(stored),
        sa.func.max(TABLE.c.changed_at),
    ).group_by(TABLE.c.experiment)
    return [Experiment(*row) for row in db.execute(query)]


def answers(db: sa.Connection, experiment: str) -> Answers:
    """Sum up the answers of an experiment; see `Queries.answers`."""
    # Most captures of an archive have the same: only what differs is read.
    by_provider = sa.cast(TABLE.c.answers_by, sa.Text)
    rows = db.execute(
        sa.select(by_provider, sa.func.count(), sa.cast(sa.func.sum(TABLE.c.owed), sa.BigInteger))
        .where(TABLE.c.experiment == experiment, TABLE.c.state == State.DONE)
        .group_by(by_provider)
        .order_by(by_provider)
    ).all()
    sums: dict[str, Counter[str]] = {}
    for text, captures, _ in rows:
        for name, numbers in json.loads(text).items():
            times = {state: number * captures for state, number in numbers.items()}
            sums.setdefault(name, Counter()).update(times)
    return Answers(sum(row[1] for row in rows), sum(row[2] for row in rows), sums)


def _number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return _sum(sa.literal(1), condition)


def _sum(
    values: sa.ColumnElement[int] | sa.ColumnElement[int | None],
    condition: sa.ColumnElement[bool],
) -> sa.ColumnElement[int]:
    counted = sa.case((condition, sa.func.coalesce(values, 0)), else_=0)
    return sa.cast(sa.func.sum(counted), sa.BigInteger)  # in Postgres a sum is numeric
