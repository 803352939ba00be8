"""Symbolic links in the inbox to captures that lie outside of it."""

import os
from pathlib import Path

from mt_pipeline.captures.naming import CaptureError


def make_link(link: Path, target: Path) -> None:
    """Make a link and its folder; do nothing if it exists.

    Raises:
        CaptureError: the name belongs to another file, or the link cannot be made.
    """
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(target)
        except FileExistsError:
            check_free(link, target)  # another command may have made a link of this name
    except OSError as error:
        raise CaptureError(
            f"{target}: no link to it can be made in the inbox ({error.strerror})"
        ) from None


def check_free(link: Path, target: Path) -> None:
    """Refuse the name of another capture: its record must stay as it is.

    Raises:
        CaptureError: the name belongs to another file.
    """
    if os.path.lexists(link) and not (link.is_symlink() and leads_to(link, target)):
        raise name_taken(link, target)


def leads_to(link: Path, target: Path) -> bool:
    """Return whether a link leads to a file."""
    try:
        return link.resolve() == target
    except (OSError, RuntimeError):  # a link to itself; older Pythons raise RuntimeError
        return False


def name_taken(link: Path, target: Path | None) -> CaptureError:
    """Return the error for a file whose name in the inbox belongs to another one."""
    return CaptureError(
        f"{target}: the inbox has another {link}; choose another --name, or rename the file"
    )
