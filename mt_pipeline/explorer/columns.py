"""An experiment in memory: its conversations and flows as columns of numbers.

What stays the same in all seconds of a conversation is stored once, as codes of its values. So most
questions touch conversations alone, of which there are far fewer than flows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Integers: TypeAlias = npt.NDArray[np.integer]
Numbers: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]

SECOND = 1_000_000
"""Microseconds."""


@dataclass(frozen=True, eq=False)
class Column:
    """A value for each conversation, as a code.

    Attributes:
        codes: places of the values.
        values: each value once; the first one is null, which is what is not known.
    """

    codes: Integers
    values: pa.Array

    @classmethod
    def of(cls, values: pa.Array) -> "Column":
        """Encode values."""
        encoded = values.dictionary_encode()
        codes = np.asarray(encoded.indices.fill_null(-1)) + 1
        return cls(narrow(codes), _with_null(encoded.dictionary))

    @classmethod
    def joined(cls, columns: Sequence["Column"]) -> "Column":
        """Put columns one below the other."""
        values, maps = unified([column.values for column in columns])
        codes = [places[column.codes] for column, places in zip(columns, maps, strict=True)]
        return cls(narrow(np.concatenate(codes)), values)

    def at(self, places: Integers) -> "Column":
        """Return the codes at some places, with all values."""
        return Column(self.codes[places], self.values)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return int(self.codes.nbytes + self.values.nbytes)


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


def summed(places: Integers, weights: Integers | Numbers, size: int) -> Numbers:
    """Add up numbers by their places. Sums are exact up to 2**53."""
    return np.bincount(places, weights.astype(np.float64), size).astype(np.float64, copy=False)


def narrow(numbers: npt.ArrayLike) -> Integers:
    """Return whole numbers that are not negative in as few bytes as their largest needs."""
    array: Integers = np.asarray(numbers)
    return array.astype(np.min_scalar_type(int(array.max())) if array.size else np.uint8)


def unified(values: Sequence[pa.Array]) -> tuple[pa.Array, Sequence[Integers]]:
    """Return the values of several columns, and for each column where its own are among them."""
    if all(each is values[0] for each in values):
        return values[0], [np.arange(len(each)) for each in values]
    encoded = pa.concat_arrays(values).dictionary_encode()
    places = np.asarray(encoded.indices.fill_null(-1)) + 1
    ends = np.cumsum([len(each) for each in values])[:-1]
    return _with_null(encoded.dictionary), np.split(places, ends)


def distinct(columns: Sequence[Column]) -> tuple[Integers, Integers]:
    """Return the first of the rows that are alike in all columns, and which one each row is like.

    Args:
        columns: those first that tell most rows apart.
    """
    of: Integers = columns[0].codes.astype(np.int64)
    _, firsts, of = np.unique(of, return_index=True, return_inverse=True)
    for column in columns[1:]:
        if np.any(column.codes != column.codes[firsts][of]):
            keys = of.astype(np.int64) * len(column.values) + column.codes
            _, firsts, of = np.unique(keys, return_index=True, return_inverse=True)
    return firsts, of


def _with_null(values: pa.Array) -> pa.Array:
    return pa.concat_arrays([pa.nulls(1, values.type), values])
