"""Whose fault an error is: the capture's, which then has failed, or that of an outage, which says nothing of it, so that it is taken up again.

The lists here are the only place that knows. What is neither listed nor said by the system is the capture's, as are errors of ours.
"""

import errno
import os
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

OUTAGES = (
    *(Unreachable, Suspended, Damaged, Exhausted, ServerError),  # QuestDB
    *(
        LedgerError,
        StoreError,
        sa.exc.OperationalError,
    ),  # the ledger, the answers, what Dagster keeps
    *(
        TsharkMissing,
        TsharkTooOld,
        TsharkKilled,
        TsharkSilent,
        SettingsError,
        MemoryError,
        duckdb.OutOfMemoryException,
    ),
)
"""What stands in the way of any capture."""

SUSPECTS = (Lost, Exhausted, TsharkKilled, TsharkSilent, MemoryError, duckdb.OutOfMemoryException)
"""Those of them that the capture at work may have caused: a capture that is large or odd enough ends what reads it."""

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
"""What the system lacks, whoever asks for it."""

_SAID_BY_OTHERS = (TsharkError, BackendError, psycopg.Error, duckdb.Error)
"""Errors of programs and libraries that meet with these, and pass on no more than the words of the system, or its number, as QuestDB does."""

_WORDS = tuple(
    words
    for number in _ERRNOS
    for words in (os.strerror(number), f"errno={number}]", f"errno={number},", f"[{number}] ")
)


def is_outage(error: BaseException) -> bool:
    """Say whether an error is no fault of the capture at work."""
    return isinstance(error, OUTAGES) or any(_is_of_the_system(one) for one in _chain(error))


def is_suspect(error: BaseException) -> bool:
    """Say whether the capture may have caused an outage."""
    return isinstance(error, SUSPECTS)


def _is_of_the_system(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    # The message of a TsharkError names a file as its user called it; what tshark said does not count if it did not say it.
    said = error.stderr if isinstance(error, TsharkError) else str(error)
    return isinstance(error, _SAID_BY_OTHERS) and any(words in said for words in _WORDS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """List an error and what it was raised for."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__
