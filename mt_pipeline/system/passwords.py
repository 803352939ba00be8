"""Generated passwords, each in a file that only its owner can read."""

import fcntl
import os
import secrets
from pathlib import Path

_BYTES = 24


def password_in(file: Path) -> str:
    """Return the password in a file. Write a new password to it if it is missing or empty.

    Processes that call this at the same time get the same password.

    Raises:
        OSError: the file cannot be read or created.
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
