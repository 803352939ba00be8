"""What became of the captures of experiments: those that are not in view, and why."""

from collections.abc import Mapping

from mt_pipeline.api.session import Session
from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import NO_FILE, Record, State
from mt_pipeline.explorer.asked import experiments_of
from mt_pipeline.explorer.state import View

_MOST = 500
_ORDER = (State.REFUSED, State.FAILED, State.RUNNING, State.WAITING, State.DONE)
"""Those whose packets are missing come first. What was purged is gone for good."""


def captures(session: Session, view: View) -> Mapping[str, object]:
    """Return how many captures the experiments of a view have by state, and the first ones.

    Raises:
        AskedWrongError: it names no experiment.
        UnknownNameError: it names one that is not there.
    """
    names = (*experiments_of(view), *([] if view.vs is None else [view.vs]))
    records: list[Record] = []
    for name in dict.fromkeys(map(fold_experiment, names)):
        known = session.ledger.records(experiment=name)
        if not known:
            check_known(session.ledger.records(), experiment=name)
        records += (record for record in known if record.state in _ORDER)
    records.sort(key=lambda record: (_ORDER.index(record.state), record.key))
    return {
        "states": {
            str(state): count
            for state in _ORDER
            if (count := sum(record.state is state for record in records))
        },
        "rows": [_row(record) for record in records[:_MOST]],
    }


def _row(record: Record) -> Mapping[str, object]:
    return {
        "experiment": record.experiment,
        "capture": record.key,
        "state": str(record.state),
        "reason": record.error,
        "remarks": record.remarks,
        "packets": record.packets,
        "bytes": None if record.size == NO_FILE else record.size,
        "changed": record.changed_at,
        "expired": record.packets_expired_at is not None,
    }
