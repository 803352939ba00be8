"""`mt-pipeline verify`: compares files, documents and rows with the ledger, names every difference, and has rows loaded again if asked to."""

from collections.abc import Sequence

from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record
from mt_pipeline.pipeline import verify as verification
from mt_pipeline.pipeline.comparison import Difference
from mt_pipeline.pipeline.verify import Repaired
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings


def verify(
    settings: Settings, *, key: str | None, experiment: str | None, repair: bool, hashed: bool
) -> tuple[Sequence[Difference], Repaired]:
    """Compare captures.

    Args:
        settings: all of them.
        key: only this capture.
        experiment: only its captures.
        hashed: read every file, all documents, and every column of the rows, too.
        repair: give captures whose rows are not right back to the next load.

    Returns:
        What differs, and what became of the captures whose rows are not right.

    Raises:
        UnknownNameError: there is no such capture or experiment.
        Unreachable: QuestDB does not answer.
    """
    workspace = Workspace(settings.options())
    folded = None if experiment is None else fold_experiment(experiment)

    def chosen(record: Record) -> bool:
        return key in (None, record.key) and folded in (None, record.experiment)

    everything = key is None and experiment is None
    if not everything:
        check_known(workspace.ledger.records(), key=key, experiment=experiment)
    with workspace.questdb():
        found = verification.differences(
            workspace, None if everything else chosen, hashed=hashed, thorough=hashed
        )
        return found, verification.load_again(workspace, found) if repair else Repaired()
