"""What runs fork from: a process that has imported the code, and has opened and started nothing.

Its only thread waits for requests of `code_server.py`. That process imports this module; no other
does.
"""

import ctypes
import gc
import os
import signal
import sys
import warnings
from contextlib import suppress
from importlib import import_module

_SET_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""

_LATE = (
    "mt_pipeline.service.code_server",  # Python imports again what the server was started by
    "mt_pipeline.defs.storage",
    "mt_pipeline.defs.postgres",
    "dagster._core.executor.in_process",
    "dagster._core.storage.local_compute_log_manager",
    "pyarrow.dataset",
    "upath",
)
"""What a run would import later: most of it Dagster does when it opens its instance."""


def _begin_run() -> None:
    """Make the process of a run what it would be had it not been forked.

    It ends with the process that it was forked from, because Dagster learns only from that one
    whether a run is alive.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


# Python warns in each run that it knows this module already.
warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning, "runpy")

# When the service stops, it tells all of its processes. Runs note then that they were cancelled;
# this one ends after the last of them.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.register_at_fork(after_in_child=_begin_run)

# A run that imports the code itself says what is wrong with it.
with suppress(Exception):
    import_module("mt_pipeline.definitions").defs.get_repository_def().get_job("ingest_captures")
for _name in _LATE:
    with suppress(Exception):
        import_module(_name)
gc.freeze()  # a collection in a run would write to, and so copy, all memory that it shares
