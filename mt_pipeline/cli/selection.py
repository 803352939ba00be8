"""Which captures a command means by files, folders, or `--failed`. It loads none of them."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mt_pipeline.captures import inbox
from mt_pipeline.captures.identity import Capture, capture_at
from mt_pipeline.captures.naming import (
    CaptureError,
    OutsideInboxError,
    fold_experiment,
    key_of,
    unfolded_experiment,
)
from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.s3 import Bucket
from mt_pipeline.captures.store import Inbox


class WrongUsageError(Exception):
    """The arguments contradict each other or the files."""


@dataclass(frozen=True)
class Selected:
    """A file to ingest.

    Attributes:
        capture: what it is or will be.
        outside: its path, if that is outside the inbox.
        in_folder: whether the user named its folder, not the file.
        refused: why it cannot be taken, and the cure; empty if nothing is known against it.
    """

    capture: Capture
    outside: Path | None
    in_folder: bool
    refused: str = ""


def captures_at(
    inbox_dir: Inbox, place: Path | str, name: str | None, problems: list[str]
) -> Iterator[Selected]:
    """Yield the captures of an argument, and the files that cannot be taken.

    A folder is read as the watched folder is. Its own folders are experiments; files directly in
    it belong to an experiment named after it.

    Args:
        inbox_dir: the watched folder, or the store.
        place: a file or a folder, or the URL of an object or a folder of the store.
        name: experiment of all files from outside the watched folder.
        problems: gets a sentence for what could not be looked at.

    Raises:
        WrongUsageError: a store has no links to what lies outside.
        InboxError: the store cannot be asked.
    """
    if isinstance(place, str):
        yield from _objects(inbox_dir, place.rstrip("/"), name, problems)
    elif isinstance(inbox_dir, Path):
        yield from _files(inbox_dir, place, name, problems)
    else:
        raise WrongUsageError(
            f"the inbox is {inbox_dir}, which cannot have a link to {place}: upload it there"
        )


def _objects(
    inbox_dir: Inbox, url: str, name: str | None, problems: list[str]
) -> Iterator[Selected]:
    """Yield the object of a URL, or the objects below it."""
    if not f"{url}/".startswith(f"{inbox_dir}/"):
        raise WrongUsageError(
            f"{url} is not below the inbox {inbox_dir}: set MT_INBOX to it, "
            "or download it and name the file"
        )
    if name is not None:
        raise WrongUsageError(f"{url} lies in the inbox, so its folder names its experiment")
    below = url.removeprefix(f"{inbox_dir}").removeprefix("/")
    with suppress(CaptureError):
        yield Selected(capture_at(inbox_dir, below), None, in_folder=False)
        return
    walk = inbox.walk(Bucket(url))
    problems += [*walk.problems, *(refused.reason for refused in walk.refused)]
    for capture in sorted(walk.captures, key=lambda capture: capture.key):
        key = f"{below}/{capture.key}" if below else capture.key
        yield Selected(replace(capture, key=key, inbox=inbox_dir), None, in_folder=True)


def _files(
    inbox_dir: Path, path: Path, name: str | None, problems: list[str]
) -> Iterator[Selected]:
    if not path.is_dir():
        key = f"{name or unfolded_experiment(path.name)}/{path.name}"
        yield _selected(inbox_dir, path, key, name, in_folder=False)
        return
    walk = inbox.walk(path)
    problems += walk.problems
    found = {capture.path: "" for capture in walk.captures}
    found |= {Path(refused.location): refused.reason for refused in walk.refused}
    for file in sorted(found, key=str):
        below = file.relative_to(path).as_posix()
        experiment = name or ("" if "/" in below else path.resolve().name)
        key = f"{experiment}/{below}" if experiment else below
        try:
            selected = _selected(inbox_dir, file, key, name, in_folder=True)
        except (OSError, RuntimeError) as error:
            # Deleted meanwhile, or now a link to itself: older Pythons raise RuntimeError then.
            problems.append(found[file] or f"{file} cannot be taken ({error})")
        else:
            yield replace(selected, refused=found[file])


def failed_captures(
    inbox_dir: Inbox, records: Iterable[Record], experiment: str | None
) -> list[Selected]:
    """Return the captures that failed, or that an outage gave back; their files may be missing.

    Args:
        inbox_dir: the watched folder, or the store.
        records: all captures.
        experiment: only its captures; None for all.
    """
    folded = experiment and fold_experiment(experiment)
    return [
        Selected(_present(inbox_dir, record), None, in_folder=False)
        for record in records
        if folded in (None, record.experiment)
        and (record.state is State.FAILED or (record.state is State.WAITING and record.returned))
    ]


def _present(inbox_dir: Inbox, record: Record) -> Capture:
    """Return the capture of a record; of an object as it is now, if it is there."""
    if not isinstance(inbox_dir, Path):
        with suppress(CaptureError):
            return capture_at(inbox_dir, record.key)
    return Capture(record.key, inbox_dir, record.size, record.mtime_ns)


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
