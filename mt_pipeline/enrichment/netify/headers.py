"""The time for which the headers of a response ask for no requests; invalid values are ignored."""

import math
import time
from collections.abc import Mapping

from urllib3 import Retry
from urllib3.exceptions import InvalidHeader

LONGEST_RESET = 32 * 24 * 3600
"""Seconds, about a month: a later renewal of a quota is not plausible."""

_EPOCH, _EPOCH_IN_MILLISECONDS = 1e9, 1e11
"""From here on, X-RateLimit-Reset is a time since 1970; below, it is seconds from now."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After, a number or a date; None without a valid one."""
    header = headers.get("Retry-After")
    try:
        return None if header is None else Retry().parse_retry_after(header)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def until_reset(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until X-RateLimit-Reset if no request remains until then.

    None if some remain, or without valid headers.
    """
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
