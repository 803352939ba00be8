"""What nDPI finds in the conversations of a capture, as a file.

nDPI comes with the package nfstream (LGPL-3.0), the extra `ndpi` of ours. `child.py` runs it, as
tshark runs: confined where that is possible, within limits, ended with the block. It fills what no
name, address or other provider says (`schema/flows.py`).
"""

import importlib.metadata
import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mt_pipeline.enrichment.ndpi.applications import application
from mt_pipeline.packets.ip_protocols import keyword
from mt_pipeline.system.atomic import whole
from mt_pipeline.system.processes import stop, unbuffered
from mt_pipeline.tshark import sandbox
from mt_pipeline.tshark.limits import Limits, Watch, Watched, limited, wait, work_of
from mt_pipeline.tshark.programs import printed, start
from mt_pipeline.tshark.stderr import last_words

log = logging.getLogger(__name__)

NAME = "ndpi"
"""Of the provider, in MT_ENRICHMENT and in the tables."""

SCHEMA = pa.schema(
    [
        ("a_address", pa.string()),
        ("a_port", pa.int32()),
        ("b_address", pa.string()),
        ("b_port", pa.int32()),
        ("ip_proto", pa.string()),
        ("app_tag", pa.string()),
        ("app_category_tag", pa.string()),
        ("confidence", pa.string()),
        ("is_protocol", pa.bool_()),
        ("provider", pa.string()),
    ]
)
"""A row per pair of ends, of which `a` is the smaller one, as in `packets/sums.py`."""

_PRINTED = pa.schema(
    [
        *[SCHEMA.field(name) for name in SCHEMA.names[:4]],
        ("protocol", pa.int64()),
        ("name", pa.string()),
        ("category", pa.string()),
        ("number", pa.int64()),
    ]
)
_VERSION = 1
"""Of the terms of `applications.py`, and of what `child.py` prints."""

_CHILD = Path(__file__).with_name("child.py")
_BUFFER_BYTES = 1 << 18


def is_installed() -> bool:
    """Return whether the extra `ndpi` is installed."""
    return find_spec("nfstream") is not None


def version() -> str:
    """Return the version of nDPI's wheel, and of what is made of its output."""
    return f"{importlib.metadata.version('nfstream')}-{_VERSION}"


class NotInspected(Exception):
    """nDPI cannot read a capture, or not to its end; the message is the reason."""


@contextmanager
def inspecting(capture: Path, output: Path, limits: Limits) -> Iterator[Callable[[], None]]:
    """Have nDPI read a capture in the background; it ends with the block.

    Args:
        capture: the file.
        output: Parquet with SCHEMA; it appears when it is complete.
        limits: what nDPI may take for the capture.

    Yields:
        A function that waits for the file. It raises NotInspected.
    """
    path = capture.absolute()
    command = limited([sys.executable, "-I", str(_CHILD), str(path)], limits)
    if sandbox.works() and sandbox.reads(path):
        _, folders = sandbox.python()
        visible = (Path(sys.prefix), *folders, _CHILD, path)
        command = sandbox.confined(command, *visible, ends_with_parent=True)
    with last_words() as (errors, rest):
        child = start(command, errors)
        watch = Watch(limits, lambda: work_of(child.pid))
        stream = Watched(unbuffered(child.stdout), watch, child.kill)

        def wait_for_it() -> None:
            with whole(output) as partial:
                _write(io.BufferedReader(stream, _BUFFER_BYTES), partial)
                status = wait(child, watch)
                if watch.silent or watch.late:
                    raise NotInspected("nDPI stood still, or took too long, and was ended")
                if status:
                    said = printed(rest(), str(path)).strip().rpartition("\n")[2]
                    raise NotInspected(f"nDPI stopped with status {status} and said: {said}")

        try:
            yield wait_for_it
        finally:
            stop(child, grace=0)
            stream.close()


def _write(output: "io.BufferedReader[Watched]", path: Path) -> None:
    """Write what the child printed; that may be nothing."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        if not output.peek(1):
            return
        reader = pyarrow.csv.open_csv(
            output,
            pyarrow.csv.ReadOptions(column_names=_PRINTED.names, use_threads=False),
            pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            pyarrow.csv.ConvertOptions(column_types=_PRINTED),
        )
        for batch in reader:
            writer.write_batch(_typed(batch))


def _typed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows of which nDPI knows an application, with SCHEMA."""
    names, categories, numbers = (
        batch[column].to_pylist() for column in ("name", "category", "number")
    )
    found = list(map(application, names, categories, numbers))
    columns = {
        **{name: batch[name] for name in SCHEMA.names[:4]},
        "ip_proto": pa.array([keyword(number) for number in batch["protocol"].to_pylist()]),
        "app_tag": pa.array([app and app.tag for app in found], pa.string()),
        "app_category_tag": pa.array([app and app.category for app in found], pa.string()),
        "confidence": pa.array([app and app.confidence for app in found], pa.string()),
        "is_protocol": pa.array([app and app.is_protocol for app in found], pa.bool_()),
        "provider": pa.repeat(NAME, batch.num_rows),
    }
    rows = pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)
    return rows.filter(rows["app_tag"].is_valid())
