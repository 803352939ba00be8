"""How a run reports the progress of its captures."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of each capture, and `ENDED` when it has a verdict."""

    def __call__(self, key: str, doing: str, done: int, total: int | None = None) -> None:
        """Receive the progress of a capture.

        Args:
            key: the capture key.
            doing: the activity: `reading`, `asking`, `loading` …
            done: packets, endpoints or flows that are done.
            total: how many there are; None if that is not known.
        """


def ignore(key: str, doing: str, done: int, total: int | None = None) -> None:
    """Do nothing."""


WAITING = "waiting for QuestDB, which does not answer, to load"
"""The activity while a QuestDB of your own does not answer."""

ENDED = "ended"
"""The activity of a capture whose verdict is in the ledger."""
