"""The captures room: which files are in the inbox, what they are called, what became of them."""

from mt_pipeline.system.callable_modules import make_callable

make_callable(__name__)
