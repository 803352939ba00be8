"""One place that turns what went wrong with a capture into what the run page shows first."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
import duckdb

from mt_pipeline.captures.identity import CaptureError, storable
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.enrichment.provider import EnrichmentError
from mt_pipeline.questdb.database import DatabaseError, Unreachable
from mt_pipeline.questdb.java import ServerError
from mt_pipeline.settings import SettingsError
from mt_pipeline.terminal import visible
from mt_pipeline.tshark.command import TsharkError

log = logging.getLogger(__name__)

_INTERRUPTED = "Query interrupted"

EXPECTED = (TsharkError, CaptureError, EnrichmentError, DatabaseError, ServerError, SettingsError, OSError, duckdb.Error, MemoryError)
"""What can go wrong without a fault of ours."""


@dataclass(frozen=True)
class Failed:
    """A capture that failed: its key, a sentence for people, and what tshark said, if it was tshark."""

    key: str
    reason: str
    tshark_said: str = ""
    tshark_status: int | None = None


def failed(key: str, error: BaseException) -> Failed:
    """Say in one sentence why a capture failed; it names the capture."""
    reason, name = sentence(error), visible(storable(key))
    if name not in reason:
        reason = f"{name}: {reason}"
    if isinstance(error, TsharkError):
        return Failed(key, reason, error.said, error.status)
    return Failed(key, reason)


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
    description = first.reason if captures == 1 else f"{how_many}. {' | '.join(f.reason for f in failures[:5])}"
    metadata: dict[str, dg.MetadataValue] = {"captures_failed": dg.MetadataValue.int(len(failures))}
    if captures == 1 and first.tshark_said:
        metadata["tshark_said"] = dg.MetadataValue.text(visible(first.tshark_said, lines=True))
    if captures == 1 and first.tshark_status is not None:
        metadata["tshark_exit_status"] = dg.MetadataValue.int(first.tshark_status)
    if captures > 1:
        metadata["failed"] = dg.MetadataValue.json({f.key: f.reason for f in failures})
    return dg.Failure(description=description, metadata=metadata, allow_retries=False)


def sentence(error: BaseException) -> str:
    """Say in one sentence what went wrong, and what to do; nothing in it controls a terminal, whatever a program or a server said."""
    return visible(_sentence(error))


def _sentence(error: BaseException) -> str:
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "No space left" in str(error):
        return f"the disk is full ({getattr(error, 'filename', None) or 'data folder'}): free some space, then launch the capture again"
    if isinstance(error, MemoryError):
        return "out of memory: launch the capture again when fewer runs are at work"
    if isinstance(error, EXPECTED):
        return " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:500]}; the log of the run has the details"
