"""Loads rows of a large capture while tshark still reads it.

The second core is idle then for most of the time. Only a capture that has no rows yet is loaded
early: readers of the others must see their earlier rows until the new ones are complete. Nothing
here delays the reading, or fails the capture: rows that were not sent early are sent by the load.
"""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.backends.backend import Backend, EarlyRows
from mt_pipeline.backends.loads import BackendError
from mt_pipeline.captures.naming import experiment_of
from mt_pipeline.enrichment.at_hand import AnswersAtHand
from mt_pipeline.packets import typed
from mt_pipeline.packets.endpoints import is_askable
from mt_pipeline.packets.reachability import is_public
from mt_pipeline.pipeline.run import Run
from mt_pipeline.rows.early import Builder, Early, without_pending
from mt_pipeline.rows.packets import BATCH

log = logging.getLogger(__name__)

_BATCH_ROWS = BATCH
"""Rows that are sent at once."""

_WAITING = 2
"""Batches that may wait for the back end. Those that come meanwhile are left to the load."""

_MAX_ENDPOINTS = 50_000
"""Public endpoints that are looked up early, as all are looked up again at the end."""


@dataclass(frozen=True)
class SentRows:
    """The rows that a back end has already.

    Attributes:
        backend: its name.
        load: the number of the load that they are part of.
        early: what was known when they were sent.
    """

    backend: str
    load: int
    early: Early


def begin(run: Run, key: str, folder: Path) -> "EarlyLoad | None":
    """Begin to load a capture early; return None if no back end takes its rows early.

    Args:
        run: the run that the capture is part of.
        key: the capture key. The caller holds its lock, and closes the result.
        folder: takes what does not fit into memory.
    """
    try:
        for backend in run.workspace.backends():
            rows = backend.early_rows(key, experiment_of(key))
            if rows is not None:
                return EarlyLoad(run, key, backend, rows, folder)
    except BackendError as error:  # the load will meet it again, and knows how to wait
        log.info("%s: its rows wait until all of it is read: %s", key, error)
    return None


class EarlyLoad:
    """Receives typed packets block by block, and sends their rows in a thread of its own.

    Args:
        run: the run that the capture is part of.
        key: the capture key. The caller holds its lock.
        backend: where the rows go.
        rows: takes them there.
        folder: takes what does not fit into memory.
    """

    def __init__(
        self,
        run: Run,
        key: str,
        backend: Backend,
        rows: AbstractContextManager[EarlyRows],
        folder: Path,
    ) -> None:
        self._key, self._backend = key, backend
        self._check = partial(run.workspace.ledger.check, key)
        self._answers = AnswersAtHand(*run.providers, as_of=run.as_of)
        self._packets: list[pa.Table] = []
        self._hellos: list[pa.Table] = []
        self._unsent: list[tuple[int, int]] = []
        self._last_frame = 0
        self._jobs = deque[Future[None]]()
        self._has_sent = False
        experiment = experiment_of(key)
        with ExitStack() as stack:
            connection = stack.enter_context(typed.connection(folder / "early"))
            self._builder = Builder(
                connection,
                capture=key,
                experiment=experiment,
                devices=run.devices,
                vendor_of=run.vendors,
            )
            self._rows = stack.enter_context(rows)
            self._worker = ThreadPoolExecutor(max_workers=1)
            stack.callback(self._worker.shutdown, cancel_futures=True)
            self._open = stack.pop_all()

    def add(self, packets: pa.Table, sums: pa.Table, announcements: Callable[[], pa.Table]) -> None:
        """Add the typed packets and the sums of a block; see `conversations.Follower`."""
        self._packets.append(packets)
        has_name = pc.or_(pc.is_valid(sums["sni"]), pc.is_valid(sums["alpn"]))
        self._hellos.append(sums.filter(has_name))
        if sum(table.num_rows for table in self._packets) >= _BATCH_ROWS:
            self._pass_on(announcements)

    def finish(self) -> SentRows | None:
        """Wait for what is being sent. Return what was sent; None if the load has to send all."""
        try:
            for job in self._jobs:
                job.result()
            if not self._has_sent:
                return None
            self._leave_to_load()
            answers = without_pending(self._answers.answers())
            early = Early(
                self._builder.names(), answers, tuple(self._unsent), self._builder.devices()
            )
            return SentRows(self._backend.name, self._rows.load, early)
        except (BackendError, OSError, duckdb.Error) as error:
            log.info("%s: its rows wait until all of it is read: %s", self._key, error)
            return None
        finally:
            self.close()

    def close(self) -> None:
        """Stop sending. What is being sent still ends."""
        self._open.close()

    def remove(self) -> None:
        """Remove the rows that were sent, because the capture has failed."""
        self.close()
        if self._has_sent:
            try:
                self._backend.remove(self._key)
            except BackendError as error:
                log.warning("%s: some of its rows could not be removed: %s", self._key, error)

    def _pass_on(self, announcements: Callable[[], pa.Table]) -> None:
        """Hand the packets so far to the thread, or leave them to the load if it is busy."""
        while self._jobs and self._jobs[0].done():
            if self._jobs[0].exception():  # `finish` raises it; nothing is sent any more
                self._packets.clear()
                self._hellos.clear()
                return
            self._jobs.popleft()
        hellos, sent = pa.concat_tables(self._hellos), self._last_frame
        self._hellos.clear()
        is_busy = len(self._jobs) >= _WAITING or len(self._answers) > _MAX_ENDPOINTS
        if is_busy:
            self._leave_to_load()
            self._jobs.append(self._worker.submit(self._builder.add_names, hellos, sent=sent))
            return
        packets = pa.concat_tables(self._packets)
        self._packets.clear()
        self._last_frame = pc.max(packets["frame_number"]).as_py() or sent
        self._look_up(packets, hellos)
        self._has_sent = True
        self._jobs.append(
            self._worker.submit(
                self._send, packets, hellos, self._answers.answers(), announcements(), sent
            )
        )

    def _leave_to_load(self) -> None:
        """Note the packets so far as not sent."""
        if self._packets:
            numbers = pa.concat_tables(self._packets)["frame_number"]
            self._packets.clear()
            first, last = pc.min_max(numbers).as_py().values()
            if first is not None:
                self._unsent.append((first, last))
                self._last_frame = last

    def _look_up(self, packets: pa.Table, hellos: pa.Table) -> None:
        for end in ("src", "dst"):
            addresses = pc.unique(packets[f"address_{end}"]).drop_null().to_pylist()
            self._answers.add("address", filter(is_public, addresses))
        names = pc.unique(pc.utf8_rtrim(pc.utf8_lower(hellos["sni"]), ".")).drop_null()
        self._answers.add("name", filter(is_askable, names.to_pylist()))

    def _send(
        self,
        packets: pa.Table,
        hellos: pa.Table,
        answers: pa.Table,
        announcements: pa.Table,
        sent: int,
    ) -> None:
        self._builder.add_names(hellos, sent=sent)
        self._builder.name_devices(announcements, sent=sent)
        for batch in self._builder.rows(packets, answers):
            self._check()  # none is sent once the lock of the capture is lost
            self._rows.send(batch)
