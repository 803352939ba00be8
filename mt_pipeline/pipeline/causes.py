"""Tells outages from errors of a capture. After an outage the capture runs again; else it failed.

The lists here decide. An error that is neither listed nor one of the operating system is the
capture's, also a bug in this program.
"""

import re
from collections.abc import Iterator

import duckdb
import psycopg
import sqlalchemy as sa

from mt_pipeline.backends.loads import (
    BackendError,
    Damaged,
    Exhausted,
    Lost,
    Suspended,
    Unreachable,
)
from mt_pipeline.backends.questdb.server_errors import ServerError
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.captures.store import InboxError
from mt_pipeline.enrichment.answers.records import StoreError
from mt_pipeline.errors import STOPPING, SettingsError, quoted
from mt_pipeline.state.postgres import StateError
from mt_pipeline.tshark.errors import (
    TsharkError,
    TsharkKilled,
    TsharkMissing,
    TsharkSilent,
    TsharkTooOld,
)

_QUESTDB = (Unreachable, Suspended, Damaged, Exhausted, ServerError)
_DATABASES = (LedgerError, StoreError, StateError, sa.exc.OperationalError)  # the last is Dagster's
_TSHARK = (TsharkMissing, TsharkTooOld, TsharkKilled, TsharkSilent)
_MEMORY = (MemoryError, duckdb.OutOfMemoryException)

OUTAGES = (*_QUESTDB, *_DATABASES, *_TSHARK, *_MEMORY, InboxError, SettingsError)
"""Errors that would stop any capture."""

SUSPECTS = (Lost, Exhausted, TsharkKilled, TsharkSilent, *_MEMORY)
"""Outages that the capture may have caused: a large or odd capture can crash what reads it."""

_QUOTING = (TsharkError, BackendError, psycopg.Error, duckdb.Error)
"""Errors that carry an error of the operating system only in their message."""

_FILES = re.compile(r'"[^"\n]*"|\[(?:file|path|dir)=[^\n]*?\]')


def is_outage(error: BaseException, key: str = "") -> bool:
    """Return whether an error of a capture is an outage."""
    return isinstance(error, OUTAGES) or any(_stops_all(each, key) for each in _chain(error))


def is_suspect(error: BaseException) -> bool:
    """Return whether the capture may have caused an outage."""
    return isinstance(error, SUSPECTS)


def system_error(error: BaseException, key: str = "") -> OSError | None:
    """Return the error of the operating system that an error is, or quotes if it stops any work.

    Names of files do not count, also the capture's key: a name may look like such an error.
    """
    if isinstance(error, OSError) and error.errno:
        return error
    text = error.stderr if isinstance(error, TsharkError) else without_files(str(error))
    text = text.replace(key, "") if key else text
    return quoted(text) if isinstance(error, _QUOTING) else None


def without_files(text: str) -> str:
    """Return a message of DuckDB or QuestDB without the names of files."""
    return _FILES.sub("", text)


def _stops_all(error: BaseException, key: str) -> bool:
    system = system_error(error, key)
    return system is not None and system.errno in STOPPING


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
