"""Turns errors into sentences for people, and collects the captures of a run that failed."""

import errno
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
import sqlalchemy as sa

from mt_pipeline.backends.loads import BackendError, Unreachable
from mt_pipeline.backends.questdb.server_errors import ServerError
from mt_pipeline.captures.naming import CaptureError, storable
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.captures.store import InboxError
from mt_pipeline.enrichment.provider import EnrichmentError
from mt_pipeline.errors import CommandError, SettingsError, meaning
from mt_pipeline.pipeline.causes import is_outage, system_error, without_files
from mt_pipeline.state.postgres import StateError
from mt_pipeline.system import scratch, sqlite_errors
from mt_pipeline.system.terminal import visible
from mt_pipeline.tshark.errors import TsharkError

log = logging.getLogger(__name__)

EXPECTED = (
    TsharkError,
    CaptureError,
    EnrichmentError,
    BackendError,
    ServerError,
    SettingsError,
    StateError,
    InboxError,
    OSError,
    duckdb.Error,
    MemoryError,
)
"""Errors that are no bug in this program. They are logged without a traceback."""

AGAIN = "the service takes it up again by itself, unless this happens whenever it is at work"
"""What happens to a capture after an outage, for people."""

_NAMING = (TsharkError, CaptureError, BackendError)
"""Errors whose message names the capture in words of its owner, and has its own cure."""

_SPILLS = "max_temp_directory_size"
"""What DuckDB's message has when its temporary files have filled nine tenths of their disk."""

_INTERRUPTED = "Query interrupted"
"""The message by which DuckDB reports a signal. Other messages may contain it in a file's name."""


@dataclass(frozen=True)
class Failed:
    """A capture that failed.

    Attributes:
        key: the capture key.
        reason: a sentence for people; it names the capture.
        tshark_message: the output of tshark, if tshark failed.
        tshark_status: its exit status.
        by_outage: whether an outage was the cause, so that the service tries again.
    """

    key: str
    reason: str
    tshark_message: str = ""
    tshark_status: int | None = None
    by_outage: bool = False

    @property
    def text(self) -> str:
        """The reason, and what happens next if an outage was the cause."""
        return f"{self.reason}; {AGAIN}" if self.by_outage else self.reason


def failed(
    key: str, error: BaseException, *, folder: Path | None = None, loads: bool = True
) -> Failed:
    """Make the record of a capture that failed.

    Args:
        key: the capture key.
        error: the error.
        folder: the data folder, for errors that name no file.
        loads: whether it was being loaded, by a run.
    """
    reason, name = sentence(error, folder=folder), visible(storable(key))
    if loads:
        reason += _of_load(error)
    if name not in reason:
        reason = f"{name}: {reason}"
    if isinstance(error, TsharkError):
        return Failed(key, reason, error.stderr, error.status, is_outage(error, key))
    return Failed(key, reason, by_outage=is_outage(error, key))


def sentence(error: BaseException, *, folder: Path | None = None) -> str:
    """Return in one sentence what went wrong, and what to do, without control characters.

    What a person does with a capture afterwards is not said: many errors are of no capture.

    Args:
        error: the error.
        folder: the data folder, for errors that name no file.
    """
    return visible(_sentence(error, folder))


def is_interrupt(error: BaseException) -> bool:
    """Return whether a signal interrupted DuckDB, which raises an error of its own for it."""
    return isinstance(error, duckdb.InterruptException) or str(error) == _INTERRUPTED


@contextmanager
def collecting(
    key: str,
    failures: list[Failed],
    *,
    folder: Path | None = None,
    loads: bool = True,
    ends_on: tuple[type[Exception], ...] = (Unreachable, LedgerError, StateError, InboxError),
) -> Iterator[None]:
    """Collect and log an error, so that it does not stop the other captures.

    Args:
        key: the capture key.
        failures: receives the failure.
        folder: the data folder, for errors that name no file.
        loads: whether the captures are being loaded, by a run.
        ends_on: errors that would stop all captures; they are raised.
    """
    try:
        yield
    except ends_on:
        raise
    except Exception as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        failures.append(failed(key, error, folder=folder, loads=loads))
        trace = None if isinstance(error, EXPECTED) else error
        log.error("%s", failures[-1].reason, exc_info=trace)  # noqa: TRY400  the sentence is for people


def _of_load(error: BaseException) -> str:
    """Return the end of the sentence about a load: what comes next, or where more is said."""
    if _system_error(error) or isinstance(error, MemoryError):
        return ", then launch the capture again"
    known = isinstance(error, (*EXPECTED, CommandError, sa.exc.DBAPIError))
    return "" if known else "; the log of the run has the details"


def _sentence(error: BaseException, folder: Path | None) -> str:
    if system := _system_error(error):
        of_questdb = isinstance(error, psycopg.Error)
        text = meaning(
            system,
            folder=_of_temporary_files(error) or folder,
            process="it" if of_questdb else "this process",
        )
        if of_questdb:
            return f"QuestDB cannot use its files: {text}"
        named = isinstance(system.filename, str) and system.filename not in text
        return f"{system.filename}: {text}" if named else text
    if isinstance(error, MemoryError):
        return "out of memory: wait until fewer runs are at work"
    if isinstance(error, sa.exc.DBAPIError):
        return _of_dagster(error, folder)
    text = " ".join(str(error).split())
    if isinstance(error, (*EXPECTED, CommandError)):
        return text
    return f"unexpected {type(error).__name__}: {text[:500]}"


def _system_error(error: BaseException) -> OSError | None:
    """Return the error of the system behind an error whose own message has no cure."""
    system = None if isinstance(error, BackendError) else system_error(error)
    # Also of libraries whose errors are of no kind that quotes.
    text = without_files(str(error))
    full = ("No space left" in text or _SPILLS in text) and not isinstance(error, _NAMING)
    return OSError(errno.ENOSPC, str(error)) if full and system is None else system


def _of_temporary_files(error: BaseException) -> Path | None:
    """Return the folder of temporary files if that is not the data folder, and the error is there.

    Without such a folder they are in the data folder.
    """
    folder, text = scratch.root(), str(error)
    return folder if folder and (str(folder) in text or _SPILLS in text) else None


def _of_dagster(error: sa.exc.DBAPIError, folder: Path | None) -> str:
    """Return what an error of Dagster's databases means. The ledger's have their own sentence."""
    if folder is None or not isinstance(error.orig, sqlite3.Error):
        return f"Dagster's database cannot be used ({error.orig})"
    history = folder / "dagster" / "history"
    damaged = (
        f"it is damaged: stop the service and move {history} away; new ones are made, "
        "and captures and rows stay as they are"
    )
    cure = sqlite_errors.cure(error.orig, history, damaged=damaged)
    return f"a database of Dagster in {history} cannot be used ({error.orig}): {cure}"
