"""Files that appear only when they are whole: written beside, synced, renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(output: Path, *, new: bool = False) -> Iterator[Path]:
    """Give a path to write to instead of `output`; it takes that name when the block ends well, and is gone if it does not.

    Args:
        output: the file.
        new: leave a file of this name alone that is there by then.

    Raises:
        FileExistsError: there is one, and `new` is set.
        OSError: it cannot be written, for example on a full disk.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if new:
            output.open("xb").close()  # from here on the name is ours
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)
