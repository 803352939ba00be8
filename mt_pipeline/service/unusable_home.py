"""Why Dagster cannot use its home: which of its files is broken, and what to do about that."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from mt_pipeline.errors import CommandError, meaning

_DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
_LONGEST = 300  # Dagster lists all settings that it knows


class HomeError(CommandError):
    """A file of Dagster's home cannot be used."""


@contextmanager
def named(home: Path) -> Iterator[None]:
    """Name the file if Dagster's instance cannot be opened or read.

    Args:
        home: DAGSTER_HOME.

    Raises:
        HomeError: instead of an error of Dagster or of what it uses.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise HomeError(_of_database(home, error)) from None
    except Exception as error:
        # Dagster and what reads the settings for it have a dozen classes of errors.
        if isinstance(error, OSError) and not isinstance(error, IsADirectoryError):
            raise HomeError(f"{error.filename or home}: {meaning(error, folder=home)}") from None
        raise of_settings(home, error) from None


def of_settings(home: Path, error: Exception) -> HomeError:
    """Return the error that names the settings, which Dagster could not read."""
    return HomeError(
        f"{home / 'dagster.yaml'} cannot be used ({_short(error)}): correct it, or move it "
        "away, and `mt-pipeline run` makes a new one"
    )


def _of_database(home: Path, error: sa.exc.DBAPIError) -> str:
    for name in _DATABASES:
        if found := _fault(home / name):
            return (
                f"{home / name} is damaged ({found}): stop what uses it and move it away; "
                "a new one is made, without the history of runs, and no row changes"
            )
    said = _short(error.orig or error)
    if isinstance(error.orig, sqlite3.Error):
        return (
            f"Dagster's history in {home} cannot be used ({said}): see whether its disk is full "
            "or broken, whether this user may write there, and whether another program holds it"
        )
    return f"Dagster's database cannot be used ({said}): see whether it runs and lets Dagster in"


def _fault(file: Path) -> str | None:
    """Return why a database is damaged; None if it is not, or the fault is another."""
    if not file.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # of its disk, its owner, or a lock
        return None
    except sqlite3.DatabaseError as error:
        return str(error)
    return None


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:_LONGEST]
