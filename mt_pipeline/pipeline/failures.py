"""Turns errors into sentences for people, and collects the captures of a run that failed."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from mt_pipeline.backends.loads import BackendError, Unreachable
from mt_pipeline.backends.questdb.server_errors import ServerError
from mt_pipeline.captures.naming import CaptureError, storable
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.enrichment.provider import EnrichmentError
from mt_pipeline.errors import SettingsError, meaning
from mt_pipeline.pipeline.causes import is_outage, words_of
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
    OSError,
    duckdb.Error,
    MemoryError,
)
"""Errors that are no bug in this program. They are logged without a traceback."""

AGAIN = "the service takes it up again by itself, unless this happens whenever it is at work"
"""What happens to a capture after an outage, for people."""

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


def failed(key: str, error: BaseException, *, folder: Path | None = None) -> Failed:
    """Make the record of a capture that failed.

    Args:
        key: the capture key.
        error: the error.
        folder: the data folder, for errors that name no file.
    """
    reason, name = sentence(error, folder=folder), visible(storable(key))
    if name not in reason:
        reason = f"{name}: {reason}"
    if isinstance(error, TsharkError):
        return Failed(key, reason, error.stderr, error.status, is_outage(error, key))
    return Failed(key, reason, by_outage=is_outage(error, key))


def sentence(error: BaseException, *, folder: Path | None = None) -> str:
    """Return in one sentence what went wrong, and what to do, without control characters.

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
    ends_on: tuple[type[Exception], ...] = (Unreachable, LedgerError),
) -> Iterator[None]:
    """Collect and log an error, so that it does not stop the other captures.

    Args:
        key: the capture key.
        failures: receives the failure.
        ends_on: errors that would stop all captures; they are raised.
    """
    try:
        yield
    except ends_on:
        raise
    except Exception as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        failures.append(failed(key, error))
        trace = None if isinstance(error, EXPECTED) else error
        log.error("%s", failures[-1].reason, exc_info=trace)  # noqa: TRY400  the sentence is for people


def _sentence(error: BaseException, folder: Path | None) -> str:
    if "No space left" in words_of(error) and not (isinstance(error, OSError) and error.errno):
        error = OSError(errno.ENOSPC, str(error))
    if isinstance(error, OSError) and error.errno:
        text = meaning(error, folder=folder)
        named = isinstance(error.filename, str) and error.filename not in text
        where = f"{error.filename}: " if named else ""
        return f"{where}{text}, then launch the capture again"
    if isinstance(error, MemoryError):
        return "out of memory: launch the capture again when fewer runs are at work"
    text = " ".join(str(error).split())
    if isinstance(error, EXPECTED):
        return text
    return f"unexpected {type(error).__name__}: {text[:500]}; the log of the run has the details"
