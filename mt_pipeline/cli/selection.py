"""Which captures a terminal means by files, folders, or what failed. What is done with them is `ingesting.py`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.naming import (
    OutsideInboxError,
    fold_experiment,
    key_of,
    unfolded_experiment,
)
from mt_pipeline.captures.records import Record, State


class WrongUsageError(Exception):
    """What was asked for cannot be meant."""


@dataclass(frozen=True)
class Wanted:
    """A file to ingest.

    Attributes:
        capture: what it is or will be.
        outside: where it lies, if that is outside the inbox.
        found: it was found in a folder, not named itself.
    """

    capture: Capture
    outside: Path | None
    found: bool


def of_path(folder: Path, path: Path, name: str | None, problems: list[str]) -> Iterator[Wanted]:
    """Find the captures of an argument.

    A folder is looked at as the watched folder is: all that would be taken there is, and the problems are told what would not. Its own folders are
    experiments, as they are there; what lies directly in it is of an experiment named after it.

    Args:
        folder: the watched folder.
        path: a file or a folder.
        name: of the experiment of all files from outside the watched folder.
        problems: sentences are added to it.
    """
    if not path.is_dir():
        yield _file(
            folder, path, f"{name or unfolded_experiment(path.name)}/{path.name}", name, found=False
        )
        return
    walk = inbox.walk(path)
    problems += [*walk.problems, *(refused.reason for refused in walk.refused)]
    for found in sorted(walk.captures, key=lambda capture: capture.key):
        within = name or ("" if "/" in found.key else path.resolve().name)
        try:
            yield _file(
                folder,
                found.path,
                f"{within}/{found.key}" if within else found.key,
                name,
                found=True,
            )
        except (
            OSError,
            RuntimeError,
        ) as error:  # gone since, or a link to itself now, for which older Pythons have no OSError
            problems.append(f"{found.path} cannot be taken ({error})")


def of_failed(folder: Path, records: Iterable[Record], experiment: str | None) -> list[Wanted]:
    """Find the captures that failed, or that an outage gave back, of one experiment or of all; the files may be gone."""
    folded = experiment and fold_experiment(experiment)
    failed = (
        record
        for record in records
        if (record.state is State.FAILED or (record.state is State.WAITING and record.returned))
        and folded in (None, record.experiment)
    )
    return [
        Wanted(Capture(record.key, folder, record.size, record.mtime_ns), None, found=False)
        for record in failed
    ]


def _file(folder: Path, path: Path, outside: str, name: str | None, *, found: bool) -> Wanted:
    """Say what a file is: if it lies outside the watched folder, `outside` is its key."""
    file = path.stat()
    try:
        key = key_of(folder, path)
    except OutsideInboxError:
        return Wanted(
            Capture(outside, folder, file.st_size, file.st_mtime_ns), path.resolve(), found
        )
    if name is not None:
        raise WrongUsageError(
            f"{path} lies in the inbox, so its folder names its experiment; --name is for files from outside"
        ) from None
    return Wanted(Capture(key, folder, file.st_size, file.st_mtime_ns), None, found)
