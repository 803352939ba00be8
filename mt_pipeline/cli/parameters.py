"""Types and checks of arguments that several commands share."""

import os
from pathlib import Path

import click


class NewFile(click.Path):
    """A file to write, in a folder that exists.

    The command makes no folder: that would hide a misspelt one.
    """

    def __init__(self, *, dir_okay: bool = False) -> None:
        super().__init__(dir_okay=dir_okay, path_type=Path)

    def convert(
        self,
        value: "str | os.PathLike[str]",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path; fail if its folder does not exist."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            cure = (
                "is no folder: name another file"
                if path.parent.exists()
                else "is no folder yet: make it first, or name another file"
            )
            self.fail(f"{str(path.parent)!r} {cure}", param, ctx)
        return path


def not_empty(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    """Refuse an empty text: it comes from a variable that is not set, and must not mean all."""
    if value == "":
        raise click.BadParameter("it is empty")
    return value
