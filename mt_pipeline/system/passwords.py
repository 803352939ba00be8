"""Passwords that we make up ourselves, each in a file that its owner alone can read."""

import fcntl
import os
import secrets
from pathlib import Path

_BYTES = 24


def password_in(file: Path) -> str:
    """Return the password in a file; a file that is not there, or is empty, gets a new one. Many may come at once: all get the same.

    Raises:
        OSError: the file cannot be read, or cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        os.fchmod(opened.fileno(), 0o600)
        password = opened.read().strip()
        if not password:
            password = secrets.token_urlsafe(_BYTES)
            opened.write(f"{password}\n")
            opened.flush()
            os.fsync(opened.fileno())
    return password
