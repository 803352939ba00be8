"""Builds captures by hand, as documents, answers and rows, and queries QuestDB."""

import json
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.backends.loads import Loaded, Part
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.table_loader import load_table
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.enrichment.chain import SCHEMA
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.rows.packets import rows
from mt_pipeline.rows.sources import Sources
from mt_pipeline_tests.packets.parts import sources_in

START = 1_700_000_000
"""Seconds since 1970 of packet 0."""

CLIENT, SERVER = "192.168.1.20", "93.184.216.34"

Packet = dict[str, str | Sequence[str]]
"""Fields of a packet by their keys in the documents; a repeated field has several values."""

Answers = Mapping[tuple[str, str], Mapping[str, object]]
"""Kind and endpoint to facts and provider."""


def packet(number: int, **fields: str | None) -> Packet:
    """Build packet `number` of a TCP stream, a second after the one before.

    `fields` replace the defaults; None omits one.
    """
    defaults = {
        "frame_number": str(number),
        "frame_time_epoch": f"{START + number}.000000000",
        "frame_len": "60",
        "frame_protocols": "eth:ethertype:ip:tcp",
        "ip_src": CLIENT,
        "ip_dst": SERVER,
        "ip_proto": "6",
        "tcp_srcport": "50000",
        "tcp_dstport": "443",
        "tcp_stream": "0",
    }
    return {key: value for key, value in {**defaults, **fields}.items() if value is not None}


def packets(count: int, **fields: str | None) -> list[Packet]:
    """Build packets 1 to `count`."""
    return [packet(number, **fields) for number in range(1, count + 1)]


def time_of(number: int) -> datetime:
    """Return when packet `number` was captured, without a zone like QuestDB."""
    return datetime(2023, 11, 14, 22, 13, 20) + timedelta(seconds=number)


@contextmanager
def batches_of(
    packets: Iterable[Packet],
    *,
    capture: str,
    experiment: str,
    answers: Answers | None = None,
    devices: Devices | None = None,
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield batches of the rows of packets; without `answers` no provider is asked."""
    with (
        files_of(packets, answers) as files,
        closing(rows(files, capture=capture, experiment=experiment, devices=devices)) as batches,
    ):
        yield batches


@contextmanager
def files_of(
    packets: Iterable[Packet], answers: Answers | None = None, **limits: int
) -> Iterator[Sources]:
    """Write the files from which rows are built; `block` is how many packets are typed at once."""
    with tempfile.TemporaryDirectory() as folder:
        documents, distinct = Path(folder) / "documents.ndjson.zst", Path(folder) / "endpoints"
        sources = sources_in(Path(folder))
        layers = (
            {key: [value] if isinstance(value, str) else value for key, value in fields.items()}
            for fields in packets
        )
        lines = [json.dumps({"timestamp": "0", "layers": each}) + "\n" for each in layers]
        with pa.CompressedOutputStream(pa.OSFile(str(documents), "wb"), "zstd") as file:
            file.write("".join(lines).encode())
        with conversations(distinct) as heard:
            heard.read(documents, **limits)
            heard.write_packets(sources.packets, sources.sums, sources.said)
            heard.write_names(sources.names)
            endpoints.write(heard, distinct)
        if answers is None:
            enrich(distinct, sources.answers, providers=())
        else:
            records = [
                {"kind": kind, "endpoint": endpoint, "state": "answered", **facts}
                for (kind, endpoint), facts in answers.items()
            ]
            pyarrow.parquet.write_table(
                pa.Table.from_pylist(records, schema=SCHEMA), sources.answers
            )
        yield sources


def rows_of(packets: Iterable[Packet], **arguments) -> list[dict[str, object]]:
    """Return all rows of packets."""
    with batches_of(packets, **{"capture": "x/x.pcap", "experiment": "x", **arguments}) as batches:
        return [row for batch in batches for row in batch.to_pylist()]


def load(
    database: Database,
    packets: Iterable[Packet],
    *,
    capture: str,
    experiment: str,
    answers: Answers | None = None,
    devices: Devices | None = None,
    between: Callable[[int], object] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Loaded:
    """Load packets as a capture.

    With `between` they come in batches of a hundred rows. It receives the number of each batch
    before that is built.
    """
    with batches_of(
        packets, capture=capture, experiment=experiment, answers=answers, devices=devices
    ) as batches:
        pieces = batches if between is None else _small_batches(batches, between)
        [loaded] = load_table(database, [Part(capture, experiment, pieces, progress)])
        return loaded


def _small_batches(
    batches: Iterator[pa.RecordBatch], between: Callable[[int], object]
) -> Iterator[pa.RecordBatch]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, 100):
            between(number)
            number += 1
            yield batch.slice(start, 100)


def select(database: Database, query: str, *values: object) -> list[tuple]:
    """Return the rows of a query."""
    with database.connect() as connection:
        return connection.execute(query, values).fetchall()


def view(database: Database, experiment: str) -> list[dict[str, object]]:
    """Read the view of an experiment, ordered by capture and packet."""
    with database.connect() as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute(
            f'SELECT * FROM "packets_{experiment}" ORDER BY capture, frame_number, ts'
        ).fetchall()


def frames(database: Database, experiment: str) -> list[tuple[str, int, datetime]]:
    """Read capture, number and time of the packets in the view of an experiment."""
    return [(row["capture"], row["frame_number"], row["ts"]) for row in view(database, experiment)]


class Threads:
    """Runs work in threads. The end of the context waits for them, and raises their errors."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[..., object], *arguments: object) -> threading.Thread:
        """Begin some work."""

        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:  # raised again at the end
                self._errors.append(error)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()
        return self._threads[-1]

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *raised: object) -> None:
        for thread in self._threads:
            thread.join(240)
        assert not any(thread.is_alive() for thread in self._threads)
        if self._errors and raised[1] is None:
            raise self._errors[0]
