"""Files that appear only when they are complete: written under another name, synced, renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(output: Path, *, new: bool = False) -> Iterator[Path]:
    """Yield a path to write to instead of `output`.

    The file is renamed to `output` when the block ends, and deleted if the block raises.

    Args:
        output: the file.
        new: refuse to replace a file, even one that appears in the meantime.

    Raises:
        FileExistsError: `new` is set and the file exists.
        OSError: the file cannot be written, for example on a full disk.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    # Processes of several machines may write the same file, and ids of processes repeat there.
    partial = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if new:
            output.open("xb").close()  # claims the name
        partial.rename(output)
    finally:
        partial.unlink(missing_ok=True)
