"""What an inbox is that is no folder: objects of a store, each whole, read by their keys.

`s3.py` is one. Nothing here is ever written, changed or deleted.
"""

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from mt_pipeline.errors import CommandError


class InboxError(CommandError):
    """The store cannot be used, or not for now; the message says what to do."""


class Status(NamedTuple):
    """What tells one content of an object from another.

    Attributes:
        size: in bytes.
        mtime_ns: the second of the last change, as nanoseconds since 1970. Stores tell no less than
            seconds, so the nanoseconds in it are made of the object's ETag.
    """

    size: int
    mtime_ns: int


class Store(Protocol):
    """Objects below a prefix. Its text is its URL, without a slash at the end."""

    def objects(self) -> Iterator[tuple[str, Status]]:
        """Yield all objects, each with its key below the prefix, whatever that looks like.

        Raises:
            InboxError: they cannot be listed.
        """
        ...

    def status(self, key: str) -> Status:
        """Return the status of an object.

        Raises:
            FileNotFoundError: there is none.
            InboxError: the store cannot be asked.
        """
        ...

    def open(self, key: str, status: Status) -> BufferedReader:
        """Open an object to read it from its beginning. Reading raises what is listed here.

        Args:
            key: of the object.
            status: of the content to read.

        Raises:
            FileNotFoundError: it was deleted.
            CaptureUnreadableError: it may not be read, though it may be listed.
            CaptureChangedError: it has another content.
            InboxError: the store cannot be asked.
        """
        ...


Inbox: TypeAlias = Path | Store
"""Where captures appear: a watched folder, or a store."""
