"""One place that turns what went wrong with a capture into what the run page shows first."""

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import duckdb

from mt_pipeline.backends.questdb.database import DatabaseError, Unreachable
from mt_pipeline.backends.questdb.java import ServerError
from mt_pipeline.captures.identity import CaptureError, storable
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.enrichment.provider import EnrichmentError
from mt_pipeline.errors import meaning
from mt_pipeline.pipeline.causes import is_outage
from mt_pipeline.settings import SettingsError
from mt_pipeline.system.terminal import visible
from mt_pipeline.tshark.command import TsharkError

log = logging.getLogger(__name__)

AGAIN = "the service takes it up again by itself, unless this happens whenever it is at work"
"""What becomes of a capture that an outage gave back."""

_INTERRUPTED = "Query interrupted"

EXPECTED = (TsharkError, CaptureError, EnrichmentError, DatabaseError, ServerError, SettingsError, OSError, duckdb.Error, MemoryError)
"""What can go wrong without a fault of ours."""


@dataclass(frozen=True)
class Failed:
    """A capture that failed: its key, a sentence for people, what tshark said, if it was tshark; and whether an outage did that."""

    key: str
    reason: str
    tshark_said: str = ""
    tshark_status: int | None = None
    by_outage: bool = False

    @property
    def said(self) -> str:
        """The sentence, with what becomes of the capture if it was no fault of its own."""
        return f"{self.reason}; {AGAIN}" if self.by_outage else self.reason


def failed(key: str, error: BaseException, *, folder: Path | None = None) -> Failed:
    """Say in one sentence why a capture failed; it names the capture."""
    reason, name = sentence(error, folder=folder), visible(storable(key))
    if name not in reason:
        reason = f"{name}: {reason}"
    if isinstance(error, TsharkError):
        return Failed(key, reason, error.said, error.status, is_outage(error))
    return Failed(key, reason, by_outage=is_outage(error))


def is_interrupt(error: BaseException) -> bool:
    """Say whether a signal came while DuckDB worked: this is its word for it."""
    return _INTERRUPTED in str(error)


@contextmanager
def apart(key: str, failures: list[Failed]) -> Iterator[None]:
    """Let what goes wrong with one capture cost no other one: it is noted, and logged.

    Args:
        key: capture key, or what else the loop is over.
        failures: what went wrong is added to them.

    Raises:
        Unreachable, LedgerError: what all captures need is not there.
    """
    try:
        yield
    except (Unreachable, LedgerError):
        raise
    except Exception as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        failures.append(failed(key, error))
        log.error("%s", failures[-1].reason, exc_info=None if isinstance(error, EXPECTED) else error)  # noqa: TRY400


def failure(failures: list[Failed], captures: int) -> dg.Failure:
    """Make the failure of a run from those of its captures: the first line that the run page shows."""
    first = failures[0]
    how_many = (
        f"{len(failures)} of {captures} captures failed, the others are done" if len(failures) < captures else f"all {captures} captures failed"
    )
    description = first.said if captures == 1 else f"{how_many}. {' | '.join(f.said for f in failures[:5])}"
    metadata: dict[str, dg.MetadataValue] = {"captures_failed": dg.MetadataValue.int(len(failures))}
    if captures == 1 and first.tshark_said:
        metadata["tshark_said"] = _block(visible(first.tshark_said, lines=True))
    if captures == 1 and first.tshark_status is not None:
        metadata["tshark_exit_status"] = dg.MetadataValue.int(first.tshark_status)
    if captures > 1:
        metadata["failed"] = dg.MetadataValue.json({f.key: f.reason for f in failures})
    return dg.Failure(description=description, metadata=metadata, allow_retries=False)


def _block(said: str) -> dg.MetadataValue:
    """Keep lines and columns: below a filter tshark puts carets under what is wrong with it."""
    longest = max((len(ticks) for ticks in re.findall("`+", said)), default=0)
    fence = "`" * max(3, longest + 1)
    return dg.MetadataValue.md(f"{fence}text\n{said.rstrip()}\n{fence}")


def sentence(error: BaseException, *, folder: Path | None = None) -> str:
    """Say in one sentence what went wrong, and what to do; nothing in it controls a terminal, whatever a program or a server said.

    Args:
        error: it.
        folder: the data folder, where files are written that the error does not name.
    """
    return visible(_sentence(error, folder))


def _sentence(error: BaseException, folder: Path | None) -> str:
    if "No space left" in str(error) and not (isinstance(error, OSError) and error.errno):
        error = OSError(errno.ENOSPC, str(error))
    if isinstance(error, OSError) and error.errno:
        where = error.filename if isinstance(error.filename, str) and error.filename not in meaning(error, folder=folder) else ""
        return f"{f'{where}: ' if where else ''}{meaning(error, folder=folder)}, then launch the capture again"
    if isinstance(error, MemoryError):
        return "out of memory: launch the capture again when fewer runs are at work"
    if isinstance(error, EXPECTED):
        return " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:500]}; the log of the run has the details"
