"""Cuts the packets that a question chooses out of their captures.

Everything is checked before the first byte is written: the captures are there and as they were
when they were loaded. `frames/` copies the packets.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline import __version__
from mt_pipeline.api.question import Question, RowsChangedError
from mt_pipeline.api.where import All, Comparison
from mt_pipeline.captures import identity
from mt_pipeline.captures.growing import snapshot
from mt_pipeline.captures.identity import Capture, capture_at
from mt_pipeline.captures.naming import CaptureError, file_name_of
from mt_pipeline.captures.queries import Queries
from mt_pipeline.captures.store import Inbox
from mt_pipeline.errors import CommandError
from mt_pipeline.frames import cut
from mt_pipeline.frames.models import Wanted
from mt_pipeline.system import private, scratch
from mt_pipeline.system.atomic import whole
from mt_pipeline.tshark.limits import Limits

COLUMNS = ("capture", "frame_number", "ts", "frame_len")
"""What a question about packets to cut asks for."""

_ROWS_AT_ONCE = 500_000
_CAPTURES_AT_ONCE = 200
_SHOWN = 5
"""Refused captures that are named."""


class NothingToCutError(CommandError):
    """No packet is chosen."""


class RefusedError(CommandError):
    """A capture is gone, or is not as it was when it was loaded; nothing was written."""


@dataclass(frozen=True)
class Cut:
    """A file with packets.

    Attributes:
        path: the file.
        packets: their number.
        bytes: of these packets.
        captures: how many captures they are from.
        link_types: packets by LINKTYPE_… number.
    """

    path: Path
    packets: int
    bytes: int
    captures: int
    link_types: Mapping[int, int]


class Chooses(Protocol):
    """What chooses packets: a back end, or something before it."""

    def rows(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield the packets, as `Source.rows`."""
        ...

    def counts(self, question: Question) -> Mapping[str, int]:
        """Count them by capture."""
        ...


@dataclass(frozen=True)
class Cutter:
    """Cuts the packets of one question.

    Attributes:
        source: what chooses them.
        question: about packets, with COLUMNS.
        ledger: the records of the captures.
        inbox: where the captures are.
        limits: of editcap, for captures that it must convert.
        progress: receives a capture, how many of its packets are read, and of how many.
        is_new: refuse to replace a file.
        temporary: folder for copies of captures that are in a store.
    """

    source: Chooses
    question: Question
    ledger: Queries
    inbox: Inbox
    limits: Limits
    progress: cut.Progress
    is_new: bool
    temporary: Path

    def into(self, output: Path) -> Cut:
        """Write all packets to one file.

        Raises:
            NothingToCutError: there is none.
            RefusedError: a capture cannot be used.
            FrameError: a capture does not have the packets of its rows.
            RowsChangedError: rows came or went meanwhile.
            FileExistsError: the file exists, and may not be replaced.
        """
        return together([self], output)

    def into_each(self, folder: Path) -> Sequence[Cut]:
        """Write a file for each capture, named after it, to a folder; see `into`."""
        counts, captures = self._checked()
        _check_any([self], counts)
        names = {key: folder / f"{file_name_of(key)}.pcapng" for key in counts}
        self._refuse_existing(names.values())
        folder.mkdir(parents=True, exist_ok=True)
        return [
            self._write([source], names[source.name], self._described, [captures[source.name]])
            for source in self._sources(counts, captures)
        ]

    def _checked(self) -> tuple[Mapping[str, int], Mapping[str, Capture]]:
        """Return how many packets of which captures are chosen, and their files, all checked."""
        counts = dict(sorted(self.source.counts(self.question).items()))
        captures, refused = dict[str, Capture](), list[str]()
        for key in counts:
            try:
                captures[key] = self._capture(key)
            except CaptureError as error:
                refused.append(str(error))
        if refused:
            more = [f"and {len(refused) - _SHOWN:,} more"] if len(refused) > _SHOWN else []
            raise RefusedError("nothing is cut: " + "; ".join([*refused[:_SHOWN], *more]))
        return counts, captures

    def _capture(self, key: str) -> Capture:
        """Return the file of a capture.

        Raises:
            CaptureError: it is gone, or its bytes are not those that were loaded.
        """
        capture, record = capture_at(self.inbox, key), self.ledger.get(key)
        if record is None or record.packets_expired_at is not None:
            raise CaptureError(f"the packets of {key} have expired or were purged meanwhile")
        # Size and time alone would take other bytes for the same, and the same copied back for
        # others.
        if identity.sha256_of(capture) != record.sha256:
            raise CaptureError(
                f"{key} has changed since it was loaded: `mt-pipeline ingest` loads it again"
            )
        return capture

    def _sources(
        self, counts: Mapping[str, int], captures: Mapping[str, Capture]
    ) -> Iterator[cut.Source]:
        for keys in _groups(counts):
            rows = self._rows(keys)
            for key in keys:
                chosen = rows.filter(pc.equal(rows["capture"], key))
                if chosen.num_rows != counts[key]:
                    raise RowsChangedError(f"rows of {key} changed meanwhile: cut once more")
                with self._file(captures[key]) as path:
                    yield cut.Source(key, path, _wanted(chosen), counts[key])

    @contextmanager
    def _file(self, capture: Capture) -> Iterator[Path]:
        """Yield the file of a capture; of an object a copy, one at a time, until the block ends."""
        if isinstance(capture.inbox, Path):
            yield capture.path
            return
        private.folder(self.temporary)
        with (
            TemporaryDirectory(dir=scratch.near(self.temporary), prefix=".cut-") as folder,
            snapshot(capture, Path(folder)) as copy,
        ):
            yield copy.path

    def _rows(self, keys: Sequence[str]) -> pa.Table:
        """Return the packets of some captures."""
        of_captures = Comparison("capture", "in", tuple(keys))
        where = self.question.where
        question = replace(
            self.question, where=of_captures if where is None else All((of_captures, where))
        )
        return pa.Table.from_batches(self.source.rows(question), question.schema)

    def _write(
        self,
        sources: Iterable[cut.Source],
        output: Path,
        described: str,
        captures: Iterable[Capture],
    ) -> Cut:
        with whole(output, new=self.is_new) as partial:
            written = cut.write(
                sources,
                partial,
                application=f"mt_pipeline {__version__}",
                comment=f"packets of {described}",
                limits=self.limits,
                progress=self.progress,
            )
            for capture in captures:
                identity.check_unchanged(capture)
        return Cut(output, written.frames, written.bytes, written.captures, written.link_types)

    @property
    def _described(self) -> str:
        where = "" if self.question.where is None else f" where {self.question.where}"
        return f"{self.question.experiment}{where}"

    def _refuse_existing(self, outputs: Iterable[Path]) -> None:
        for output in outputs:
            if self.is_new and output.exists():
                raise FileExistsError(errno.EEXIST, "it exists", str(output))


def together(cutters: Sequence[Cutter], output: Path) -> Cut:
    """Write the packets of several questions, about different experiments, to one file.

    The first cutter says how. Raises what `Cutter.into` raises.
    """
    first = cutters[0]
    first._refuse_existing([output])
    checked = [(cutter, *cutter._checked()) for cutter in cutters]
    _check_any(cutters, *(counts for _, counts, _ in checked))
    chosen = [(cutter, counts, captures) for cutter, counts, captures in checked if counts]
    sources = (
        source
        for cutter, counts, captures in chosen
        for source in cutter._sources(counts, captures)
    )
    described = "; ".join(cutter._described for cutter, *_ in chosen)
    files = [capture for *_, captures in chosen for capture in captures.values()]
    return first._write(sources, output, described, files)


def _check_any(cutters: Sequence[Cutter], *counts: Mapping[str, int]) -> None:
    if not any(counts):
        names = " and ".join(cutter.question.experiment for cutter in cutters)
        raise NothingToCutError(f"no packet of {names} is chosen")


def _groups(counts: Mapping[str, int]) -> Iterator[Sequence[str]]:
    """Yield captures whose rows fit into memory together."""
    group, rows = list[str](), 0
    for key, count in counts.items():
        if group and (rows + count > _ROWS_AT_ONCE or len(group) == _CAPTURES_AT_ONCE):
            yield group
            group, rows = [], 0
        group.append(key)
        rows += count
    yield group


def _wanted(rows: pa.Table) -> Iterator[Wanted]:
    """Yield the packets of a capture by their numbers."""
    numbers, lengths = (np.asarray(rows[name]) for name in ("frame_number", "frame_len"))
    times = np.asarray(rows["ts"].cast(pa.int64()))
    for place in np.argsort(numbers):
        yield Wanted(int(numbers[place]), int(times[place]), int(lengths[place]))
