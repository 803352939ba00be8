"""`mt-pipeline verify`: which captures, and its lines. The work is `pipeline/verify.py`."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mt_pipeline import settings
from mt_pipeline.cli.exit_codes import FAILED
from mt_pipeline.cli.parameters import not_empty

if TYPE_CHECKING:
    from mt_pipeline.captures.records import Record
    from mt_pipeline.pipeline.comparison import Difference
    from mt_pipeline.pipeline.verify import Repaired


@click.command()
@click.option(
    "--capture",
    "key",
    callback=not_empty,
    metavar="KEY",
    help="One capture: its path below the inbox.",
)
@click.option(
    "--name", callback=not_empty, metavar="EXPERIMENT", help="All captures of an experiment."
)
@click.option(
    "--repair",
    is_flag=True,
    help="Load captures with wrong rows again: "
    "the service does it, or the next ingest of the inbox.",
)
@click.option(
    "--hash",
    "hashed",
    is_flag=True,
    help="Also read every file in the inbox, all documents and every column: "
    "this takes longer, but finds other bytes of the same size.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def verify(key: str | None, name: str | None, *, repair: bool, hashed: bool, as_json: bool) -> None:
    """Find files and rows that are not as they should be.

    It compares files, documents and rows with the ledger, and names every difference.
    """
    if key is not None and name is not None:
        raise click.UsageError("use --capture or --name, not both")
    differences, repaired = _compare(key=key, experiment=name, repair=repair, hashed=hashed)
    if as_json:
        listed = [
            {"key": difference.key, "what": difference.what, "rows": difference.rows}
            for difference in differences
        ]
        click.echo(json.dumps(listed, indent=2))
    else:
        for difference in differences:
            click.echo(str(difference))
        click.echo(_summary(differences, repaired if repair else None))
    if differences:
        sys.exit(FAILED)


def _compare(
    *, key: str | None, experiment: str | None, repair: bool, hashed: bool
) -> "tuple[Sequence[Difference], Repaired]":
    """Compare a capture, an experiment or everything with the ledger.

    Raises:
        UnknownNameError: there is no such capture or experiment.
        Unreachable: QuestDB does not answer.
    """
    from mt_pipeline.captures.lookup import check_known
    from mt_pipeline.captures.naming import fold_experiment
    from mt_pipeline.pipeline.verify import Repaired, differences, load_again
    from mt_pipeline.pipeline.workspace import Workspace

    workspace = Workspace(settings.load().options())
    folded = None if experiment is None else fold_experiment(experiment)

    def selected(record: "Record") -> bool:
        return key in (None, record.key) and folded in (None, record.experiment)

    everything = key is None and experiment is None
    if not everything:
        check_known(workspace.ledger.records(), key=key, experiment=experiment)
    with workspace.questdb():
        different = differences(
            workspace, None if everything else selected, hashed=hashed, thorough=hashed
        )
        return different, load_again(workspace, different) if repair else Repaired()


def _summary(differences: "Sequence[Difference]", repaired: "Repaired | None") -> str:
    from mt_pipeline.pipeline.verify import count_text

    parts = [count_text(differences)]
    if repaired:
        captures = "capture is" if repaired.again == 1 else "captures are"
        parts.append(f"{repaired.again:,} {captures} loaded again")
        if repaired.busy:
            parts.append(f"left, as somebody works on them: {repaired.busy:,}")
    return "; ".join(parts)
