"""Network captures of experiments, turned into tables: the version, and the door for Python.

`import mt_pipeline as mt` is quick: what `mt.flows` and the other names need is imported when one
of them is first used. They are those of `python_api.py`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mt_pipeline.python_api import (
        NONE,
        Comparison,
        Cut,
        Rows,
        Session,
        Where,
        WhereError,
        captures,
        col,
        compare,
        cut,
        experiments,
        flows,
        open,
        packets,
    )

__version__ = "0.1.0"

__all__ = [
    "NONE",
    "Comparison",
    "Cut",
    "Rows",
    "Session",
    "Where",
    "WhereError",
    "__version__",
    "captures",
    "col",
    "compare",
    "cut",
    "experiments",
    "flows",
    "open",
    "packets",
]

_ROOMS = ("captures", "packets")
"""Functions with the name of a room, which can be called (`system/callable_modules.py`)."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.python_api"), name)
