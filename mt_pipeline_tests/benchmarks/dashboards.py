"""Time of the dashboards' queries over a large experiment: a capture copied within QuestDB."""

import time
from pathlib import Path

import psycopg

from mt_pipeline.backends.questdb import server
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import wait_until_readable
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table
from mt_pipeline_tests.benchmarks.measuring import processor_of, say
from mt_pipeline_tests.grafana.plugin import expand, queries


def timed(folder: Path, *, rows: int) -> None:
    """Print the best of three times of each query, the most expensive first.

    Args:
        folder: data folder of a benchmark that loaded a capture into the experiment `bench`.
        rows: smallest number of packets to query.
    """
    with server.start(
        folder / "questdb", http_port=0, pg_port=0, user="admin", password="quest"
    ) as running:
        database = Database("127.0.0.1", running.http_port, running.pg_port, "admin", "quest")
        with database.connect() as connection:
            packets = _grown(connection, rows)
            best = _best(connection, running.pid)
    say(f"\nQueries of the dashboards, {packets:,} packets of one experiment, best of three")
    say(f"| {'':<80} | seconds | processor of QuestDB |\n|---|---|---|")
    for name, (seconds, processor) in sorted(
        best.items(), key=lambda item: item[1][::-1], reverse=True
    ):
        say(f"| {name:<80} | {seconds:.2f} | {processor:.2f} |")


def _grown(connection: psycopg.Connection, rows: int) -> int:
    """Copy the capture until there are so many packets, each copy a second after the last."""
    span, packets = connection.execute(
        "SELECT cast(max(ts) AS LONG) - cast(min(ts) AS LONG), count() FROM captured_packets"
    ).fetchone() or (0, 0)
    apart = span // 1_000_000 + 2
    copies = -(-rows // packets)
    for table in (PACKETS, FLOWS):
        for number in range(1, copies):
            connection.execute(_copying(table, number, apart).encode())
        wait_until_readable(connection, table)
    return packets * copies


def _copying(table: Table, number: int, seconds: int) -> str:
    """Return the statement that makes a copy, with the domains of server names as applications."""
    shifted = {
        name: f"dateadd('s', {number * seconds}, {name})" for name in ("ts", "first_ts", "last_ts")
    }
    changed = {
        **shifted,
        "capture": f"capture || '.{number}'",
        "app_tag": "tls_sni_domain",
        "tls_sni_netify_app_tag": "tls_sni_domain",
    }
    values = ", ".join(changed.get(name, name) for name in table.types)
    return (
        f"INSERT INTO {table.name} ({', '.join(table.types)}) "
        f"SELECT {values} FROM {table.name} WHERE NOT capture LIKE '%.pcap.%'"
    )


def _best(connection: psycopg.Connection, process: int) -> dict[str, tuple[float, float]]:
    """Measure seconds and processor seconds of each query. Other processes disturb these less."""
    best = {}
    first, last = connection.execute(
        "SELECT cast(min(first_ts) AS LONG), cast(max(last_ts) AS LONG) FROM flows"
    ).fetchone() or (0, 0)
    spans = {"mt-compare": (0, last - first), "mt-pipeline": (0, time.time_ns() // 1000)}
    for query in queries():
        start, end = spans.get(query.dashboard, (first, last))
        sql = expand(query.sql, start=start, end=end, experiment="bench").encode()
        seconds, processor = [], []
        for _ in range(3):
            started, before = time.monotonic(), processor_of(process)
            connection.execute(sql).fetchall()
            seconds.append(time.monotonic() - started)
            processor.append(processor_of(process) - before)
        best[str(query)] = min(seconds), min(processor)
    return best
