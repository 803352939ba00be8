"""What was checked in a run, told in one evaluation per check when the run ends. What is checked says `checks.py`.

A check has one state per asset, not one per capture, so only the last evaluation of a run is ever seen; and each costs as much as a materialisation.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import dagster as dg

from mt_pipeline.defs.events import Context

_MOST_SAID = 10
"""Captures that are named with what is wrong with them; the run's log and `mt-pipeline status` have all."""


class Checked:
    """Collects the evaluations of the captures of a run."""

    def __init__(self) -> None:
        """Begin with nothing checked."""
        self._evaluations: dict[tuple[dg.AssetKey, str], list[dg.AssetCheckEvaluation]] = {}

    def add(self, *evaluations: dg.AssetCheckEvaluation) -> None:
        """Take in what was checked of a capture."""
        for one in evaluations:
            self._evaluations.setdefault((one.asset_key, one.check_name or ""), []).append(one)

    @classmethod
    @contextmanager
    def told(cls, context: Context) -> Iterator[Self]:
        """Give one that tells what was checked when the block ends, however it does."""
        checked = cls()
        try:
            yield checked
        finally:
            for evaluations in checked._evaluations.values():
                context.log_event(_summed_up(evaluations))  # type: ignore[arg-type]  # that of an op takes checks too, its annotation forgot them


def _summed_up(evaluations: Sequence[dg.AssetCheckEvaluation]) -> dg.AssetCheckEvaluation:
    """Make one evaluation of those of several captures: it passes if all do, and its numbers are sums."""
    if len(evaluations) == 1:
        return evaluations[0]
    wrong = [one for one in evaluations if not one.passed]
    numbers = Counter[str]()
    for one in evaluations:
        numbers.update({name: number.value for name, number in one.metadata.items() if isinstance(number, dg.IntMetadataValue)})
    if wrong:
        more = f"\n… and {len(wrong) - _MOST_SAID:,} more" if len(wrong) > _MOST_SAID else ""
        said = f"{len(wrong):,} of {len(evaluations):,} captures:\n" + "\n".join(one.description or "" for one in wrong[:_MOST_SAID]) + more
    else:
        said = f"all {len(evaluations):,} captures, the last of them {evaluations[-1].description}"
    last = evaluations[-1]
    metadata = {"captures": len(evaluations), "failed": len(wrong), **numbers}
    return dg.AssetCheckEvaluation(last.asset_key, last.check_name, not wrong, metadata, severity=last.severity, description=said)
