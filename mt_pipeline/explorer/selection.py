"""What a view selects of an experiment: conversations by its filters, flows by its time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.explorer.columns import Flags, Integers, Numbers, summed
from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.frame import Frame
from mt_pipeline.explorer.state import Filter, View


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums by something, an array each.

    Attributes:
        sent: bytes of the local ends.
        received: bytes of the remote ends.
        packets: both ways.
        conversations: with a flow in the selection.
    """

    sent: Numbers
    received: Numbers
    packets: Numbers
    conversations: Numbers

    @property
    def bytes(self) -> Numbers:
        """Bytes both ways."""
        return self.sent + self.received

    def of(self, measure: str) -> Numbers:
        """Return the sums of a measure: bytes, packets and so on."""
        found: Numbers = getattr(self, measure)
        return found

    @classmethod
    def added(cls, parts: Sequence[tuple["Sums", Integers]], size: int) -> "Sums":
        """Add up sums of several experiments.

        Args:
            parts: sums, and the places where each of them belongs.
            size: how many places there are.
        """
        if len(parts) == 1 and len(parts[0][0].sent) == size:
            return parts[0][0]
        total = cls(*(np.zeros(size) for _ in range(4)))
        for sums, places in parts:
            for name, column in vars(total).items():
                column[places] += getattr(sums, name)
        return total


@dataclass(frozen=True, eq=False)
class Selection:
    """Some flows of an experiment: those of some conversations within a stretch of time.

    Attributes:
        frame: the experiment.
        matches: for each conversation whether it matches; None if all do.
        first: place of the first flow.
        last: place after the last one.
    """

    frame: Frame
    matches: Flags | None
    first: int
    last: int

    @property
    def is_of_all_times(self) -> bool:
        """Whether the stretch has all flows."""
        return self.last - self.first == len(self.frame.flows.second)

    @property
    def stretch(self) -> tuple[int | None, int | None]:
        """The first second since 1970 and the one after the last; None where nothing is cut off."""
        second = self.frame.flows.second
        if self.first == self.last:
            return (0, 0)
        since = int(second[self.first]) if self.first else None
        is_end = self.last == len(second) and self.frame.is_whole
        return since, None if is_end else int(second[self.last - 1]) + 1

    @cached_property
    def flags(self) -> Flags | slice:
        """For each flow of the stretch whether it is selected; all of them as a slice."""
        if self.matches is None:
            return slice(None)
        return self.matches[self.of_all]

    @property
    def of_all(self) -> Integers:
        """The conversation of each flow of the stretch, selected or not."""
        return self.frame.flows.conversation[self.first : self.last]

    @cached_property
    def of(self) -> Integers:
        """The conversation of each selected flow."""
        return self.of_all[self.flags]

    def flow(self, name: str) -> Integers:
        """Return a column of the selected flows."""
        column: Integers = getattr(self.frame.flows, name)[self.first : self.last][self.flags]
        return column

    def per_conversation(self, name: str) -> Numbers:
        """Sum up a column of flows by conversation, all conversations."""
        if self.is_of_all_times:
            return self.frame.totals[name]
        weights = getattr(self.frame.flows, name)[self.first : self.last]
        return summed(self.of_all, weights, self.frame.conversations)

    @cached_property
    def conversations(self) -> Integers:
        """Places of the conversations that have a flow here."""
        present = np.full(self.frame.conversations, self.is_of_all_times and self.frame.is_whole)
        if not present.any():
            present[self.of_all] = True
        if self.matches is not None:
            present &= self.matches
        return np.flatnonzero(present)

    @cached_property
    def _sums(self) -> tuple[Numbers, Numbers, Numbers]:
        """Sums of each conversation that has a flow here."""
        ways = ("sent", "received", "packets_sent", "packets_received")
        sent, received, out, back = (self.per_conversation(way) for way in ways)
        return (
            sent[self.conversations],
            received[self.conversations],
            (out + back)[self.conversations],
        )

    def by(self, name: str) -> Sums:
        """Sum up by the codes of a column of conversations."""
        if name not in self._by:
            self._by[name] = self._by_column(name)
        return self._by[name]

    @cached_property
    def _by(self) -> dict[str, Sums]:
        return {}

    def _by_column(self, name: str) -> Sums:
        column, follows = self.frame.columns[name], self.frame.follows.get(name)
        size = len(column.values)
        if follows is None:
            return self.by_codes(column.codes[self.conversations], size)
        other = self.by(follows.name)
        sent, received, packets, conversations = (
            summed(follows.codes, sums, size)
            for sums in (other.sent, other.received, other.packets, other.conversations)
        )
        if self.frame.names is not None:  # a conversation may have several values of the other
            conversations = self._counted(column.codes[self.conversations], size)
        return Sums(sent, received, packets, conversations)

    def by_codes(self, codes: Integers, size: int) -> Sums:
        """Sum up by codes of `conversations`."""
        sent, received, packets = (summed(codes, values, size) for values in self._sums)
        return Sums(sent, received, packets, self._counted(codes, size))

    @cached_property
    def whole(self) -> Sums:
        """The sums of all, in arrays of one."""
        return self.by_codes(np.zeros(len(self.conversations), np.uint8), 1)

    def _counted(self, codes: Integers, size: int) -> Numbers:
        if (names := self.frame.names) is not None:
            keys = codes.astype(np.int64) * (int(names.max()) + 1) + names[self.conversations]
            codes = np.unique(keys) // (int(names.max()) + 1)
        return np.bincount(codes, minlength=size).astype(np.float64)


def select(frame: Frame, view: View) -> Selection:
    """Return what the filters and the stretch of time of a view select of an experiment."""
    second = frame.flows.second
    first = 0 if view.since is None else int(np.searchsorted(second, view.since))
    last = len(second) if view.until is None else int(np.searchsorted(second, view.until))
    return Selection(frame, _matches(frame, view), first, max(first, last))


def _matches(frame: Frame, view: View) -> Flags | None:
    matches: Flags | None = None
    for dimension in dict.fromkeys(each.dimension for each in view.filters):
        column = frame.columns[DIMENSIONS[dimension].column]
        filters = [each for each in view.filters if each.dimension == dimension]
        found = _chosen(column.values, filters)[column.codes]
        matches = found if matches is None else matches & found
    if view.conversation is not None:
        numbers = frame.columns["conversation"]
        equal = pc.equal(numbers.values, view.conversation).fill_null(False)
        found = np.asarray(equal)[numbers.codes]
        matches = found if matches is None else matches & found
    return matches


def _chosen(values: pa.Array, filters: Sequence[Filter]) -> Flags:
    """Return for each value of a dimension whether it stays."""
    wanted = [each.value for each in filters if each.wanted]
    unwanted = [each.value for each in filters if not each.wanted]
    chosen = _among(values, wanted) if wanted else np.ones(len(values), np.bool_)
    return chosen & ~_among(values, unwanted) if unwanted else chosen


def _among(values: pa.Array, texts: Sequence[str | None]) -> Flags:
    named = pa.array([text for text in texts if text is not None], pa.string())
    found: Flags = np.array(pc.is_in(values, value_set=named))
    found[0] = None in texts  # the first is what is not known
    return found
