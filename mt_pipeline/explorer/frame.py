"""An experiment in memory: its conversations and flows as columns of numbers.

What stays the same in all seconds of a conversation is stored once, as codes of its values. So most
questions touch conversations alone, of which there are far fewer than flows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mt_pipeline.explorer.columns import SECOND, Column, Integers, Numbers, narrow, summed
from mt_pipeline.explorer.following import Follows, following


@dataclass(frozen=True, eq=False)
class Flows:
    """What each conversation sent within each second, in the order of time.

    Attributes:
        second: seconds since 1970.
        conversation: place of the conversation.
        begin: microseconds from the second to the first packet.
        end: and to the last one.
        sent: bytes of the local end.
        received: bytes of the remote end.
        packets_sent: packets of the local end.
        packets_received: packets of the remote end.
    """

    second: Integers
    conversation: Integers
    begin: Integers
    end: Integers
    sent: Integers
    received: Integers
    packets_sent: Integers
    packets_received: Integers

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(column.nbytes for column in vars(self).values())

    def without_last_second(self) -> "Flows":
        """Return those of all seconds but the last, of which some may be missing."""
        end = int(np.searchsorted(self.second, self.second[-1])) if len(self.second) else 0
        return Flows(**{name: column[:end] for name, column in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Frame:
    """An experiment, or the beginning of it.

    Attributes:
        columns: of conversations, by their names in `flows_<experiment>`.
        flows: their flows.
        is_whole: all flows are there, not only those of the first seconds.
    """

    columns: Mapping[str, Column]
    flows: Flows
    is_whole: bool = True

    @property
    def nbytes(self) -> int:
        """Bytes in memory, with what is derived later."""
        derived = 5 * 8 * self.conversations
        return self.flows.nbytes + derived + sum(each.nbytes for each in self.columns.values())

    @property
    def conversations(self) -> int:
        """How many rows the columns have."""
        return len(self.columns["capture"].codes)

    @cached_property
    def names(self) -> Integers | None:
        """A number for each conversation by which it is counted; None if each row is another.

        A conversation has several rows if something that is said of it changed on the way.
        """
        capture, number = self.columns["capture"], self.columns["conversation"]
        keys = capture.codes.astype(np.int64) * len(number.values) + number.codes
        distinct, places = np.unique(keys, return_inverse=True)
        return None if len(distinct) == len(keys) else narrow(places)

    @cached_property
    def totals(self) -> Mapping[str, Numbers]:
        """The sums of each conversation, of all of its flows."""
        ways = ("sent", "received", "packets_sent", "packets_received")
        of, count = self.flows.conversation, self.conversations
        return {way: summed(of, getattr(self.flows, way), count) for way in ways}

    @cached_property
    def follows(self) -> Mapping[str, Follows]:
        """From which column each follows, if it follows from one."""
        return following(self.columns)

    @cached_property
    def span(self) -> tuple[int, int] | None:
        """The first and the last moment in microseconds since 1970; None without a flow."""
        flows = self.flows
        if not len(flows.second):
            return None
        # Seconds ascend: only those of the first and of the last one matter.
        first = flows.begin[: int(np.searchsorted(flows.second, flows.second[0], "right"))]
        last = flows.end[int(np.searchsorted(flows.second, flows.second[-1])) :]
        return (
            int(flows.second[0]) * SECOND + int(first.min()),
            int(flows.second[-1]) * SECOND + int(last.max()),
        )

    @cached_property
    def extents(self) -> tuple[Integers, Integers]:
        """The first and the last second of each capture, by its code; 0 and -1 without a flow."""
        capture, second = self.columns["capture"], self.flows.second
        codes = capture.codes[self.flows.conversation]
        first = np.zeros(len(capture.values), np.int64)
        last = np.full(len(capture.values), -1, np.int64)
        # Of several values for a place the one that is assigned last stays.
        first[codes[::-1]] = second[::-1]
        last[codes] = second
        return first, last

    @cached_property
    def previous(self) -> Integers:
        """For each flow the place of the one before it of the same conversation; -1 for none."""
        of = self.flows.conversation
        order = np.argsort(of, kind="stable")
        previous = np.full(len(of), -1, np.int64)
        follows = of[order[1:]] == of[order[:-1]]
        previous[order[1:][follows]] = order[:-1][follows]
        return previous
