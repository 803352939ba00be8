"""Captures and experiments that a command names: whether there are any, and what was meant if there are none."""

from collections.abc import Iterable

from mt_pipeline.captures.identity import experiment_named
from mt_pipeline.captures.records import Record
from mt_pipeline.errors import CommandError
from mt_pipeline.system.nearest import did_you_mean


class UnknownNameError(CommandError):
    """There is no such capture, or no such experiment."""


def check_known(
    records: Iterable[Record], *, key: str | None = None, experiment: str | None = None
) -> None:
    """Make sure that there is a capture of this key, and an experiment of this name; what is None is not asked about.

    Args:
        records: of all captures.
        key: of a capture.
        experiment: its name, as its folder or folded.

    Raises:
        UnknownNameError: there is none; the message suggests the nearest name.
    """
    records = list(records)
    if key is not None:
        _check("capture", key, key, {record.key for record in records})
    if experiment is not None:
        _check(
            "experiment",
            experiment,
            experiment_named(experiment),
            {record.experiment for record in records},
        )


def _check(what: str, name: str, folded: str, known: set[str]) -> None:
    if folded not in known:
        raise UnknownNameError(
            f"no {what} {name}{did_you_mean(folded, known) or ';'} `mt-pipeline status` lists what there is"
        )
