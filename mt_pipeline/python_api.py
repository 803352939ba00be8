"""What `import mt_pipeline as mt` offers to Python: the settings, an open data folder, questions.

Here settings meet the rooms, as in `definitions.py`, so that nothing else needs to read them.
`mt_pipeline/__init__.py` imports this module when one of its names is first used.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from mt_pipeline import settings
from mt_pipeline.api.comparison import Comparison
from mt_pipeline.api.cutting import Cut
from mt_pipeline.api.rows import Rows
from mt_pipeline.api.session import Session, Time
from mt_pipeline.api.where import NONE, Where, WhereError, col
from mt_pipeline.pipeline.session import session
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.system import private

__all__ = [
    "NONE",
    "Comparison",
    "Cut",
    "Rows",
    "Session",
    "Where",
    "WhereError",
    "captures",
    "col",
    "compare",
    "cut",
    "experiments",
    "flows",
    "open",
    "packets",
]


def open(data_dir: str | Path | None = None, **changes: object) -> Session:
    """Open a data folder for questions.

    Args:
        data_dir: the folder; by default that of the settings.
        changes: other settings, by their names without `MT_` in lower case.

    Raises:
        SettingsError: a setting cannot be used.
    """
    private.files()
    if data_dir is not None:
        changes["data_dir"] = data_dir
    return session(Workspace(settings.load(**changes).options()))


def cut(
    experiment: str,
    output: str | Path,
    *,
    where: Where | str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    each: bool = False,
    replace: bool = False,
) -> Sequence[Cut]:
    """Write packets as they were captured to a pcapng; see `Session.cut`."""
    return _default().cut(
        experiment, output, where=where, since=since, until=until, each=each, replace=replace
    )


@cache
def _default() -> Session:
    return open()


def experiments() -> Rows:
    """List the experiments of the data folder of the settings; see `Session.experiments`."""
    return _default().experiments()


def captures(experiment: str | None = None) -> Rows:
    """List the captures of an experiment, or all; see `Session.captures`."""
    return _default().captures(experiment)


def flows(
    experiment: str,
    *,
    where: Where | str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    columns: Sequence[str] | None = None,
) -> Rows:
    """Return the flows of an experiment; see `Session.flows`."""
    return _default().flows(experiment, where=where, since=since, until=until, columns=columns)


def packets(
    experiment: str,
    *,
    where: Where | str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    columns: Sequence[str] | None = None,
) -> Rows:
    """Return the packets of an experiment; see `Session.packets`."""
    return _default().packets(experiment, where=where, since=since, until=until, columns=columns)


def compare(a: str, b: str, *, where: Where | str | None = None) -> Comparison:
    """Compare the flows of two experiments; see `Session.compare`."""
    return _default().compare(a, b, where=where)
