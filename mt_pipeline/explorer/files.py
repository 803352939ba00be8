"""Files to download: written whole to a private temporary file, which has no name while it is sent.

So what cannot be made is refused before the first byte, memory is bounded, and nothing stays behind
if the browser goes away or this process is killed while it sends.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TypeAlias

import pyarrow as pa

from mt_pipeline.api import cutting, export
from mt_pipeline.api.cutting import Cutter
from mt_pipeline.api.question import Question
from mt_pipeline.api.rows import Rows
from mt_pipeline.api.session import Session
from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.queries import Queries
from mt_pipeline.captures.store import Inbox
from mt_pipeline.errors import CommandError
from mt_pipeline.explorer import chosen
from mt_pipeline.explorer.asked import Seen
from mt_pipeline.explorer.conditions import time_of, where
from mt_pipeline.frames.cut import Progress
from mt_pipeline.schema.tables import FLOWS

FORMATS: Mapping[str, str] = {
    "flows.csv": "text/csv; charset=utf-8",
    "flows.parquet": "application/vnd.apache.parquet",
    "packets.csv": "text/csv; charset=utf-8",
    "packets.parquet": "application/vnd.apache.parquet",
    "packets.pcapng": "application/x-pcapng",
}
"""The files, each with its type."""

Made: TypeAlias = Callable[[Question], Mapping[str, object]]
"""Returns what made the answer to a question, as a JSON object."""


class GivenUp(CommandError):
    """Nobody waits for the file any more."""


@dataclass(frozen=True)
class Files:
    """Makes files of views.

    Attributes:
        session: an open data folder.
        folder: for temporary files; only its owner may enter it.
        made: returns what made the answer to a question.
    """

    session: Session
    folder: Path
    made: Made

    def write(self, name: str, seen: Seen, given_up: threading.Event) -> IO[bytes]:
        """Write a file of a view; return it open, at its beginning, without a name.

        Args:
            name: one of FORMATS.
            seen: the view; of a comparison the first side.
            given_up: once it is set, the work ends.

        Raises:
            GivenUp: it was set.
            CommandError: the file cannot be made; the message says why.
        """

        def progress(*_: object) -> None:
            if given_up.is_set():
                raise GivenUp("nobody waits for the file")

        with TemporaryDirectory(dir=self.folder, prefix=".download-") as folder:
            path = Path(folder, name)
            if name.endswith(".pcapng"):
                self._cut(seen, path, progress)
            else:
                rows, made = self._flows(seen) if name.startswith("flows") else self._packets(seen)
                export.write(rows, path, made, progress=progress)
            return path.open("rb")

    def check(self, seen: Seen) -> Mapping[str, object]:
        """Return what a pcapng of a view would hold, and what prevents it.

        Captures are told by their size and time here; when they are cut, by their content.
        """
        counts: dict[str, int] = {}
        for part in chosen.packets(self.session, seen, cutting.COLUMNS):
            counts |= part.counts
        problems = (_problem(self.session.inbox, self.session.ledger, key) for key in counts)
        problem = next((each for each in problems if each), None)
        if not counts:
            problem = "no packet is in view: take a filter off"
        return {"packets": sum(counts.values()), "captures": len(counts), "problem": problem}

    def _cut(self, seen: Seen, path: Path, progress: Progress) -> None:
        session = self.session
        cutters = [
            Cutter(
                part.source,
                part.question,
                session.ledger,
                session.inbox,
                session.limits,
                progress,
                is_new=True,
                temporary=self.folder,
            )
            for part in chosen.packets(session, seen, cutting.COLUMNS)
        ]
        cutting.together(cutters, path)

    def _flows(self, seen: Seen) -> tuple[Rows, Mapping[str, object]]:
        condition = where(seen.view)
        stretches = [selection.stretch for selection in seen.side.selections]
        questions = [
            self.session.question(
                FLOWS, held.experiment, where=condition, since=time_of(since), until=time_of(until)
            )
            for held, (since, until) in zip(seen.side.held, stretches, strict=True)
        ]
        return _joined([self.session.rows(each) for each in questions]), self._made(questions)

    def _packets(self, seen: Seen) -> tuple[Rows, Mapping[str, object]]:
        parts = chosen.packets(self.session, seen)
        rows = [_rows(part) for part in parts]
        return _joined(rows), self._made([part.question for part in parts])

    def _made(self, questions: Sequence[Question]) -> Mapping[str, object]:
        made = [self.made(question) for question in questions]
        return made[0] if len(made) == 1 else {"experiments": made}


def _rows(part: chosen.Packets) -> Rows:
    return Rows(part.question.schema, lambda: part.source.rows(part.question))


def _joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several experiments, one after the other."""

    def batches() -> Iterator[pa.RecordBatch]:
        return chain.from_iterable(part.batches() for part in parts)

    return Rows(parts[0].schema, batches)


def _problem(inbox: Inbox, ledger: Queries, key: str) -> str | None:
    record = ledger.get(key)
    if record is None or record.packets_expired_at is not None:
        return f"the packets of {key} have expired or were purged meanwhile"
    try:
        capture = capture_at(inbox, key)
    except CaptureError as error:
        return str(error)
    if capture.size != record.size:
        return f"{key} has changed since it was loaded: `mt-pipeline ingest` loads it again"
    return None
