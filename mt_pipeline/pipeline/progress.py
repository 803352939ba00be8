"""How far the captures of a run are, for whoever shows it."""

from typing import Protocol


class Progress(Protocol):
    """Receives how far each capture is, and at last `ENDED`."""

    def __call__(self, key: str, doing: str, done: int, total: int | None = None) -> None:
        """Take note of how far a capture is.

        Args:
            key: the capture key.
            doing: what is being done: `reading`, `asking`, `loading` …
            done: packets, endpoints or flows with which it is done so far.
            total: how many there are, if that is known.
        """


def ignore(key: str, doing: str, done: int, total: int | None = None) -> None:
    """Take note of nothing."""


WAITING = "waiting for QuestDB, which does not answer, to load"
"""What is being done while a QuestDB of the user's own is away."""

ENDED = "ended"
"""There is a verdict on the capture; the ledger knows it."""
