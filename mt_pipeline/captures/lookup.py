"""Whether the captures and experiments that a command names exist, and the nearest names."""

from collections.abc import Iterable

from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record
from mt_pipeline.errors import CommandError
from mt_pipeline.system.nearest import did_you_mean


class UnknownNameError(CommandError):
    """There is no such capture, or no such experiment."""


def check_known(
    records: Iterable[Record], *, key: str | None = None, experiment: str | None = None
) -> None:
    """Check that a capture of this key and an experiment of this name exist.

    Args:
        records: of all captures.
        key: of a capture; None is not checked.
        experiment: its name, as its folder or folded; None is not checked.

    Raises:
        UnknownNameError: it does not exist; the message suggests the nearest name.
    """
    records = list(records)
    if key is not None:
        _check("capture", key, key, {record.key for record in records})
    if experiment is not None:
        experiments = {record.experiment for record in records}
        _check("experiment", experiment, fold_experiment(experiment), experiments)


def _check(kind: str, name: str, folded: str, known: set[str]) -> None:
    if folded not in known:
        suggestion = did_you_mean(folded, known) or ";"
        raise UnknownNameError(
            f"no {kind} {name}{suggestion} `mt-pipeline status` lists what there is"
        )
