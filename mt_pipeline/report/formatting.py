"""Formatting of numbers, times and names on the page."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from mt_pipeline.report.results import Destination, known
from mt_pipeline.report.summary import application_of
from mt_pipeline.system import terminal

LONGEST = 253
"""Longest name shown in full, in letters: that of a host name."""

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_TIMES = (
    ("d", 86_400 * 10**6),
    ("h", 3600 * 10**6),
    ("min", 60 * 10**6),
    ("s", 10**6),
    ("ms", 1000),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unit_of(value: int) -> tuple[str, int]:
    """Choose a unit for bytes. Return its name and its number of bytes."""
    power = next((power for power in reversed(range(len(_UNITS))) if value >= 1000**power), 0)
    return _UNITS[power], int(1000**power)


def size(value: int) -> str:
    """Format bytes in a unit that suits them."""
    unit, unit_bytes = unit_of(value)
    return f"{value / unit_bytes:.3g} {unit}" if unit_bytes > 1 else f"{value} {unit}"


def count(value: int) -> str:
    """Format a whole number."""
    return f"{value:,}"


def percent(value: int, total: int) -> str:
    """Format a share."""
    return f"{100 * value / total:.1f}%" if total else "0%"


def time(microseconds: int, *, milliseconds: bool = False) -> str:
    """Format a time in UTC, to the second or millisecond."""
    utc = (_EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=None)
    return utc.isoformat(" ", "milliseconds" if milliseconds else "seconds")


def duration(microseconds: int) -> str:
    """Format a duration in the largest unit that fits, and the next."""
    last = len(_TIMES) - 1
    first = next((place for place, (_, unit) in enumerate(_TIMES) if microseconds >= unit), last)
    parts: list[str] = []
    for name, unit in _TIMES[first : first + 2]:
        number, microseconds = divmod(microseconds, unit)
        parts += [f"{number:,} {name}"] if number or not parts else []
    return " ".join(parts)


def visible(text: str) -> str:
    """Format a name that others chose; shorten it if it is too long."""
    return terminal.visible(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def providers(destination: Destination) -> str:
    """List the providers that answered for the address or its name."""
    columns = (destination.provider, destination.name_provider)
    return ", ".join(sorted({name for names in columns if names for name in names.split(",")}))


FILTERS: Mapping[str, Callable[..., str]] = {
    "application": lambda destination: application_of(destination) or "",
    "bytes": size,
    "count": count,
    "duration": duration,
    "known": lambda text: known(text) or "",
    "percent": percent,
    "providers": providers,
    "time": time,
    "visible": visible,
}
"""Filters of the page's template, by name."""
