"""How long the queries of the dashboards take over a whole experiment."""

import time
from pathlib import Path

from mt_pipeline.questdb import server
from mt_pipeline.questdb.database import Database
from mt_pipeline_tests.benchmarks.measuring import say
from mt_pipeline_tests.grafana.plugin import expand, queries


def timed(folder: Path) -> None:
    """Say the best time of three of each query, slowest first.

    Args:
        folder: data folder of a benchmark that loaded the experiment `bench`.
    """
    with server.start(folder / "questdb", http_port=0, pg_port=0, user="admin", password="quest") as database:
        best = _best(Database("127.0.0.1", database.http_port, database.pg_port, "admin", "quest"))
    say(f"\n{'query of a dashboard, the whole experiment, best of three':<70} {'seconds':>9}")
    for name, seconds in sorted(best.items(), key=lambda one: -one[1]):
        say(f"{name:<70} {seconds:>9.3f}")


def _best(database: Database) -> dict[str, float]:
    best = {}
    with database.connect() as connection:
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
