"""Helpers of this room: files of endpoints, rows of answers, and the stage in another process.

python -m mt_pipeline_tests.enrichment.parts ARGUMENTS_AS_JSON
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.enrichment.models import Endpoint
from mt_pipeline.enrichment.netify.client import Netify, RetryPolicy

KEY = "s3cret-key-of-the-test"
QUICK = RetryPolicy(tries=3, pause=0.01, longest_wait=5)
"""Retries at once; its time-outs are long, as tests count each try even on a busy machine."""

GOOGLE = Endpoint("address", "8.8.8.8")
NETFLIX = Endpoint("name", "www.netflix.com")


def endpoints_file(path: Path, endpoints: Iterable[Endpoint]) -> Path:
    """Write endpoints as the packets room does, the first one with the most bytes."""
    listed = list(endpoints)
    rows = len(listed)
    moment = pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * rows, pa.timestamp("us", tz="UTC"))
    table = pa.table(
        {
            "kind": pa.array([endpoint.kind for endpoint in listed], pa.string()),
            "endpoint": pa.array([endpoint.value for endpoint in listed], pa.string()),
            "packets": pa.array([1] * rows, pa.int64()),
            "bytes": pa.array(range(rows, 0, -1), pa.int64()),
            "first_seen": moment,
            "last_seen": moment,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def addresses(count: int) -> list[Endpoint]:
    """Return this many public addresses."""
    return [
        Endpoint("address", f"8.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}") for n in range(count)
    ]


def rows_of(output: Path) -> dict[str, dict[str, object]]:
    """Return the rows of a file of answers by endpoint."""
    return {row["endpoint"]: row for row in pq.read_table(output).to_pylist()}


def start(
    folder: Path, endpoints: Path, output: Path, *, url: str, rate: float = 1000
) -> subprocess.Popen[str]:
    """Start the stage in another process, which prints its counts as JSON.

    Processes with one `folder` share their answers and their rate file.
    """
    arguments = {
        "folder": str(folder),
        "endpoints": str(endpoints),
        "output": str(output),
        "url": url,
        "rate": rate,
    }
    command = [sys.executable, "-m", "mt_pipeline_tests.enrichment.parts", json.dumps(arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


def counts_of(process: subprocess.Popen[str]) -> dict[str, object]:
    """Wait for a process of `start`, and return its counts."""
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(printed)


def main() -> None:
    """Run the stage with the arguments of `start`."""
    given = json.loads(sys.argv[1])
    folder = Path(given["folder"])
    with (
        Netify(
            url=given["url"],
            key=KEY,
            calls_per_second=given["rate"],
            rate_file=folder / "rate.sqlite",
            retry=QUICK,
        ) as provider,
        AnswerStore(folder / "answers", answer_days=14, not_found_days=1) as store,
    ):
        counts = enrich(
            Path(given["endpoints"]), Path(given["output"]), providers=[provider], store=store
        )
    sys.stdout.write(json.dumps(asdict(counts)))


if __name__ == "__main__":
    main()
