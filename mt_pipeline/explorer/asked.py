"""A view with its experiments: what it selects of each, and what it is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from mt_pipeline.explorer import axis
from mt_pipeline.explorer.columns import Column, Integers, unified
from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.errors import AskedWrongError
from mt_pipeline.explorer.selection import Selection, Sums, select
from mt_pipeline.explorer.state import View
from mt_pipeline.explorer.store import Held, Store


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a view: experiments that are seen together, in one stretch of time.

    Attributes:
        held: the experiments.
        selections: what is selected of each.
        axis: how times of the timeline are counted.
    """

    held: Sequence[Held]
    selections: Sequence[Selection]
    axis: axis.Axis


@dataclass(frozen=True, eq=False)
class Seen:
    """A view with its experiments.

    Attributes:
        view: its state.
        side: what is seen.
        vs: what it is compared with; None if it is not.
    """

    view: View
    side: Side
    vs: Side | None

    @property
    def sides(self) -> Sequence[Side]:
        """One side, or two."""
        return [self.side] if self.vs is None else [self.side, self.vs]

    @property
    def version(self) -> str:
        """A text that changes when any of the experiments does."""
        return "-".join(held.version for side in self.sides for held in side.held)

    @property
    def partial(self) -> str | None:
        """What is missing, as a sentence; None if nothing is."""
        parts = [held for side in self.sides for held in side.held if not held.frame.is_whole]
        if not parts:
            return None
        ends = ", ".join(f"{held.experiment} until {_until(held)}" for held in parts)
        return f"Only a part is in view, as memory is used up: {ends}. Raise MT_EXPLORER_MEMORY_MB."

    def values(self, dimension: str) -> "Values":
        """Return the values that a dimension has on both sides."""
        return Values.of(self.sides, DIMENSIONS[dimension].column)


@dataclass(frozen=True, eq=False)
class Values:
    """The values of a dimension, of several experiments.

    Attributes:
        name: of their column.
        values: each once; the first is null, what is not known.
        places: of each side for each of its experiments, where its own values are among them.
        columns: the columns of these experiments.
    """

    name: str
    values: pa.Array
    places: Sequence[Sequence[Integers]]
    columns: Sequence[Sequence[Column]]

    @classmethod
    def of(cls, sides: Sequence[Side], name: str) -> "Values":
        """Collect them."""
        columns = [[each.frame.columns[name] for each in side.selections] for side in sides]
        values, places = unified([column.values for side in columns for column in side])
        first = len(columns[0])
        return cls(name, values, [places[:first], places[first:]][: len(sides)], columns)

    def sums(self, sides: Sequence[Side]) -> Sequence[Sums]:
        """Sum up sides by these values: all of them, or the first one."""
        return [
            Sums.added(
                [
                    (selection.by(self.name), places)
                    for selection, places in zip(side.selections, all_places, strict=True)
                ],
                len(self.values),
            )
            for side, all_places in zip(sides, self.places, strict=False)
        ]


def see(store: Store, view: View) -> Seen:
    """Return a view with its experiments.

    Raises:
        AskedWrongError: it names no experiment.
        UnknownNameError: it names one that is not there.
        BackendError: one cannot be read.
    """
    held = [store.get(name) for name in experiments_of(view)]
    if not view.compares:
        return Seen(view, _side(held, view, view.axis), None)
    other = held if view.vs is None else [store.get(view.vs)]
    stretch = replace(view, since=view.vs_since, until=view.vs_until)
    sides = [_side(held, view, view.axis), _side(other, stretch, view.axis)]
    first, second = (_within(side, view) for side in sides)
    return Seen(view, first, second)


def experiments_of(view: View) -> Sequence[str]:
    """Return the experiments of a view, without the one that it is compared with.

    Raises:
        AskedWrongError: there is none.
    """
    if not view.experiments:
        raise AskedWrongError("the address needs e=, the name of an experiment")
    return view.experiments


def _side(held: Sequence[Held], view: View, wanted: str | None) -> Side:
    selections = [select(each.frame, view) for each in held]
    kind = axis.choose(selections, wanted)
    return Side(held, selections, axis.of(selections, kind, from_zero=view.compares))


def _within(side: Side, view: View) -> Side:
    """Return a side between two times after its start."""
    if view.from_s is None and view.to_s is None:
        return side
    selections = [
        side.axis.within(place, selection, view.from_s, view.to_s)
        for place, selection in enumerate(side.selections)
    ]
    return replace(side, selections=selections)


def _until(held: Held) -> str:
    last = int(np.max(held.frame.flows.second, initial=0))
    return f"{datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M:%S} UTC"
