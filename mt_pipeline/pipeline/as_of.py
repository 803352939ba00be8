"""Reads the date or time that `--as-of` and `as_of` take."""

from datetime import UTC, datetime, time

from mt_pipeline.captures.naming import CaptureError

_DAY = "2026-01-31"


class MomentError(CaptureError):
    """The text is not a date."""


def moment(text: str | None) -> datetime | None:
    """Read a date, which stands for its last moment in UTC, or a time.

    Raises:
        MomentError: the text is neither.
    """
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise MomentError(
            f"{text!r} is no date: write it as {_DAY}, or with a time as {_DAY}T12:00:00+00:00"
        ) from None
    if len(text) <= len(_DAY):
        read = datetime.combine(read.date(), time.max)
    return read.replace(tzinfo=read.tzinfo or UTC).astimezone(UTC)
