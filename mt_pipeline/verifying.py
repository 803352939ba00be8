"""`mt-pipeline verify`: compares files, documents and rows with the ledger, names every difference, and has rows loaded again if asked to."""

from collections.abc import Sequence

from mt_pipeline.captures.identity import experiment_named
from mt_pipeline.captures.records import Record
from mt_pipeline.defs import verification
from mt_pipeline.defs.resources import Pipeline
from mt_pipeline.defs.verification import Difference
from mt_pipeline.errors import CommandError
from mt_pipeline.settings import Settings


class NothingToVerifyError(CommandError):
    """There is no such capture or experiment."""


def verify(settings: Settings, *, key: str | None, experiment: str | None, repair: bool) -> tuple[Sequence[Difference], int]:
    """Compare captures.

    Args:
        settings: all of them.
        key: only this capture.
        experiment: only its captures.
        repair: give captures whose rows are not right back to the next load.

    Returns:
        What differs, and how many captures were given back.

    Raises:
        NothingToVerifyError: there is no such capture.
        Unreachable: QuestDB does not answer.
    """
    pipeline = Pipeline(settings)
    folded = None if experiment is None else experiment_named(experiment)

    def chosen(record: Record) -> bool:
        return key in (None, record.key) and folded in (None, record.experiment)

    if (key or experiment) and not any(map(chosen, pipeline.ledger.records())):
        raise NothingToVerifyError(f"no {'capture ' + key if key else f'experiment {experiment}'}; `mt-pipeline status` lists what there is")
    with pipeline.questdb():
        found = verification.differences(pipeline, chosen)
        return found, verification.load_again(pipeline, found) if repair else 0
