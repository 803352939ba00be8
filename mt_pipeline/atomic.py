"""Files that appear only when they are whole: written beside, synced, renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(output: Path) -> Iterator[Path]:
    """Give a path to write to instead of `output`; it takes that name when the block ends well, and is gone if it does not.

    Raises:
        OSError: it cannot be written, for example on a full disk.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)
