"""Modules that can be called: `mt.captures(...)` is a question, and `mt_pipeline.captures` a room.

Python sets a room as an attribute of the package when it is imported, whatever had its name there.
So the room itself answers to a call.
"""

import sys
from importlib import import_module
from types import ModuleType

_FUNCTIONS = "mt_pipeline.python_api"


class _Callable(ModuleType):
    """A module that calls the function of its name."""

    def __call__(self, *arguments: object, **options: object) -> object:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(_FUNCTIONS), name)(*arguments, **options)


def make_callable(name: str) -> None:
    """Make a module call the function of its name in `python_api.py`.

    Args:
        name: of the module, which is being imported.
    """
    sys.modules[name].__class__ = _Callable
