"""What can go wrong with tshark. When each error is raised is `command.py` and `outcome.py`."""

from textwrap import indent

NAME = "\0"
"""What stands for the capture's name in what tshark printed: a character that no program prints."""


class TsharkError(Exception):
    """Base of all that can go wrong with tshark.

    TsharkError
    ├── TsharkMissing    no such program
    ├── TsharkTooOld     a version known to give wrong rows
    ├── FilterError      tshark does not understand the display filter
    ├── NotACapture      tshark cannot read the file at all
    ├── TsharkSilent     it, or the disk that it reads, stood still
    └── TsharkFailed     it ended before the end of the capture
        ├── TsharkKilled because somebody killed it, as the system does that lacks memory
        └── TsharkLimit  the capture takes more time or memory than it may

    Attributes:
        stderr: what tshark printed, without the capture's name; empty if nothing.
        status: its exit status, or the signal that ended it as a negative number; None if unknown.
    """

    def __init__(self, message: str, *, stderr: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.stderr = stderr.replace(NAME, "…")
        self.status = status


class TsharkMissing(TsharkError):
    """There is no such program."""


class TsharkTooOld(TsharkError):
    """The version is known to give wrong rows."""


class FilterError(TsharkError):
    """tshark does not understand the display filter.

    Attributes:
        excerpt: the filter, and below it carets under the error; empty if tshark does not point
            to it.
    """

    excerpt = ""

    @property
    def shown(self) -> str:
        """The message, and below it the excerpt: for terminals."""
        return "\n".join([str(self), *indent(self.excerpt, "    ").splitlines()])


class NotACapture(TsharkError):
    """tshark cannot read the file at all."""


class TsharkFailed(TsharkError):
    """tshark ended before the end of the capture."""


class TsharkKilled(TsharkFailed):
    """Somebody killed tshark, as the system does that lacks memory."""


class TsharkSilent(TsharkError):
    """tshark stood still, or the disk that it reads. The capture may be fine."""


class TsharkLimit(TsharkFailed):
    """The capture takes tshark more time or memory than it may."""
