"""How long the headers of an answer ask for no more requests. None of them must be there, and nonsense in them says nothing."""

import math
import time
from collections.abc import Mapping

from urllib3 import Retry
from urllib3.exceptions import InvalidHeader

LONGEST_RESET = 32 * 24 * 3600
"""Seconds, a month: whoever says that a quota begins anew later than that does not mean it."""

_EPOCH, _EPOCH_IN_MILLISECONDS = 1e9, 1e11
"""X-RateLimit-Reset from here on is a time since 1970, below it is seconds from now: nobody agrees on one of them."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After, given as a number or a date; None without or with nonsense."""
    header = headers.get("Retry-After")
    try:
        return None if header is None else Retry().parse_retry_after(header)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def until_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until there are requests again, if X-RateLimit-Remaining says that none is left; None if some are, or with nonsense."""
    remaining, reset = (
        _number(headers.get(f"X-RateLimit-{name}")) for name in ("Remaining", "Reset")
    )
    if remaining is None or remaining >= 1 or reset is None:
        return None
    if reset >= _EPOCH:
        reset = (reset / 1000 if reset >= _EPOCH_IN_MILLISECONDS else reset) - time.time()
    return reset if 0 <= reset <= LONGEST_RESET else None


def _number(header: str | None) -> float | None:
    try:
        number = float(header or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
