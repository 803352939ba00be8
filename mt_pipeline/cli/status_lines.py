"""The lines of `mt-pipeline status`: one per capture, and one for all of them."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from mt_pipeline.captures.duplicates import copies
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record, State

_WIDEST_KEY = 60
"""Characters up to which what follows the keys stands below each other."""


def select(
    records: Sequence[Record],
    *,
    experiment: str | None,
    states: Collection[State],
) -> list[Record]:
    """Return the captures of an experiment that are in one of some states.

    Args:
        records: all captures.
        experiment: its name, as its folder or folded; None for all.
        states: empty for all.

    Raises:
        UnknownNameError: there is no such experiment.
    """
    check_known(records, experiment=experiment)
    folded = experiment and fold_experiment(experiment)
    named = [record for record in records if folded in (None, record.experiment)]
    return [record for record in named if not states or record.state in states]


def lines(ledger: Ledger, records: Sequence[Record], selected: Sequence[Record]) -> Iterator[str]:
    """Yield a line per capture, then one with their numbers.

    Args:
        ledger: has the pace of all captures.
        records: all captures.
        selected: the captures to list.
    """
    originals = copies(records)
    experiments = max((len(record.experiment) for record in selected), default=0)
    # One long key must not make all lines as long.
    keys = min(max((len(record.key) for record in selected), default=0), _WIDEST_KEY)
    for record in selected:
        name = f"{record.state:<8} {record.experiment:<{experiments}} {record.key:<{keys}}"
        yield f"{name}{_details(record, originals.get(record.key))}{_error(record)}".rstrip()
    pace = ledger.progress().pace if len(selected) == len(records) else []
    numbers = ", ".join([*_states(selected), *pace])
    yield f"{_count(selected, records)}: {numbers}".removesuffix(": ")


def _details(record: Record, copy_of: str | None) -> str:
    details = [] if record.rows is None else _counts(record)
    details += record.remarks
    if record.packets_expired_at is not None:
        details.append("expired: only flows are left")
    if copy_of:
        details.append(f"the same bytes as {copy_of}")
    return f"  {', '.join(details)}" if details else ""


def _counts(record: Record) -> list[str]:
    return [f"{record.packets:,} packets", f"{record.rows:,} rows"]


def _error(record: Record) -> str:
    return f"  {record.error}" if record.error else ""


def _count(selected: Sequence[Record], records: Sequence[Record]) -> str:
    total = f" of {len(records):,}" if len(selected) < len(records) else ""
    return f"{len(selected):,}{total} captures"


def _states(selected: Sequence[Record]) -> Iterator[str]:
    counts = Counter(record.state for record in selected)
    cut = sum(record.cut for record in selected if record.state is State.DONE)
    for state in State:
        if counts[state]:
            note = f" ({cut:,} of them cut)" if cut and state is State.DONE else ""
            yield f"{counts[state]:,} {state}{note}"
