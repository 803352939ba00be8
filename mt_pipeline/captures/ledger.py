"""What became of every capture: one record per key, in a SQLite file that outlives runs, and one lock per key.

The sensor, the terminal and recovery ask here; nobody asks Dagster's event log. It knows nothing of packets or runs: others tell it.
Each operation is one transaction; several processes may share the file, and a kill at any moment leaves it as the last one made it.
What a record holds is `records.py`; how files become records is `settling.py`; which have the same bytes is `copies.py`; which
belong to one rotation is `chains.py`; the locks are `locks.py`; how long an outage keeps a capture is `outages.py`.

Whoever acts on what a record says takes the lock of the capture first, and looks at the record that `lock` hands over: what was read before
is no ground to act on. What is done to a request without a verdict, `again`, does all of that itself.

    waiting -> waiting, requested -> running -> done | failed | refused        waiting -> refused        any -> purged

A file that changes is waiting again, with what is known of its last load. One that goes before it was read is as before, or forgotten.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa

from mt_pipeline.captures import duplicates, outages, progress, rotation
from mt_pipeline.captures.duplicates import Copy
from mt_pipeline.captures.identity import Capture, CaptureError
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.locks import CaptureBusyError, held
from mt_pipeline.captures.progress import Progress
from mt_pipeline.captures.records import TABLE, Record, RecordFile, State, record_of
from mt_pipeline.captures.rotation import Handover
from mt_pipeline.captures.scan import IN_HAND, OF_KEY, Values, forget, look, seen

MOST_ATTEMPTS = 2
"""Runs that died with a capture after which it has failed: it may be what kills them."""


class UnknownCaptureError(CaptureError):
    """The ledger has no record of the key."""


class Ledger:
    """The records of all captures.

    Args:
        path: the SQLite file, made if it is missing, upgraded if it is older. Locks lie beside it.

    Raises:
        LedgerError: here and in every operation, if the file is damaged or not writable, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._file = RecordFile(path)
        self._locks = path.with_suffix(".locks")

    def look(
        self, walk: Walk, *, settle: float, now: float | None = None, follow: bool = False
    ) -> list[Capture]:
        """Take in a walk of the inbox and return what can be requested now: new or changed files that have settled.

        What was seen last comes first, so that an archive does not hide what is dropped after it; of one look, by key.

        A file has settled when two looks, `settle` seconds apart, saw the same size and time, or when the next file of its rotation is
        there (`rotation.py`). What is running, requested, or dealt with
        in its present form is not returned. A record whose file is gone stays if rows of it are stored, or if it failed or was purged.

        Args:
            walk: all that lies in the inbox.
            settle: seconds of quiet; 0 takes a file at first sight.
            now: seconds since 1970; the clock's by default.
            follow: return growing files too, whenever there is enough more of them (`following.py`).
        """
        with self._file.write() as db:
            return look(
                db, walk, settle=settle, now=time.time() if now is None else now, follow=follow
            )

    def requested(self, keys: Iterable[str], *, by: str = "") -> list[str]:
        """Note that runs are asked for, and return the keys this caller may ask for: those that nobody else took since the look.

        Args:
            keys: capture keys.
            by: the terminal that asks; see `take`.
        """
        is_free = sa.and_(TABLE.c.state == State.WAITING, TABLE.c.requested_at.is_(None))
        asked = (
            sa.update(TABLE)
            .where(OF_KEY, is_free)
            .values(requested_at=time.time(), requested_by=by)
        )
        with self._file.write() as db:
            return [key for key in keys if db.execute(asked, {"of": key}).rowcount]

    def take(self, capture: Capture, *, by: str = "") -> None:
        """Note that the caller itself will have a run work on the capture, so that no look returns it; nothing happens while one does.

        Args:
            capture: the file.
            by: who holds the lock of this name until then: as long as it is held, the run is to be expected, however long it takes to begin.
        """
        with self._file.write() as db:
            if not db.execute(
                sa.select(TABLE.c.key).where(OF_KEY, IN_HAND), {"of": capture.key}
            ).first():
                _put(
                    db,
                    seen(capture, time.time())
                    | {
                        "state": State.WAITING,
                        "error": None,
                        "requested_at": time.time(),
                        "requested_by": by,
                    },
                )

    def refuse(self, capture: Capture, reason: str) -> None:
        """Note that the file is no capture, unless a run is asked for or at work on it."""
        with self._file.write() as db:
            if not db.execute(
                sa.select(TABLE.c.key).where(OF_KEY, IN_HAND), {"of": capture.key}
            ).first():
                _put(db, seen(capture, time.time()) | {"state": State.REFUSED, "error": reason})

    def claim(self, capture: Capture, *, run: str, filter: str = "") -> None:
        """Note that a run works on the capture as it is now; one never seen before gets a record. The caller holds its lock."""
        values = seen(capture, time.time()) | {
            "state": State.RUNNING,
            "run": run,
            "filter": filter,
            "taken": capture.size,
        }
        for name in (
            "attempts",
            "returned",
            "returned_at",
            "requested_at",
            "requested_by",
        ):  # they count until there is a verdict
            del values[name]
        with self._file.write() as db:
            _put(db, values)

    def hashed(self, key: str, sha256: str, *, skipped_by: str = "") -> Copy | None:
        """Note what the content of a claimed capture is, and say whether another one has the same.

        Args:
            key: capture key.
            sha256: hash of its content.
            skipped_by: what says that a copy within an experiment is not to be loaded: it is refused at once, with this in the reason.
        """
        with self._file.write() as db:
            return duplicates.note(db, key, sha256, skipped_by=skipped_by)

    def finish(
        self,
        key: str,
        *,
        sha256: str,
        documents: str | None,
        packets: int,
        rows: int,
        skipped: Mapping[str, int],
        cut: bool = False,
        handover: Handover = Handover(),  # noqa: B008  it cannot change
    ) -> None:
        """Note that the rows of the capture can be read.

        Args:
            key: capture key.
            sha256: hash of its content.
            documents: name of its documents.
            packets: packets read.
            rows: rows stored.
            skipped: packets that became no row, by reason.
            cut: the capture ends inside a packet.
            handover: what it took up from the file before it in its rotation, and leaves to the next.

        Raises:
            UnknownCaptureError: there is no record of the key.
        """
        load: dict[str, object] = {
            "sha256": sha256,
            "documents": documents,
            "packets": packets,
            "rows": rows,
            "skipped": dict(skipped),
        }
        load |= {"cut": cut, **asdict(handover), "packets_expired_at": None}
        self._end(key, load | {"state": State.DONE, "error": None})

    def expire_packets(self, key: str, *, undo: bool = False) -> None:
        """Note that the packets of a loaded capture are let go of; what is known of the load stays.

        Args:
            key: capture key.
            undo: they are there still, or again.

        Raises:
            UnknownCaptureError: there is no record of the key.
        """
        with self._file.write() as db:
            _change(db, key, {"packets_expired_at": None if undo else time.time()})

    def answered(
        self,
        key: str,
        *,
        answers: str | None,
        owed: int,
        answers_by: Mapping[str, Mapping[str, int]] | None = None,
        as_of: str | None = None,
    ) -> None:
        """Note with which answers the rows of the capture were made; no verdict.

        Args:
            key: capture key.
            answers: their fingerprint; None before a load with others begins, so that one that breaks off is known.
            owed: endpoints for which a provider still owes an answer.
            answers_by: what became of the endpoints, by provider; None leaves what is noted, of this and the next.
            as_of: the moment whose answers they are, ISO 8601; None for the present.

        Raises:
            UnknownCaptureError: there is no record of the key.
        """
        values: dict[str, object] = {"answers": answers, "owed": owed}
        if answers_by is not None:
            values |= {
                "answers_by": {name: dict(counts) for name, counts in answers_by.items()},
                "as_of": as_of,
            }
        with self._file.write() as db:
            _change(db, key, values)

    def owing(self) -> list[Record]:
        """Return the loaded captures that a refresh is due for and can be made of: answers are owed, or a load with other answers broke off."""
        owed = sa.and_(TABLE.c.owed > 0, TABLE.c.as_of.is_(None))
        return self._select(
            sa.and_(
                TABLE.c.state == State.DONE,
                TABLE.c.packets_expired_at.is_(None),
                sa.or_(owed, TABLE.c.answers.is_(None)),
            )
        )

    def before(self, key: str) -> Record | None:
        """Return the record of the file before this one in its rotation; None if it is in none, or that one was never seen."""
        with self._file.read() as db:
            found = rotation.key_before(db, key)
        return self.get(found) if found else None

    def behind(self) -> dict[str, str]:
        """Find the loaded captures whose rows do not have what the file before them leaves now, with that one's key; in the order of rotations."""
        with self._file.read() as db:
            return rotation.behind(db)

    def fail(self, key: str, error: str) -> None:
        """Note why the capture failed; it is not requested again until its file changes.

        Raises:
            UnknownCaptureError: there is no record of the key.
        """
        self._end(key, {"state": State.FAILED, "error": error}, frees_copies=True)

    def gone(self, key: str, before: Record | None) -> bool:
        """Note that the file of a capture was deleted before all of it was read: what nothing is stored of is forgotten, all else is as it was.

        Args:
            key: capture key.
            before: its record when its lock was taken, which the caller still holds.

        Returns:
            Whether rows of it are stored.
        """
        with self._file.write() as db:
            duplicates.free(db, key)
            return forget(db, key, before, now=time.time())

    def give_back(self, key: str, *, outage: str | None = None, suspect: bool = False) -> State:
        """Note that the run ended by no fault of the capture: the next look returns it, or after an outage the next one after a while.

        A capture that is given back again and again while others are loaded may be the cause of it, so it fails in the end.

        Args:
            key: capture key.
            outage: what kept the run from its end; None if it was stopped in order.
            suspect: the capture may have caused it.

        Returns:
            What it is now.

        Raises:
            UnknownCaptureError: there is no record of the key.
        """
        now = time.time()
        values: Values = {"state": State.WAITING, "requested_at": None, "changed_at": now}
        with self._file.write() as db:
            if outage is not None:
                record = _record(db, key)
                attempts = record.attempts + (
                    suspect or outages.others_were_loaded(db, key, record.returned_at)
                )
                values |= {
                    "error": outage,
                    "attempts": attempts,
                    "returned": record.returned + 1,
                    "returned_at": now,
                }
                if attempts >= outages.MOST_RETURNS:
                    error = f"{outage}. This happened {attempts} times to {key}, which may be the cause: launch it by itself to try it once more."
                    values |= {
                        "state": State.FAILED,
                        "error": error,
                        "attempts": 0,
                        "returned": 0,
                        "returned_at": None,
                    }
                    duplicates.free(db, key)
            _change(db, key, values)
        return State(str(values["state"]))

    def purge(self, key: str) -> None:
        """Note that rows and files of the capture were removed; it stays out until its file changes.

        Raises:
            UnknownCaptureError: there is no record of the key.
        """
        no_load: dict[str, object] = dict.fromkeys(
            (
                "sha256",
                "hashed_at",
                "documents",
                "packets",
                "rows",
                "answers",
                "as_of",
                "packets_expired_at",
            )
        )
        no_load |= asdict(Handover())
        self._end(
            key,
            no_load
            | {
                "skipped": {},
                "cut": False,
                "answers_by": {},
                "owed": 0,
                "state": State.PURGED,
                "error": None,
            },
            frees_copies=True,
        )

    def again(self, seen: Record) -> State | None:
        """Make good a request that ended without a verdict: the next look returns the capture once more, or else it has failed.

        A run that died with it counts, and two of them are enough. A request that never became a run counts for nothing.

        Args:
            seen: its record, as the caller found it.

        Returns:
            What it is now. None if somebody works on it, or it is another one by now: then nothing happens.
        """
        try:
            with self.lock(seen.key, timeout=0) as record:
                if record != seen or (
                    record.state != State.RUNNING and record.requested_at is None
                ):
                    return None
                values: Values = {
                    "state": State.WAITING,
                    "requested_at": None,
                    "changed_at": time.time(),
                }
                if record.state == State.RUNNING:
                    values |= _died(record)
                with self._file.write() as db:
                    _change(db, record.key, values)
                    if values["state"] is State.FAILED:
                        duplicates.free(db, record.key)
        except CaptureBusyError:
            return None
        return State(str(values["state"]))

    def get(self, key: str) -> Record | None:
        """Return the record of a capture, None if it was never seen."""
        return next(iter(self._select(OF_KEY, of=key)), None)

    def records(self) -> list[Record]:
        """Return all records, by key."""
        return self._select(sa.true())

    def of_experiment(self, experiment: str) -> list[Record]:
        """Return the records of an experiment, by key."""
        return self._select(TABLE.c.experiment == sa.bindparam("experiment"), experiment=experiment)

    def unfinished(self) -> list[Record]:
        """Return the records that wait for a verdict: a run is asked for, or has claimed them and may be dead."""
        return self._select(IN_HAND)

    def progress(self) -> Progress:
        """Say how much is done of all that is to be loaded, and how fast it goes."""
        with self._file.read() as db:
            return progress.of(db, now=time.time())

    def outage(self) -> outages.Outage | None:
        """Say what keeps captures from being loaded just now; None if nothing does."""
        with self._file.read() as db:
            return outages.present(db, now=time.time())

    @contextmanager
    def lock(self, key: str, *, timeout: float = -1) -> Iterator[Record | None]:
        """Hold the lock of a capture and hand over its record as it is now, or that of a run or terminal, which has none; see `locks.held`."""
        with held(self._locks, key, timeout=timeout):
            yield self.get(key)

    def is_at_work(self, name: str) -> bool:
        """Say whether a run, or a terminal, holds its lock: the kernel lets go of that when it dies."""
        try:
            with held(self._locks, name, timeout=0):
                return False
        except CaptureBusyError:
            return True

    def _select(self, condition: sa.ColumnElement[bool], **bound: str) -> list[Record]:
        with self._file.read() as db:
            return [
                record_of(row)
                for row in db.execute(
                    sa.select(TABLE).where(condition).order_by(TABLE.c.key), bound
                )
            ]

    def _end(self, key: str, values: Mapping[str, object], *, frees_copies: bool = False) -> None:
        """Write a verdict."""
        with self._file.write() as db:
            if frees_copies:
                duplicates.free(db, key)
            fresh: dict[str, object] = {
                "attempts": 0,
                "returned": 0,
                "returned_at": None,
                "requested_at": None,
                "changed_at": time.time(),
            }
            _change(db, key, fresh | dict(values))


def _put(db: sa.Connection, values: Values) -> None:
    if not db.execute(
        sa.update(TABLE).where(OF_KEY).values(values), {"of": values["key"]}
    ).rowcount:
        db.execute(sa.insert(TABLE).values(values))


def _change(db: sa.Connection, key: str, values: Mapping[str, object]) -> None:
    """Change a record that must be there."""
    if not db.execute(sa.update(TABLE).where(OF_KEY).values(dict(values)), {"of": key}).rowcount:
        raise UnknownCaptureError(_unknown(key))


def _record(db: sa.Connection, key: str) -> Record:
    row = db.execute(sa.select(TABLE).where(OF_KEY), {"of": key}).one_or_none()
    if row is None:
        raise UnknownCaptureError(_unknown(key))
    return record_of(row)


def _died(record: Record) -> Values:
    """Count a run that died with a capture."""
    attempts = record.attempts + 1
    if attempts < MOST_ATTEMPTS:
        return {"error": None, "attempts": attempts}
    cause = f"{attempts} runs ended without a result, killed or out of memory"
    error = f"{record.key}: {cause}. Read the log of run {record.run}, then launch it again."
    return {"state": State.FAILED, "error": error, "attempts": attempts}


def _unknown(key: str) -> str:
    return f"{key} has no record in the ledger: copy it to the inbox, or ingest it."
