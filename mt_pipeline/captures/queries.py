"""What the ledger can be asked, and the locks of its captures. Changes are `ledger.py`."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from mt_pipeline.captures import experiments, outages, progress, rotation, scan
from mt_pipeline.captures.database import HAS_KEY, IN_HAND, TABLE, Database, record_of
from mt_pipeline.captures.experiments import Answers, Experiment
from mt_pipeline.captures.locks import (
    CaptureBusyError,
    CaptureLostError,
    FileLocks,
    Held,
    Locks,
)
from mt_pipeline.captures.outages import Outage
from mt_pipeline.captures.progress import Progress
from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.sqlite_database import SqliteDatabase
from mt_pipeline.state.postgres import Postgres

_RUN = sa.select(TABLE.c.run).where(HAS_KEY)


class Queries:
    """The records of all captures, to be read.

    Args:
        place: the SQLite file, created if it is missing, upgraded if it is older. A folder next to
            it has the locks. Or a database in Postgres, which has records and locks.

    Raises:
        LedgerError: here and in every operation, if the file is damaged or not writable, the disk
            is full, or Postgres does not answer.
    """

    def __init__(self, place: Path | Postgres) -> None:
        self._database, self._locks = _opened(place)
        self._held: dict[str, tuple[str | None, Held]] = {}

    def get(self, key: str) -> Record | None:
        """Return the record of a capture; None if it was never seen."""
        return next(iter(self._select(HAS_KEY, of=key)), None)

    def records(self, *, experiment: str | None = None) -> list[Record]:
        """Return the records of an experiment, or all, by key.

        Args:
            experiment: its folded name.
        """
        if experiment is None:
            return self._select(sa.true())
        return self._select(TABLE.c.experiment == sa.bindparam("experiment"), experiment=experiment)

    def experiments(self) -> list[Experiment]:
        """Return what became of the captures of each experiment, by name."""
        with self._database.read() as db:
            return sorted(experiments.experiments(db), key=lambda experiment: experiment.name)

    def answers(self, experiment: str) -> Answers:
        """Return the answers for the loaded captures of an experiment, summed up.

        Args:
            experiment: its folded name.
        """
        with self._database.read() as db:
            return experiments.answers(db, experiment)

    def unfinished(self) -> list[Record]:
        """Return the records without a verdict yet: a run is requested, or at work, or has died."""
        return self._select(IN_HAND)

    def tried(self) -> list[str]:
        """Return the keys of the captures that runs have loaded, or that failed, in their order."""
        is_tried = TABLE.c.state.in_((State.DONE, State.FAILED))
        with self._database.read() as db:
            return list(db.scalars(sa.select(TABLE.c.key).where(is_tried).order_by(TABLE.c.key)))

    def next_settled(self, settle: float, *, now: float) -> float | None:
        """Return when the next file settles that has yet to do so; None if all have.

        Args:
            settle: seconds of quiet; see `Ledger.look`.
            now: seconds since 1970, before the last look: it may take as long as files settle.

        Returns:
            Seconds since 1970.
        """
        with self._database.read() as db:
            return scan.next_settled(db, settle=settle, now=now)

    def due_for_refresh(self) -> list[Record]:
        """Return the loaded captures that need a refresh and still have the packets for it.

        Providers owe answers, or a load with other answers did not end.
        """
        owed = sa.and_(TABLE.c.owed > 0, TABLE.c.as_of.is_(None))
        return self._select(
            sa.and_(
                TABLE.c.state == State.DONE,
                TABLE.c.packets_expired_at.is_(None),
                sa.or_(owed, TABLE.c.answers.is_(None)),
            )
        )

    def previous(self, key: str) -> Record | None:
        """Return the record of the previous file of its rotation; None if there is none."""
        with self._database.read() as db:
            previous = rotation.previous_key(db, key)
        return self.get(previous) if previous else None

    def behind(self, rotations: Iterable[str] | None = None) -> dict[str, str]:
        """Return the loaded captures that took up something else than the previous file now leaves.

        Each has the key of the previous file; they are in the order of their rotations.

        Args:
            rotations: keys of captures, to look at their rotations alone; None for all.
        """
        with self._database.read() as db:
            return rotation.behind(db, rotations)

    def progress(self) -> Progress:
        """Count the captures that are loaded and those that are pending, and how fast it goes."""
        with self._database.read() as db:
            return progress.count(db, now=time.time())

    def outage(self) -> Outage | None:
        """Return what prevents captures from being loaded at present; None if nothing does."""
        with self._database.read() as db:
            return outages.present(db, now=time.time())

    @contextmanager
    def lock(self, key: str, *, timeout: float = -1) -> Iterator[Record | None]:
        """Lock a capture and yield its record as it is now; see `Locks.lock`.

        A run or a terminal is locked in the same way and has no record.
        """
        with self._locks.lock(key, timeout=timeout) as held:
            record = self.get(key)
            self._held[key] = (record.run if record else None), held
            try:
                yield record
            finally:
                del self._held[key]

    def check(self, key: str) -> None:
        """Look whether the lock of a capture is still held; call it before something is deleted.

        Raises:
            CaptureLostError: it is lost.
        """
        if key in self._held:
            self._held[key][1].check()

    def is_at_work(self, name: str) -> bool:
        """Return whether a run or a terminal has its lock, which is freed when it dies."""
        try:
            with self._locks.lock(name, timeout=0):
                return False
        except CaptureBusyError:
            return True

    @contextmanager
    def _mine(self, key: str, *, claims: str | None = None) -> Iterator[sa.Connection]:
        """Yield a transaction that changes the record of a capture, if its lock is not lost.

        Args:
            key: capture key.
            claims: the run that the record names at the end, if it is another one.

        Raises:
            CaptureLostError: it is lost, or another run has claimed the capture since.
        """
        with self._database.write() as db:
            self.check(key)
            if key in self._held:
                mine = self._held[key][0]
                row = db.execute(_RUN, {"of": key}).first()
                if row and row.run != mine:
                    raise CaptureLostError(key, f"run {row.run} has taken it over")
            yield db
        if claims is not None and key in self._held:
            self._held[key] = claims, self._held[key][1]

    def _select(self, condition: sa.ColumnElement[bool], **bound: str) -> list[Record]:
        query = sa.select(TABLE).where(condition).order_by(TABLE.c.key)
        with self._database.read() as db:
            return [record_of(row) for row in db.execute(query, bound)]


def _opened(place: Path | Postgres) -> tuple[Database, Locks]:
    if isinstance(place, Path):
        return SqliteDatabase(place), FileLocks.beside(place)
    # Who has the state in the data folder needs none of this.
    from mt_pipeline.captures.postgres_database import PostgresDatabase
    from mt_pipeline.captures.postgres_locks import PostgresLocks

    return PostgresDatabase(place), PostgresLocks(place)
