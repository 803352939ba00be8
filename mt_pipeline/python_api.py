"""What `import mt_pipeline as mt` offers to Python: the settings, an open data folder, questions.

Here settings meet the rooms, as in `definitions.py`, so that nothing else needs to read them.
`mt_pipeline/__init__.py` imports this module when one of its names is first used.
"""

import inspect
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from mt_pipeline import settings
from mt_pipeline.api.comparison import Comparison
from mt_pipeline.api.cutting import Cut
from mt_pipeline.api.rows import Rows
from mt_pipeline.api.session import Session
from mt_pipeline.api.where import NONE, Where, WhereError, col
from mt_pipeline.pipeline.session import session
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.system import private

P = ParamSpec("P")
R = TypeVar("R")

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


@cache
def _default() -> Session:
    return open()


def _asked(method: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """Make a method of a session a function that asks the data folder of the settings."""

    @wraps(method)
    def ask(*arguments: P.args, **options: P.kwargs) -> R:
        return method(_default(), *arguments, **options)

    signature = inspect.signature(method)
    without_self = [*signature.parameters.values()][1:]
    ask.__signature__ = signature.replace(parameters=without_self)  # type: ignore[attr-defined]
    return ask


captures = _asked(Session.captures)
compare = _asked(Session.compare)
cut = _asked(Session.cut)
experiments = _asked(Session.experiments)
flows = _asked(Session.flows)
packets = _asked(Session.packets)
