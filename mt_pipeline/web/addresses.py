"""Addresses of pages about experiments, below that of Dagster's web server.

Pages of Dagster link to them. They do not know under which name the browser reaches this machine.
"""

from urllib.parse import urlencode

REPORTS = "/reports"
EXPLORER = "/explore"


def report(experiment: str) -> str:
    """Return the path of an experiment's report."""
    return f"{REPORTS}/{experiment}.html"


def explorer(experiment: str, capture: str | None = None) -> str:
    """Return the path that leads to the explorer.

    Args:
        experiment: the one to show.
        capture: key of the capture that alone is shown; None for all.
    """
    filters = {} if capture is None else {"capture": f"is:{capture}"}
    return f"{EXPLORER}?{urlencode({'e': experiment, **filters})}"
