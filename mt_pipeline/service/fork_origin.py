"""What runs fork from: a process that has imported the code, and has opened and started nothing.

Its only thread waits for requests of `code_server.py`. That process imports this module; no other
does.
"""

import os
import signal
import warnings

from mt_pipeline.service.preload import preload
from mt_pipeline.system.processes import end_with_parent


def _begin_run() -> None:
    """Make the process of a run what it would be had it not been forked.

    It ends with the process that it was forked from, because Dagster learns only from that one
    whether a run is alive.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()


# Python warns in each run that it knows this module already.
warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning, "runpy")

# When the service stops, it tells all of its processes. Runs note then that they were cancelled;
# this one ends after the last of them.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.register_at_fork(after_in_child=_begin_run)

preload()
