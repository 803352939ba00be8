"""What became of every capture: how its record changes, in a database that outlives runs.

The sensor, the terminal and recovery ask the ledger; nobody asks Dagster's event log. Each
operation is one transaction. Several processes may share the ledger, and a kill at any moment
leaves it as the last transaction made it. What a record contains is `records.py`; what can be asked
is `queries.py`; how files become records is `scan.py`; when a capture is retried is `retries.py`.

Whoever acts on a record first takes the lock of the capture, and then reads the record that `lock`
yields: a record that was read before may be out of date. `retry` does all of that itself. Its
holder may lose a lock and live on, so each of its changes names the run that it knows, and changes
nothing if the record names another one.

    waiting -> waiting, requested -> running -> done | failed | refused
    waiting -> refused; any -> purged

A file that changes is waiting again; its record still has its last load. If a file goes before it
was read, its record is as before, or is deleted if it was never loaded.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

import sqlalchemy as sa

from mt_pipeline.captures import duplicates, retries, scan
from mt_pipeline.captures.database import Values, request, update, upsert
from mt_pipeline.captures.duplicates import Copy
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.inbox import Walk
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.naming import storable
from mt_pipeline.captures.queries import Queries
from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.rotation import Handover

_LOAD = ("sha256", "hashed_at", "documents", "packets", "rows", "answers", "as_of")
"""What a record knows of its load, NULL without one."""

_NO_RETRIES: Values = {"attempts": 0, "returned": 0, "returned_at": None, "requested_at": None}


class Ledger(Queries):
    """The records of all captures, to be read and changed; see `Queries`.

    Raises:
        UnknownCaptureError: in each change of a record that must exist.
        CaptureLostError: in each change of a capture whose lock was held here and is lost.
    """

    def look(
        self, walk: Walk, *, settle: float, now: float | None = None, follow: bool = False
    ) -> list[Capture]:
        """Record a walk of the inbox and return what can be requested now.

        That is new or changed files that have settled: two looks, `settle` seconds apart, saw the
        same size and time, or the next file of its rotation exists (`rotation.py`). The record of
        a deleted file stays if rows of it are stored, or if it failed or was purged.

        Args:
            walk: all files of the inbox.
            settle: seconds of quiet; 0 takes a file at first sight.
            now: seconds since 1970.
            follow: return growing files too, when they have grown enough (`growing.py`).

        Returns:
            The last seen first, so that an archive does not delay what comes after it; then by key.
        """
        now = time.time() if now is None else now
        with self._database.write() as db:
            return scan.look(db, walk, settle=settle, now=now, follow=follow)

    def requested(self, keys: Iterable[str], *, by: str = "") -> list[str]:
        """Record that runs are requested, and return the keys that no other caller requested first.

        Args:
            keys: capture keys.
            by: the terminal that requests them; see `take`.
        """
        with self._database.write() as db:
            return [key for key in keys if request(db, key, by=by)]

    def take(self, capture: Capture, *, by: str = "") -> None:
        """Record that the caller starts a run itself, unless one is requested or at work.

        Args:
            capture: the file.
            by: the terminal, which has the lock of this name until the run begins.
        """
        values: Values = {"requested_at": time.time(), "requested_by": by}
        with self._database.write() as db:
            scan.put_unless_in_hand(db, capture, values)

    def refuse(self, capture: Capture, reason: str) -> None:
        """Record that the file is refused, unless a run is requested for it or works on it."""
        capture = replace(capture, key=storable(capture.key))
        with self._database.write() as db:
            scan.put_unless_in_hand(db, capture, {"state": State.REFUSED, "error": reason})

    def claim(self, capture: Capture, *, run: str, filter: str = "") -> None:
        """Record that a run works on the capture as it is now; the caller has its lock."""
        claim: Values = {"state": State.RUNNING, "run": run, "filter": filter}
        values = scan.seen(capture, time.time()) | claim | {"taken": capture.size}
        for name in (*_NO_RETRIES, "requested_by"):  # these stay until there is a verdict
            del values[name]
        with self._mine(capture.key, claims=run) as db:
            upsert(db, values)

    def hashed(self, key: str, sha256: str, *, skipped_by: str = "") -> Copy | None:
        """Record the hash of a claimed capture; return the capture that it is a copy of.

        Args:
            key: capture key.
            sha256: hash of its content.
            skipped_by: the setting by which a copy within an experiment is refused; empty to
                load it.
        """
        with self._mine(key) as db:
            return duplicates.record_hash(db, key, sha256, skipped_by=skipped_by)

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
        handover: Handover = Handover(),  # noqa: B008  it is immutable
    ) -> None:
        """Record that the rows of the capture are stored.

        Args:
            key: capture key.
            sha256: hash of its content.
            documents: name of its documents.
            packets: packets read.
            rows: rows stored.
            skipped: packets that became no row, by reason.
            cut: the capture ends inside a packet.
            handover: what it took up from the previous file, and leaves to the next.
        """
        load: Values = {"sha256": sha256, "documents": documents, "packets": packets}
        load |= {"rows": rows, "skipped": dict(skipped), "cut": cut, "packets_expired_at": None}
        self._end(key, State.DONE, load | asdict(handover))

    def expire_packets(self, key: str, *, undo: bool = False) -> None:
        """Record that the packets of a loaded capture are deleted; or not, to `undo` that."""
        with self._mine(key) as db:
            update(db, key, {"packets_expired_at": None if undo else time.time()})

    def answered(
        self,
        key: str,
        *,
        answers: str | None,
        owed: int,
        answers_by: Mapping[str, Mapping[str, int]] | None = None,
        as_of: str | None = None,
    ) -> None:
        """Record with which answers the rows of the capture were made; this is no verdict.

        Args:
            key: capture key.
            answers: their fingerprint; None before a load with others begins.
            owed: endpoints for which a provider still owes an answer.
            answers_by: what became of the endpoints, by provider; None leaves it and `as_of`.
            as_of: the moment whose answers they are, ISO 8601; None for the present.
        """
        values: Values = {"answers": answers, "owed": owed}
        if answers_by is not None:
            counts = {name: dict(by_state) for name, by_state in answers_by.items()}
            values |= {"answers_by": counts, "as_of": as_of}
        with self._mine(key) as db:
            update(db, key, values)

    def fail(self, key: str, error: str) -> None:
        """Record why the capture failed; it is not requested again until its file changes."""
        self._end(key, State.FAILED, {"error": error}, frees_copies=True)

    def purge(self, key: str) -> None:
        """Record that rows and files of the capture were deleted; it stays so until it changes."""
        no_load: Values = dict.fromkeys((*_LOAD, "packets_expired_at"))
        no_load |= {"skipped": {}, "cut": False, "answers_by": {}, "owed": 0, **asdict(Handover())}
        self._end(key, State.PURGED, no_load, frees_copies=True)

    def file_deleted(self, key: str, before: Record | None) -> bool:
        """Record that the file of a capture was deleted before all of it was read.

        Args:
            key: capture key.
            before: its record when the caller took its lock, which the caller still has.

        Returns:
            Whether rows of it are stored: if so its record is as before, else it is deleted.
        """
        with self._mine(key) as db:
            duplicates.release_copies(db, key)
            return scan.restore(db, key, before, now=time.time())

    def give_back(self, key: str, *, outage: str | None = None, suspect: bool = False) -> State:
        """Record that a run ended by no fault of the capture; return its new state.

        A capture that is given back again and again while others are loaded fails in the end.

        Args:
            key: capture key.
            outage: what stopped the run; None if it was stopped in order.
            suspect: the capture may have caused it.
        """
        with self._mine(key) as db:
            values = retries.given_back(db, key, outage=outage, suspect=suspect)
            return self._wait_or_fail(db, key, values)

    def retry(self, seen: Record) -> State | None:
        """Record that a request ended without a verdict: the capture waits again, or has failed.

        Two runs that died with it fail it; a request that never became a run does not count.

        Args:
            seen: its record, as the caller read it.

        Returns:
            Its new state. None, and nothing happens, if somebody works on it or it has changed.
        """
        has_died = seen.state is State.RUNNING
        try:
            with self.lock(seen.key, timeout=0) as record:
                if record != seen or not (has_died or seen.requested_at is not None):
                    return None
                values = retries.died(seen) if has_died else {}
                with self._mine(seen.key) as db:
                    return self._wait_or_fail(db, seen.key, values)
        except CaptureBusyError:
            return None

    def _wait_or_fail(self, db: sa.Connection, key: str, values: Values) -> State:
        waiting: Values = {"state": State.WAITING, "requested_at": None, "changed_at": time.time()}
        changed = waiting | values
        state = State(str(changed["state"]))
        if state is State.FAILED:
            duplicates.release_copies(db, key)
        update(db, key, changed)
        return state

    def _end(self, key: str, state: State, values: Values, *, frees_copies: bool = False) -> None:
        """Write a verdict."""
        verdict = _NO_RETRIES | {"state": state, "error": None, "changed_at": time.time()}
        with self._mine(key) as db:
            if frees_copies:
                duplicates.release_copies(db, key)
            update(db, key, verdict | values)
