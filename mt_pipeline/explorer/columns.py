"""Columns of conversations as codes of their values, and sums by such codes."""

from collections.abc import Sequence
from dataclasses import dataclass
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


def summed(places: Integers, weights: Integers | Numbers, size: int) -> Numbers:
    """Add up numbers by their places. Sums are exact up to 2**53."""
    numbers = weights.astype(np.float64, copy=False)
    return np.bincount(places, numbers, size).astype(np.float64, copy=False)


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
