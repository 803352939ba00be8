"""The locks of captures in Postgres, for runs on several machines. See `locks.py`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from mt_pipeline.captures.locks import CaptureBusyError, CaptureLostError, Held
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.state import advisory
from mt_pipeline.state.advisory import BusyError, Hold, LostError
from mt_pipeline.state.postgres import Postgres, StateError


class PostgresLocks:
    """Locks in Postgres, which frees those of a process that dies or cannot be reached."""

    def __init__(self, postgres: Postgres) -> None:
        self._locks = advisory.Locks(postgres, "capture")

    @contextmanager
    def lock(self, name: str, *, timeout: float) -> Iterator[Held]:
        """See `Locks.lock`."""
        with ExitStack() as stack:
            try:
                hold = stack.enter_context(self._locks.alone(name, timeout=timeout))
            except BusyError:
                raise CaptureBusyError(name) from None
            except StateError as error:
                raise LedgerError(f"{name}: {error}.") from None
            yield _HeldInPostgres(name, hold)


@dataclass(frozen=True)
class _HeldInPostgres:
    name: str
    hold: Hold

    def check(self) -> None:
        try:
            self.hold.check()
        except LostError as error:
            raise CaptureLostError(self.name, f"its lock was lost: {error}") from None
