"""`make bench`: from the file to readable rows, beside tshark alone and the original's own tshark command, in turn on one capture; then dashboards.

BENCH_PACKETS (1,000,000) and BENCH_ROUNDS (3) say how much. Times of one command move by a quarter on a shared machine: read the ratios.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mt_pipeline.questdb import server
from mt_pipeline.questdb.database import Database
from mt_pipeline.settings import PROJECT
from mt_pipeline.tshark.command import Tshark
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.grafana.plugin import expand, queries

ORIGINAL_FIELDS = (
    "frame.time_epoch ip.src ip.dst frame.len ip.proto tcp.port udp.port tls.handshake.extensions_server_name "
    "tls.handshake.extensions_alpn_str tcp.stream udp.stream"
).split()


def main() -> None:
    packets, rounds = int(os.environ.get("BENCH_PACKETS", "1000000")), int(os.environ.get("BENCH_ROUNDS", "3"))
    tshark = Tshark.find()
    with tempfile.TemporaryDirectory(prefix="mt-bench-", dir=PROJECT) as folder:
        capture = Path(folder) / "bulk.pcap"
        say(f"building a capture of {packets:,} packets")
        write_bulk(capture, packets)
        say(f"tshark {tshark.version}, {os.cpu_count()} cores, {capture.stat().st_size:,} bytes, {rounds} rounds")
        database = server.start(Path(folder) / "questdb", http_port=0, pg_port=0, user="admin", password="quest")
        with database:
            results = [one_round(number, tshark, capture, Path(folder), database) for number in range(rounds)]
            asked = dashboards(database)
    names = {
        "original": "tshark -T json, the original's fields",
        "tshark": "tshark alone, our command",
        "ours": "ours, from the start of the run to readable rows",
    }
    original = statistics.median(result["original"] for result in results)
    say(f"\n{'median of the rounds':<50} {'seconds':>9} {'packets/s':>11} {'x original':>11}")
    for key, name in names.items():
        seconds = statistics.median(result[key] for result in results)
        ratio = statistics.median(result[key] / result["original"] for result in results)
        say(f"{name:<50} {seconds:>9.1f} {packets / seconds:>11,.0f} {ratio:>11.2f}")
    say(f"share of tshark in ours: {statistics.median(result['tshark'] / result['ours'] for result in results):.0%}")
    say(f"peak memory of the ingesting Python process: {max(result['memory'] for result in results):.0f} MiB")
    say(f"again with the documents there: {statistics.median(result['again'] for result in results) / original:.2f} x original")
    say(f"\n{'query of a dashboard, the whole experiment, best of three':<70} {'seconds':>9}")
    for name, seconds in sorted(asked.items(), key=lambda one: -one[1]):
        say(f"{name:<70} {seconds:>9.3f}")


def one_round(number: int, tshark: Tshark, capture: Path, folder: Path, database: server.Server) -> dict[str, float]:
    fields = [part for field in ORIGINAL_FIELDS for part in ("-e", field)]
    result = {
        "original": timed([tshark.program, "-r", str(capture), "-Y", "", "-T", "json", *fields]),
        "tshark": timed(tshark.command(capture, "")),
        **ingested(number, capture, folder, database),
    }
    say("  ".join(f"{name} {value:.1f}" for name, value in result.items()))
    return result


def dashboards(database: server.Server) -> dict[str, float]:
    """Time each query of the dashboards over the whole experiment, and say its best time of three."""
    where = Database("127.0.0.1", database.http_port, database.pg_port, "admin", "quest")
    best = {}
    with where.connect() as connection:
        first, last = connection.execute("SELECT cast(min(first_ts) AS LONG), cast(max(last_ts) AS LONG) FROM flows").fetchone() or (0, 0)
        spans = {"mt-compare": (0, last - first), "mt-pipeline": (0, time.time_ns() // 1000)}
        for query in queries():
            start, end = spans.get(query.dashboard, (first, last))
            sql = expand(query.sql, start=start, end=end, experiment="bench").encode()
            times = []
            for _ in range(3):
                started = time.monotonic()
                connection.execute(sql).fetchall()
                times.append(time.monotonic() - started)
            best[str(query)] = min(times)
    return best


def timed(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - started


def ingested(number: int, capture: Path, folder: Path, database: server.Server) -> dict[str, float]:
    environment = {
        **os.environ,
        "MT_DATA_DIR": str(folder / f"data{number}"),
        "MT_ENRICHMENT": "none",
        "MT_QUESTDB_HOST": "127.0.0.1",
        "MT_QUESTDB_HTTP_PORT": str(database.http_port),
        "MT_QUESTDB_PG_PORT": str(database.pg_port),
    }
    said = subprocess.run([sys.executable, "-m", __spec__.name, str(capture)], env=environment, stdout=subprocess.PIPE, check=True).stdout
    result: dict[str, float] = json.loads(said.splitlines()[-1])
    return result


def ingest(capture: Path) -> dict[str, float]:
    """Ingest twice in this process, as the terminal does, and say what Dagster's runs took."""
    import dagster as dg

    from mt_pipeline import settings
    from mt_pipeline.ingesting import ingest as ingest_captures

    for _ in range(2):
        if not ingest_captures(settings.load(), [capture], name="bench", display_filter=None):
            sys.exit(1)
    with dg.DagsterInstance.get() as instance:
        again, ours = [record.end_time - record.start_time for record in instance.get_run_records()]
    return {"ours": ours, "again": again, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 1:
        say(json.dumps(ingest(Path(sys.argv[1]))))
    else:
        main()
