"""A stretch of time cut into even steps: what a chart over time is made of. Times are microseconds since 1970."""

from dataclasses import dataclass

_MOST_STEPS = 120
_SECOND, _DAY = 10**6, 86_400 * 10**6
_STEPS = (
    *(number * unit for unit in (10**3, 10**4, 10**5) for number in (1, 2, 5)),
    *(seconds * _SECOND for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)),
    *(days * _DAY for days in (1, 2, 7, 14, 28, 91, 182, 365, 730, 1825, 3650, 7300, 18_250, 36_500)),
)


@dataclass(frozen=True)
class Span:
    """Even steps from `start` on."""

    start: int
    step: int
    steps: int

    @classmethod
    def over(cls, first: int, last: int) -> "Span":
        """Cut the time from one packet to another into steps as people would: the shortest that are not too many."""
        step = next(step for step in _STEPS if last // step - first // step < _MOST_STEPS or step == _STEPS[-1])
        return cls(first // step * step, step, last // step - first // step + 1)

    @property
    def edges(self) -> list[int]:
        """Where steps begin, and where the last one ends."""
        return [self.start + number * self.step for number in range(self.steps + 1)]
