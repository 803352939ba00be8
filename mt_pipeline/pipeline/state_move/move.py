"""Moves a state: what is in the way, then each part, then whether it arrived."""

from collections.abc import Iterator
from contextlib import ExitStack

from mt_pipeline.pipeline.state_move import database, folder
from mt_pipeline.pipeline.state_move.parts import (
    BATCH,
    MoveError,
    Part,
    Place,
    Progress,
    Row,
    Sum,
    sum_of,
)
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.state.postgres import Postgres


def move(workspace: Workspace, target: Postgres | None, *, progress: Progress) -> dict[Part, int]:
    """Move the state to another place, which has none yet, or the same already.

    The place where it is stays as it is. Postgres gets all of it or nothing. A folder gets each
    part whole or not at all: after a kill the same move goes on with the parts that are missing.

    Args:
        workspace: the data folder. Its settings say where the state is.
        target: a Postgres, if the state is in the folder; None to move it back there.
        progress: receives how far it is.

    Returns:
        The rows of each part.

    Raises:
        MoveError: somebody is at work, there is nothing to move, or the place has another state.
        StateError, LedgerError, StoreError: a place cannot be used.
    """
    state, data = workspace.options.state, workspace.options.data_dir
    if state and target:
        raise MoveError(
            f"MT_STATE_URL says that the state is in {state} already: "
            f"take it out to move that of {data}"
        )
    postgres = state or target
    if postgres is None:
        raise MoveError(
            f"the state is in {data} already: to move it there, "
            "set MT_STATE_URL to the Postgres that has it"
        )
    with ExitStack() as stack:
        files = stack.enter_context(folder.opened(workspace, creates=target is None))
        tables = stack.enter_context(database.opened(postgres))
        return _moved(files, tables, progress) if target else _moved(tables, files, progress)


def _moved(source: Place, target: Place, progress: Progress) -> dict[Part, int]:
    there = {part: sum_of(target.rows(part)) for part in Part}
    for part, found in there.items():
        if found.count and found != sum_of(source.rows(part)):
            raise MoveError(
                f"{target} has {part} of another state, so nothing is moved: {target.cure}"
            )
    counts = {
        part: found.count or _filled(source, target, part, progress)
        for part, found in there.items()
    }
    if not any(counts.values()):
        raise MoveError(f"there is no state in {source}, so nothing is moved")
    return counts


def _filled(source: Place, target: Place, part: Part, progress: Progress) -> int:
    """Write a part, and read it again."""
    sent = Sum()
    target.fill(part, _told(sent.passing(source.rows(part)), part, progress))
    if sum_of(target.rows(part)) != sent:
        raise MoveError(f"the {part} that arrived in {target} are not those of {source}")
    return sent.count


def _told(rows: Iterator[Row], part: Part, progress: Progress) -> Iterator[Row]:
    for count, row in enumerate(rows, 1):
        yield row
        if count % BATCH == 0:
            progress(part, count)
