"""Tells outages from errors of a capture. After an outage the capture runs again; else it failed.

The lists here decide. An error that is neither listed nor one of the operating system is the
capture's, also a bug in this program.
"""

import errno
import os
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
from mt_pipeline.enrichment.answers.database import StoreError
from mt_pipeline.errors import SettingsError
from mt_pipeline.tshark.errors import (
    TsharkError,
    TsharkKilled,
    TsharkMissing,
    TsharkSilent,
    TsharkTooOld,
)

_QUESTDB = (Unreachable, Suspended, Damaged, Exhausted, ServerError)
_DATABASES = (LedgerError, StoreError, sa.exc.OperationalError)  # the last is Dagster's
_TSHARK = (TsharkMissing, TsharkTooOld, TsharkKilled, TsharkSilent)
_MEMORY = (MemoryError, duckdb.OutOfMemoryException)

OUTAGES = (*_QUESTDB, *_DATABASES, *_TSHARK, *_MEMORY, SettingsError)
"""Errors that would stop any capture."""

SUSPECTS = (Lost, Exhausted, TsharkKilled, TsharkSilent, *_MEMORY)
"""Outages that the capture may have caused: a large or odd capture can crash what reads it."""

_ERRNOS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.EROFS,
    errno.ENOLCK,
)
"""Errors of the operating system that would stop any capture."""

_QUOTING = (TsharkError, BackendError, psycopg.Error, duckdb.Error)
"""Errors that carry such an error only in their message: its text, or, in QuestDB, its number."""

_QUOTES = tuple(
    quote
    for number in _ERRNOS
    for quote in (os.strerror(number), f"errno={number}]", f"errno={number},", f"[{number}] ")
)

_FILES = re.compile(r'"[^"\n]*"|\[(?:file|path|dir)=[^\n]*?\]')
"""Names of files in messages of DuckDB and QuestDB."""


def is_outage(error: BaseException, key: str = "") -> bool:
    """Return whether an error of a capture is an outage."""
    return isinstance(error, OUTAGES) or any(_is_system_error(each, key) for each in _chain(error))


def is_suspect(error: BaseException) -> bool:
    """Return whether the capture may have caused an outage."""
    return isinstance(error, SUSPECTS)


def words_of(error: BaseException, key: str = "") -> str:
    """Return the text of an error without names of files, as a name may look like an error."""
    text = error.stderr if isinstance(error, TsharkError) else _FILES.sub("", str(error))
    return text.replace(key, "") if key else text


def _is_system_error(error: BaseException, key: str) -> bool:
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    text = words_of(error, key)
    return isinstance(error, _QUOTING) and any(quote in text for quote in _QUOTES)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
