"""The packets of a view: those of its conversations, within its stretch of time.

Flows are filtered, and packets are those of the flows that are left. Packets have the same capture
and number of the conversation as their flows, and lie in the same second.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from mt_pipeline.api.question import Question, Source
from mt_pipeline.api.session import Session
from mt_pipeline.api.where import AnyOf, Where, col
from mt_pipeline.explorer.asked import Seen
from mt_pipeline.explorer.columns import Flags, Integers
from mt_pipeline.explorer.conditions import time_of
from mt_pipeline.explorer.selection import Selection
from mt_pipeline.schema.tables import PACKETS

_FEW = 2_000
"""Conversations that are named in a condition. Of more, all packets are read and chosen here."""

_KEY = ("capture", "conversation")

Numbers = Mapping[str, Integers]
"""Numbers of conversations, sorted, by capture."""


@dataclass(frozen=True)
class Packets:
    """The packets of one experiment that a view selects.

    Attributes:
        source: what answers the question.
        question: about them.
        counts: how many there are, by capture.
    """

    source: "Chosen"
    question: Question
    counts: Mapping[str, int]


def packets(session: Session, seen: Seen, columns: tuple[str, ...] | None = None) -> list[Packets]:
    """Return the packets of a view, by experiment; of a comparison those of the first side.

    Raises:
        ExpiredError: those of an experiment were deleted.
    """
    return [
        _of(session, held.experiment, selection, columns)
        for held, selection in zip(seen.side.held, seen.side.selections, strict=True)
    ]


def _of(
    session: Session, experiment: str, selection: Selection, columns: tuple[str, ...] | None
) -> Packets:
    numbers = None if selection.matches is None else _numbers(selection)
    few = None
    if numbers is not None and sum(map(len, numbers.values())) <= _FEW:
        few, numbers = _among(numbers), None
    since, until = selection.stretch
    question = session.question(
        PACKETS,
        experiment,
        where=few,
        since=time_of(since),
        until=time_of(until),
        columns=columns,
    )
    source = Chosen(session.source(question.experiment), numbers, _counts(selection))
    return Packets(source, question, source.packets)


@dataclass(frozen=True)
class Chosen:
    """A source whose packets are only those of some conversations.

    Attributes:
        source: what has all packets.
        numbers: of the conversations; None for all that the question is about.
        packets: how many packets they have, by capture: their flows say it.
    """

    source: Source
    numbers: Numbers | None
    packets: Mapping[str, int]

    def rows(self, question: Question) -> Iterator[pa.RecordBatch]:
        """Yield the rows that are chosen."""
        if self.numbers is None:
            yield from self.source.rows(question)
            return
        asked = replace(question, columns=tuple(dict.fromkeys((*question.columns, *_KEY))))
        for batch in self.source.rows(asked):
            chosen = batch.filter(pa.array(_is_among(batch, self.numbers)))
            if chosen.num_rows:
                yield chosen.select(question.columns)

    def counts(self, question: Question) -> Mapping[str, int]:
        """Return how many packets the conversations have."""
        return self.packets


def _is_among(batch: pa.RecordBatch, numbers: Numbers) -> Flags:
    captures = batch["capture"].dictionary_encode()
    codes = np.asarray(captures.indices)
    conversation = np.asarray(batch["conversation"].fill_null(-1))
    found = np.zeros(batch.num_rows, np.bool_)
    for code, key in enumerate(captures.dictionary.to_pylist()):
        if key in numbers:
            of_capture = codes == code
            found[of_capture] = np.isin(conversation[of_capture], numbers[key])
    return found


def _numbers(selection: Selection) -> Numbers:
    """Return the numbers of the selected conversations, by capture."""
    capture, conversation = (selection.frame.columns[name] for name in _KEY)
    here = selection.conversations
    numbers = np.asarray(conversation.values.fill_null(-1))[conversation.codes[here]]
    codes = capture.codes[here]
    return {
        capture.values[int(code)].as_py(): np.unique(numbers[codes == code])
        for code in np.unique(codes)
    }


def _counts(selection: Selection) -> Mapping[str, int]:
    capture = selection.frame.columns["capture"]
    sums = selection.by("capture")
    return {
        capture.values[int(code)].as_py(): int(sums.packets[code])
        for code in np.flatnonzero(sums.packets)
    }


def _among(numbers: Numbers) -> Where:
    return AnyOf(
        tuple(
            (col("capture") == key) & col("conversation").isin(found.tolist())
            for key, found in numbers.items()
        )
    )
