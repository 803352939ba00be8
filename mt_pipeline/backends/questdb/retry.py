"""Sends rows again, by whatever way, until a QuestDB that went away is back."""

import logging
import time
from collections.abc import Callable

from mt_pipeline.backends.loads import Unreachable

log = logging.getLogger(__name__)


class WentAway(Exception):
    """QuestDB does not answer at the moment; the message has the reason."""


def retry_until_back(where: str, send: Callable[[], None], *, seconds: float) -> None:
    """Send, and send again if QuestDB went away. Rows that arrive twice replace themselves.

    Args:
        where: host and port, for messages.
        send: raises WentAway if another attempt makes sense.
        seconds: how long to keep trying.

    Raises:
        Unreachable: QuestDB is not back in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return send()
        except WentAway as error:
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"QuestDB at {where} went away: {error}; start it, "
                    "then launch the capture again"
                ) from None
            log.warning("QuestDB at %s: %s; trying again", where, error)
            time.sleep(1)
