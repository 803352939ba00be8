"""Patience for a QuestDB that goes away while rows are on their way: whatever the way, they are sent again until it is back."""

import logging
import time
from collections.abc import Callable

from mt_pipeline.backends.loads import Unreachable

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 30
"""How long a QuestDB that went away is asked again."""


class WentAway(Exception):
    """QuestDB does not answer just now; the message says why."""


def patiently(where: str, send: Callable[[], None]) -> None:
    """Send, and again if QuestDB went away; the table knows its keys, so what arrives twice is harmless.

    Args:
        where: host and port.
        send: raises WentAway if it is worth another try.

    Raises:
        Unreachable: it does not come back.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return send()
        except WentAway as error:
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"QuestDB at {where} went away: {error}; start it, then launch the capture again"
                ) from None
            log.warning("QuestDB at %s: %s; asking again", where, error)
            time.sleep(1)
