"""Time in even steps, for charts. Times are microseconds since 1970."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

_MOST_STEPS = 120
_MOST_OF_A_STRIP = 60  # there may be twelve
_SECOND, _DAY = 10**6, 86_400 * 10**6
_STEPS = (
    *(number * unit for unit in (10**3, 10**4, 10**5) for number in (1, 2, 5)),
    *(
        seconds * _SECOND
        for seconds in (
            1,
            2,
            5,
            10,
            15,
            30,
            60,
            120,
            300,
            600,
            900,
            1800,
            3600,
            7200,
            10_800,
            21_600,
            43_200,
        )
    ),
    *(
        days * _DAY
        for days in (1, 2, 7, 14, 28, 91, 182, 365, 730, 1825, 3650, 7300, 18_250, 36_500)
    ),
)


@dataclass(frozen=True)
class Span:
    """Steps of equal length, the first at `start`."""

    start: int
    step: int
    steps: int

    @classmethod
    def over(cls, first: int, last: int) -> "Span":
        """Divide the time between two packets into the shortest steps that are not too many."""
        return cls.by(_shortest([(first, last)], _MOST_STEPS), first, last)

    @classmethod
    def by(cls, step: int, first: int, last: int) -> "Span":
        """Divide the time between two packets into steps of this length."""
        return cls(first // step * step, step, last // step - first // step + 1)

    @property
    def edges(self) -> list[int]:
        """Begin of each step, and end of the last."""
        return [self.start + number * self.step for number in range(self.steps + 1)]


@dataclass(frozen=True)
class Timeline:
    """The time of an experiment without gaps: a span for each stretch with packets.

    All steps have the same length.
    """

    spans: tuple[Span, ...]

    @classmethod
    def over(cls, stretches: Sequence[tuple[int, int]]) -> "Timeline":
        """Divide stretches, each between two packets, into steps."""
        step = _shortest(stretches, _MOST_OF_A_STRIP)
        spans = tuple(Span.by(step, first, last) for first, last in stretches)
        if len(spans) == 1 or any(
            after.start < before.edges[-1] for before, after in pairwise(spans)
        ):
            return cls((Span.over(stretches[0][0], stretches[-1][1]),))
        return cls(spans)

    @property
    def step(self) -> int:
        """Length of a step."""
        return self.spans[0].step

    @property
    def steps(self) -> int:
        """Number of steps in all spans."""
        return sum(span.steps for span in self.spans)

    @cached_property
    def starts(self) -> list[int]:
        """Begin of each step."""
        return [start for span in self.spans for start in span.edges[:-1]]

    @cached_property
    def places(self) -> dict[int, int]:
        """Position of each step among all, by its number counted from 1970."""
        return {start // self.step: place for place, start in enumerate(self.starts)}

    @property
    def parts(self) -> list[tuple[Span, slice]]:
        """Each span, and the slice of its steps among all."""
        ends = list(accumulate(span.steps for span in self.spans))
        return [
            (span, slice(end - span.steps, end)) for span, end in zip(self.spans, ends, strict=True)
        ]


def _shortest(stretches: Sequence[tuple[int, int]], most: int) -> int:
    """Choose the shortest step that divides no stretch into too many."""
    return next(
        step
        for step in _STEPS
        if all(last // step - first // step < most for first, last in stretches)
        or step == _STEPS[-1]
    )
