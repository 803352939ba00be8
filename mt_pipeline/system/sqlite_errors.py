"""What to do about errors of SQLite, which calls a full disk and full tables by the same names."""

import sqlite3
from pathlib import Path

from mt_pipeline.errors import shortage

_VAGUE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_CURES = {
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "look at the disk: it may be full or broken",
    sqlite3.SQLITE_BUSY: "another process holds it: stop that one, or try again",
    sqlite3.SQLITE_LOCKED: "another process holds it: stop that one, or try again",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable for this user",
    sqlite3.SQLITE_CANTOPEN: "make the file and its folder readable and writable for this user",
    sqlite3.SQLITE_PERM: "make the file and its folder readable and writable for this user",
}


def cure(error: BaseException | None, folder: Path, *, damaged: str) -> str:
    """Return what an error of SQLite means, and what to do.

    Args:
        error: of a database.
        folder: the folder of its file.
        damaged: what to do if the file is damaged.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _VAGUE and (reason := shortage(folder)):
        return reason
    return _CURES.get(code, damaged)
