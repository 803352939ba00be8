"""Experiments in memory: read when they are first asked for, and anew when their captures changed.

Those that were used longest ago leave first when the memory is used up.
"""

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import inf

from mt_pipeline.api.question import Question
from mt_pipeline.api.session import Session
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import Record, State
from mt_pipeline.explorer.ahead import begun
from mt_pipeline.explorer.frame import Frame
from mt_pipeline.explorer.reading import (
    ATTRIBUTES,
    KEY,
    NUMBERS,
    READ,
    described,
    named,
    read,
)
from mt_pipeline.schema.tables import FLOWS

_LOOK_SECONDS = 1.0
"""The ledger is asked at most so often for each experiment."""

Load = tuple[float, str | None, str | None, int | None]
"""What changes when a capture is loaded again."""


@dataclass(frozen=True, eq=False)
class Held:
    """An experiment in memory.

    Attributes:
        experiment: its name.
        frame: its conversations and flows.
        loads: the captures that were loaded when it was read.
    """

    experiment: str
    frame: Frame
    loads: Mapping[str, Load]

    def is_of(self, records: Iterable[Record]) -> bool:
        """Return whether the captures are still those that were read.

        What is being loaded again counts once it is loaded.
        """
        settled = {record.key: record for record in records if record.state not in _AT_WORK}
        loaded = {key: record for key, record in settled.items() if record.state is State.DONE}
        return all(self.loads.get(key) == _load(record) for key, record in loaded.items()) and all(
            key in loaded or key not in settled for key in self.loads
        )

    @property
    def version(self) -> str:
        """A text that changes when it is read anew."""
        return blake2b(repr(sorted(self.loads.items())).encode(), digest_size=8).hexdigest()


_AT_WORK = (State.WAITING, State.RUNNING)


class Store:
    """Reads experiments and holds them.

    Args:
        session: an open data folder.
        most: bytes of all experiments together.
    """

    def __init__(self, session: Session, *, most: int) -> None:
        self.session, self.most = session, most
        self._held = OrderedDict[str, Held]()
        self._looked: dict[str, float] = {}
        self._guard = threading.Lock()
        self._reading = defaultdict[str, threading.Lock](threading.Lock)

    def get(self, experiment: str) -> Held:
        """Return an experiment; read it if it is not in memory, or has changed.

        One thread reads an experiment, others wait for it.

        Raises:
            UnknownNameError: there is none.
            BackendError: it cannot be read.
        """
        experiment = fold_experiment(experiment)
        if held := self._fresh(experiment):
            return held
        self._question(experiment, KEY)  # refuses a name that nobody loaded
        with self._guard:
            turn = self._reading[experiment]
        with turn:
            if held := self._fresh(experiment):
                return held
            records = self.session.ledger.records(experiment=experiment)
            held = Held(experiment, self._read(experiment), _loads(records))
            self._keep(held)
            return held

    def look_again(self) -> None:
        """Have the ledger asked when an experiment is wanted next, however late that was done."""
        with self._guard:
            self._looked.clear()

    def in_memory(self) -> Sequence[Held]:
        """Return what is in memory, without reading anything."""
        with self._guard:
            return list(self._held.values())

    def _read(self, experiment: str) -> Frame:
        def fits(size: float) -> bool:
            return self._fits(experiment, size)

        source = self.session.source(experiment)
        with begun(source.distinct(self._question(experiment, ATTRIBUTES))) as said:
            flows = read(source.rows(self._question(experiment, NUMBERS)), fits, KEY)
            frame = described(flows, said, fits)
        if frame is None:
            del flows
            frame = read(source.rows(self._question(experiment, READ)), fits)
        return named(frame, experiment)

    def _question(self, experiment: str, columns: Sequence[str]) -> Question:
        return self.session.question(FLOWS, experiment, columns=columns)

    def _fresh(self, experiment: str) -> Held | None:
        with self._guard:
            held = self._held.get(experiment)
            if held is None:
                return None
            self._held.move_to_end(experiment)
            is_seen = time.monotonic() - self._looked.get(experiment, -inf) < _LOOK_SECONDS
        if not is_seen:
            if not held.is_of(self.session.ledger.records(experiment=experiment)):
                return None
            with self._guard:
                self._looked[experiment] = time.monotonic()
        return held

    def _fits(self, experiment: str, size: float) -> bool:
        """Return whether so much of an experiment can be held, and let others leave for it."""
        with self._guard:
            while size + self._size(experiment) > self.most and (
                oldest := next((name for name in self._held if name != experiment), None)
            ):
                del self._held[oldest]
            return size <= self.most

    def _size(self, other_than: str) -> int:
        return sum(held.frame.nbytes for name, held in self._held.items() if name != other_than)

    def _keep(self, held: Held) -> None:
        self._fits(held.experiment, held.frame.nbytes)
        with self._guard:
            self._held[held.experiment] = held
            self._held.move_to_end(held.experiment)
            self._looked[held.experiment] = time.monotonic()


def _loads(records: Iterable[Record]) -> Mapping[str, Load]:
    return {record.key: _load(record) for record in records if record.state is State.DONE}


def _load(record: Record) -> Load:
    return record.changed_at, record.documents, record.answers, record.rows
