"""Holds the captures that the ledger calls done against their files and against what QuestDB holds, and has loaded again what is missing.

QuestDB says that it has rows before they are on the disk: a power cut can take them away again. So this is done by itself after a stop that
was not clean, besides by `mt-pipeline verify` and by the check `verified`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import dagster as dg

from mt_pipeline.captures.identity import CaptureError, capture_at
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import Record, State
from mt_pipeline.defs.files import CaptureFiles
from mt_pipeline.defs.resources import Pipeline
from mt_pipeline.defs.retention import is_expired
from mt_pipeline.questdb import server
from mt_pipeline.questdb.compact import undisturbed
from mt_pipeline.questdb.database import DatabaseError
from mt_pipeline.questdb.held import Held, held

_SHOWN = 20
_MOMENT = 1


@dataclass(frozen=True)
class Difference:
    """Something that is not as the ledger says.

    Attributes:
        key: the capture key.
        what: what is not, and what to do.
        rows: whether rows are missing or too many, which loading the capture again puts right.
    """

    key: str
    what: str
    rows: bool = False

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.key}: {self.what}"


def differences(pipeline: Pipeline, chosen: Callable[[Record], bool] = lambda _: True) -> list[Difference]:
    """Compare ledger, files and QuestDB; captures that are being worked on meanwhile are passed over.

    Args:
        pipeline: the rooms.
        chosen: which captures.

    Raises:
        DatabaseError: QuestDB does not answer, or cannot read its tables.
    """
    before = {record.key: record for record in pipeline.ledger.records()}
    stored = _held(pipeline) if pipeline.settings.has_questdb else None
    after = {record.key: record for record in pipeline.ledger.records()}
    steady = [record for key, record in after.items() if before.get(key) == record and chosen(record)]
    found = [difference for record in steady for difference in _of_record(pipeline, record, stored)]
    everything = all(map(chosen, after.values()))
    strangers = (stored or {}).keys() - after.keys() - before.keys() if everything else ()
    cure = "copy its file to the inbox under this key, or rows of a lost ledger stay as they are"
    return found + [Difference(key, f"QuestDB has rows of it, but the ledger does not know it: {cure}") for key in sorted(strangers)]


def load_again(pipeline: Pipeline, found: Sequence[Difference]) -> int:
    """Give captures whose rows are not right back to the next look of the sensor, or to the next `ingest`. Returns how many.

    One that is being worked on, or is not done any more, is left alone: its rows are about to be others. Who only looks lets go within moments.
    """
    again = 0
    for key in {difference.key for difference in found if difference.rows and (pipeline.inbox / difference.key).exists()}:
        with suppress(CaptureBusyError), pipeline.ledger.lock(key, timeout=_MOMENT):
            record = pipeline.ledger.get(key)
            if record and record.state is State.DONE:
                pipeline.ledger.give_back(key)
                again += 1
    return again


def after_a_crash(pipeline: Pipeline) -> str | None:
    """Verify if the embedded QuestDB did not stop in order the last time, have what is missing loaded again, and say so; it must be running."""
    if not pipeline.has_crashed:
        return None
    try:
        found = [difference for difference in differences(pipeline) if difference.rows]
    except DatabaseError as error:  # no reason not to start: the cure needs a running QuestDB
        return f"QuestDB was not stopped in order the last time, and what is missing cannot be told: {error}"
    again = load_again(pipeline, found)
    server.forget_crash(pipeline.questdb_folder)
    missing = f"rows of {len(found):,} captures are not as they were; {again:,} are loaded again" if found else "no row is missing"
    return f"QuestDB was not stopped in order the last time: {missing}"


@dg.asset_check(
    asset="questdb_packets", name="verified", description="every loaded capture has its file, its documents, and exactly its rows; of all captures"
)
def verified(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Verify all captures, whenever a person wants to know."""
    found = differences(pipeline)
    lines = "\n".join(f"- {difference}" for difference in found[:_SHOWN])
    more = f"\n- and {len(found) - _SHOWN:,} more: see `mt-pipeline verify`" if len(found) > _SHOWN else ""
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(found):,} differences",
        metadata={"differences": len(found), "found": dg.MetadataValue.md(lines + more)},
    )


def _held(pipeline: Pipeline) -> dict[str, Held]:
    with undisturbed(pipeline.database(), pipeline.loading_lock):
        return held(pipeline.database())


def _of_record(pipeline: Pipeline, record: Record, stored: dict[str, Held] | None) -> Iterator[Difference]:
    here = None if stored is None else stored.get(record.key, Held())
    if record.state is State.PURGED and here is not None and (here.rows or here.flow_packets):
        yield Difference(record.key, f"it was purged, but QuestDB has {here.rows:,} rows of it: purge it again")
    if record.state is not State.DONE:
        return
    yield from _of_files(pipeline, record)
    if here is None:
        return
    if here.rows != record.rows:
        yield Difference(record.key, f"QuestDB has {here.rows:,} of its {record.rows or 0:,} rows: load it again", rows=True)
    elif (here.rows, here.bytes) != (here.flow_packets, here.flow_bytes):
        said = f"its flows have {here.flow_packets:,} packets and {here.flow_bytes:,} bytes, its rows {here.rows:,} and {here.bytes:,}"
        yield Difference(record.key, f"{said}: load it again", rows=True)


def _of_files(pipeline: Pipeline, record: Record) -> Iterator[Difference]:
    try:
        capture = capture_at(pipeline.inbox, record.key)
    except CaptureError:
        yield Difference(record.key, "its file is gone from the inbox; its rows stay until you purge it")
    else:
        if (capture.size, capture.mtime_ns) != (record.size, record.mtime_ns):
            yield Difference(record.key, "its file has changed since it was loaded: the service, or `mt-pipeline ingest`, loads it again")
    files = CaptureFiles(pipeline.settings.data_dir, record.key)
    if record.documents and not is_expired(pipeline.settings, record) and not files.documents(record.documents).exists():
        yield Difference(record.key, "its documents are gone: the next load runs tshark again")
