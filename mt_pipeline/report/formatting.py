"""How numbers, times and names are written on a page."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from mt_pipeline.report.results import Destination, known
from mt_pipeline.report.summary import application_of
from mt_pipeline.system import terminal

LONGEST = 253
"""Letters of a name that are shown: as many as a host name may have."""

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
    """Choose a unit for bytes: its name, and how many bytes it has."""
    power = next((power for power in reversed(range(len(_UNITS))) if value >= 1000**power), 0)
    return _UNITS[power], int(1000**power)


def size(value: int) -> str:
    """Write bytes as people say them."""
    unit, of = unit_of(value)
    return f"{value / of:.3g} {unit}" if of > 1 else f"{value} {unit}"


def count(value: int) -> str:
    """Write a whole number."""
    return f"{value:,}"


def percent(value: int, whole: int) -> str:
    """Write a share."""
    return f"{100 * value / whole:.1f}%" if whole else "0%"


def time(microseconds: int, *, milliseconds: bool = False) -> str:
    """Write a time in UTC, to the second or finer."""
    return (
        (_EPOCH + timedelta(microseconds=microseconds))
        .replace(tzinfo=None)
        .isoformat(" ", "milliseconds" if milliseconds else "seconds")
    )


def duration(microseconds: int) -> str:
    """Write how long something took, in the largest unit of which there is one, and the next."""
    place = next(
        (place for place, (_, of) in enumerate(_TIMES) if microseconds >= of), len(_TIMES) - 1
    )
    parts: list[str] = []
    for unit, of in _TIMES[place : place + 2]:
        number, microseconds = divmod(microseconds, of)
        parts += [f"{number:,} {unit}"] if number or not parts else []
    return " ".join(parts)


def visible(text: str) -> str:
    """Write a name that others chose; what is too long is cut."""
    return terminal.visible(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def providers(to: Destination) -> str:
    """List who answered for the address or its name."""
    return ", ".join(
        sorted(
            {name for said in (to.provider, to.name_provider) if said for name in said.split(",")}
        )
    )


FILTERS: Mapping[str, Callable[..., str]] = {
    "application": lambda to: application_of(to) or "",
    "bytes": size,
    "count": count,
    "duration": duration,
    "known": lambda text: known(text) or "",
    "percent": percent,
    "providers": providers,
    "time": time,
    "visible": visible,
}
"""For the page: what it calls them."""
