"""`mt-pipeline status`: what became of the captures that are meant, a line each, and of all of them together; it asks the ledger alone."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from mt_pipeline.captures.duplicates import copies
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record, State


def chosen(
    records: Sequence[Record],
    *,
    experiment: str | None,
    states: Collection[State],
) -> list[Record]:
    """Choose the captures of an experiment that are in one of some states.

    Args:
        records: of all captures.
        experiment: its name, as its folder or folded; None for all.
        states: any if there are none.

    Raises:
        UnknownNameError: there is no such experiment.
    """
    check_known(records, experiment=experiment)
    folded = experiment and fold_experiment(experiment)
    named = [record for record in records if folded in (None, record.experiment)]
    return [record for record in named if not states or record.state in states]


def lines(ledger: Ledger, records: Sequence[Record], shown: Sequence[Record]) -> Iterator[str]:
    """Say what became of captures, a line each, then of these together.

    Args:
        ledger: knows how fast all of it goes.
        records: of all captures.
        shown: those that are meant.
    """
    first = copies(records)
    experiments = max((len(record.experiment) for record in shown), default=0)
    keys = max((len(record.key) for record in shown), default=0)
    for record in shown:
        what = f"{record.state:<8} {record.experiment:<{experiments}} {record.key:<{keys}}"
        yield f"{what}{_of_load(record, first.get(record.key))}{_error(record)}".rstrip()
    pace = ledger.progress().pace if len(shown) == len(records) else []
    yield f"{_count(shown, records)}: {', '.join([*_states(shown), *pace])}".removesuffix(": ")


def _of_load(record: Record, copy_of: str | None) -> str:
    numbers = (
        [] if record.rows is None else [f"{record.packets:,} packets", f"{record.rows:,} rows"]
    )
    expired = [] if record.packets_expired_at is None else ["expired: only flows are left"]
    copy = [f"the same bytes as {copy_of}"] if copy_of else []
    said = [*numbers, *record.remarks, *expired, *copy]
    return f"  {', '.join(said)}" if said else ""


def _error(record: Record) -> str:
    return f"  {record.error}" if record.error else ""


def _count(shown: Sequence[Record], records: Sequence[Record]) -> str:
    of = f" of {len(records):,}" if len(shown) < len(records) else ""
    return f"{len(shown):,}{of} captures"


def _states(shown: Sequence[Record]) -> Iterator[str]:
    number = Counter(record.state for record in shown)
    cut = sum(record.cut for record in shown if record.state is State.DONE)
    for state in State:
        if number[state]:
            short = f" ({cut:,} of them cut)" if cut and state is State.DONE else ""
            yield f"{number[state]:,} {state}{short}"
