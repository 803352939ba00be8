"""Which captures a command means by files, folders, or `--failed`. It loads none of them."""

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
    """The arguments contradict each other or the files."""


@dataclass(frozen=True)
class Selected:
    """A file to ingest.

    Attributes:
        capture: what it is or will be.
        outside: its path, if that is outside the inbox.
        in_folder: whether the user named its folder, not the file.
    """

    capture: Capture
    outside: Path | None
    in_folder: bool


def captures_at(
    inbox_dir: Path, path: Path, name: str | None, problems: list[str]
) -> Iterator[Selected]:
    """Yield the captures of an argument.

    A folder is read as the watched folder is. Its own folders are experiments; files directly in
    it belong to an experiment named after it.

    Args:
        inbox_dir: the watched folder.
        path: a file or a folder.
        name: experiment of all files from outside the watched folder.
        problems: gets a sentence for each file that cannot be taken.
    """
    if not path.is_dir():
        key = f"{name or unfolded_experiment(path.name)}/{path.name}"
        yield _selected(inbox_dir, path, key, name, in_folder=False)
        return
    walk = inbox.walk(path)
    problems += [*walk.problems, *(refused.reason for refused in walk.refused)]
    for capture in sorted(walk.captures, key=lambda capture: capture.key):
        experiment = name or ("" if "/" in capture.key else path.resolve().name)
        key = f"{experiment}/{capture.key}" if experiment else capture.key
        try:
            yield _selected(inbox_dir, capture.path, key, name, in_folder=True)
        except (OSError, RuntimeError) as error:
            # Deleted meanwhile, or now a link to itself: older Pythons raise RuntimeError then.
            problems.append(f"{capture.path} cannot be taken ({error})")


def failed_captures(
    inbox_dir: Path, records: Iterable[Record], experiment: str | None
) -> list[Selected]:
    """Return the captures that failed, or that an outage gave back; their files may be missing.

    Args:
        inbox_dir: the watched folder.
        records: all captures.
        experiment: only its captures; None for all.
    """
    folded = experiment and fold_experiment(experiment)
    return [
        Selected(
            Capture(record.key, inbox_dir, record.size, record.mtime_ns), None, in_folder=False
        )
        for record in records
        if folded in (None, record.experiment)
        and (record.state is State.FAILED or (record.state is State.WAITING and record.returned))
    ]


def _selected(
    inbox_dir: Path, path: Path, outside_key: str, name: str | None, *, in_folder: bool
) -> Selected:
    """Select a file; `outside_key` is its key if it lies outside the watched folder."""
    file = path.stat()
    try:
        key = key_of(inbox_dir, path)
    except OutsideInboxError:
        capture = Capture(outside_key, inbox_dir, file.st_size, file.st_mtime_ns)
        return Selected(capture, path.resolve(), in_folder)
    if name is not None:
        raise WrongUsageError(
            f"{path} lies in the inbox, so its folder names its experiment; "
            "--name is for files from outside"
        ) from None
    return Selected(Capture(key, inbox_dir, file.st_size, file.st_mtime_ns), None, in_folder)
