"""Small disks of tests: what a full one does is tried on a file system of memory."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """Make a folder that is a file system of its own, until the block ends.

    Args:
        folder: to be made.
        options: of the file system, such as `size=8m`.
    """
    folder.mkdir(parents=True)
    if subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", folder], check=True)
