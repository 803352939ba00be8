"""The totals of a view, and the time that it covers."""

import numpy as np

from mt_pipeline.explorer.asked import Seen, Side
from mt_pipeline.explorer.columns import SECOND
from mt_pipeline.explorer.selection import Selection


def totals(seen: Seen) -> dict[str, object]:
    """Return the totals of the view; with a comparison those of the other side, too."""
    counts = {name: seen.values(name) for name in ("remote", "country")}
    sums = {name: values.sums(seen.sides) for name, values in counts.items()}
    found = []
    for place, side in enumerate(seen.sides):
        distinct = {
            key: int((sums[name][place].conversations[1:] > 0).sum())
            for key, name in (("remotes", "remote"), ("countries", "country"))
        }
        found.append({**_sums(side), **distinct, "seconds": _seconds(side)})
    return {"totals": found[0], **({"vs_totals": found[1]} if seen.vs else {})}


def span(seen: Seen) -> dict[str, object]:
    """Return the first and the last moment of the experiments, whatever the filters."""
    spans = [span for held in seen.side.held if (span := held.frame.span)]
    if not spans:
        return {"first": None, "last": None, "seconds": 0}
    first, last = min(first for first, _ in spans), max(last for _, last in spans)
    return {"first": first, "last": last, "seconds": (last - first) / SECOND}


def _sums(side: Side) -> dict[str, object]:
    whole = [selection.whole for selection in side.selections]
    names = ("bytes", "sent", "received", "packets", "conversations")
    return {name: sum(int(sums.of(name)[0]) for sums in whole) for name in names}


def _seconds(side: Side) -> float:
    """Return the seconds from the first to the last packet."""
    moments = [ends for selection in side.selections if (ends := _ends(selection))]
    if not moments:
        return 0.0
    return (max(last for _, last in moments) - min(first for first, _ in moments)) / SECOND


def _ends(selection: Selection) -> tuple[int, int] | None:
    second = selection.flow("second")
    if not len(second):
        return None
    # Seconds ascend: only those of the first and of the last one matter.
    starts = selection.flow("begin")[: int(np.searchsorted(second, second[0], "right"))]
    ends = selection.flow("end")[int(np.searchsorted(second, second[-1])) :]
    return (
        int(second[0]) * SECOND + int(starts.min()),
        int(second[-1]) * SECOND + int(ends.max()),
    )
