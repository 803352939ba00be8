"""What the ledger knows of a capture: its record.

The database of the records is `database.py`. When a record changes, and how, is `ledger.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mt_pipeline.captures.naming import CaptureError, label_of

NO_FILE = -1
"""Size in a record without a file, so that any file under its key counts as changed."""


class LedgerError(CaptureError):
    """The file of the ledger cannot be used."""


class State(StrEnum):
    """What became of a capture."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    PURGED = "purged"


@dataclass(frozen=True)
class Record:
    """What the ledger knows of a capture. Times are seconds since 1970.

    Attributes:
        key: the capture key.
        path: the file, as printable text.
        size: bytes of the file that `state` is about; -1 if there is no file any more.
        mtime_ns: its time of change.
        experiment: folded name.
        state: what became of it.
        error: why it failed or was refused.
        filter: display filter of the last claim.
        sha256: hash of the content that was last read; None if none was.
        hashed_at: when this content was first read under this key.
        documents: name of the documents of the last load. This and the next six are of the last
            load, and None or empty without one.
        packets: packets read.
        rows: rows stored.
        skipped: packets that became no row, by reason.
        cut: the capture ends inside a packet.
        follows: what the file before it in its rotation had left when it was loaded; empty if
            nothing was taken up.
        leaves: what it leaves to the next file: a hash of the names of streams that may continue
            there; empty if there are none.
        answers: fingerprint of the answers that its rows were made with, and versions of what made
            them (`Stages.made_of`); None if a load with others began and did not end.
        answers_by: what became of its endpoints, by provider: {"netify": {"answered": 3, …}}.
        owed: endpoints for which a provider still owes an answer.
        as_of: the moment whose answers it was loaded with, ISO 8601; None for the present.
        packets_expired_at: when its packets were deleted and only its flows stayed; None if they
            are stored.
        run: the Dagster run that claimed it last.
        attempts: runs that died with it, and outages that it may be the cause of.
        returned: times in a row that an outage gave it back without a verdict.
        returned_at: when that was last; None if it was not.
        taken: bytes that the file had when a run claimed it last; 0 if none has.
        seen_at: when the present size and time were first seen.
        requested_at: when a run was requested; None if none was.
        requested_by: the terminal that requested it, which holds the lock of this name as long as
            it lives; empty for the sensor.
        changed_at: when the state changed.
    """

    key: str
    path: str
    size: int
    mtime_ns: int
    experiment: str
    state: State
    error: str | None
    filter: str | None
    sha256: str | None
    hashed_at: float | None
    documents: str | None
    packets: int | None
    rows: int | None
    skipped: Mapping[str, int]
    cut: bool
    follows: str
    leaves: str
    answers: str | None
    answers_by: Mapping[str, Mapping[str, int]]
    owed: int
    as_of: str | None
    packets_expired_at: float | None
    run: str | None
    attempts: int
    returned: int
    returned_at: float | None
    taken: int
    seen_at: float
    requested_at: float | None
    requested_by: str
    changed_at: float

    @property
    def label(self) -> str | None:
        """The folders between its experiment and the file."""
        return label_of(self.key)

    @property
    def remarks(self) -> list[str]:
        """What a user should know of its packets: how many became no row and why, and a cut."""
        skipped = [f"{count:,} skipped: {reason}" for reason, count in self.skipped.items()]
        return [*skipped, *(["cut inside its last packet"] if self.cut else [])]


@dataclass(frozen=True)
class Status:
    """The part of a record that `mt-pipeline status --json` shows."""

    key: str
    experiment: str
    state: State
    packets: int | None
    rows: int | None
    skipped: Mapping[str, int]
    error: str | None
    label: str | None
    cut: bool

    @classmethod
    def from_record(cls, record: Record) -> "Status":
        """Return the part of a record."""
        return cls(**{name: getattr(record, name) for name in cls.__annotations__})
