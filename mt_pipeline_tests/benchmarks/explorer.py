"""Clicks in the explorer over a large experiment, which is made within QuestDB."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import requests

from mt_pipeline.backends.questdb import server
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import wait_until_readable
from mt_pipeline.backends.questdb.java import Reader
from mt_pipeline.schema.tables import FLOWS, PACKETS
from mt_pipeline_tests.benchmarks.measuring import processor_of, say
from mt_pipeline_tests.browsers import chromium
from mt_pipeline_tests.services import eventually, free_ports

EXPERIMENT = "bench"
READER = Reader("reader", "may only read")
[_PORT] = free_ports(1)
_SECONDS = 6 * 3600
_CONVERSATIONS = 128_700
_LONG = "bench/long.pcap"
"""A capture of one conversation."""
_ROUNDS = 5
_CLICKS = 60
_COLUMNS = {
    "capture": "'bench/' || (c % 20) || '.pcap'",
    "conversation": "cast(c AS INT)",
    "stream_index": "cast(c AS INT)",
    "ip_proto": "CASE WHEN c % 4 = 0 THEN 'UDP' ELSE 'TCP' END",
    "protocol": "CASE WHEN c % 4 = 0 THEN 'quic' WHEN c % 5 = 0 THEN 'http' ELSE 'tls' END",
    "direction": "CASE WHEN c % 9 = 0 THEN 'inside' ELSE 'outside' END",
    "local": "'192.168.1.' || (c % 40)",
    "remote": "'93.184.' || (c % 97) || '.' || (c % 250)",
    "port_local": "cast(40000 + c % 20000 AS INT)",
    "port_remote": "cast(CASE WHEN c % 5 = 0 THEN 80 ELSE 443 END AS INT)",
    "eth_local": "'02:00:00:00:00:' || (10 + c % 40)",
    "device_local": "CASE WHEN c % 3 = 0 THEN NULL ELSE 'device ' || (c % 40) END",
    "packets_out": "1 + c % 7",
    "bytes_out": "100 + x % 1500",
    "packets_in": "1 + c % 9",
    "bytes_in": "100 + x % 9000",
    "tls_sni": "'host' || (c % 4000) || '.example' || (c % 300) || '.com'",
    "tls_alpn": "CASE WHEN c % 4 = 0 THEN 'h3' ELSE 'h2' END",
    "app_tag": "CASE WHEN c % 6 = 0 THEN NULL ELSE 'app.' || (c % 120) END",
    "app_category_tag": "CASE WHEN c % 6 = 0 THEN NULL ELSE 'category.' || (c % 12) END",
    "geo_country": "'Country ' || (c % 60)",
    "geo_city": "'City ' || (c % 400)",
    "geo_lon": "cast(c % 180 AS DOUBLE)",
    "geo_lat": "cast(c % 90 AS DOUBLE)",
    "remote_name": "'host' || (c % 4000) || '.example' || (c % 300) || '.com'",
    "remote_name_source": "CASE WHEN c % 5 = 0 THEN 'http_host' ELSE 'server_name' END",
    "remote_names": "cast(1 AS INT)",
    "remote_domain": "'example' || (c % 300) || '.com'",
    "remote_asn": "64500 + c % 200",
    "remote_organisation": "'Organisation ' || (c % 200)",
    "remote_party": "CASE WHEN c % 3 = 0 THEN 'first' ELSE 'third' END",
}
"""Values of a row by its number `x` and its conversation `c`."""


def clicks(folder: Path, *, flows: int, packets: int) -> None:
    """Print how long clicks take, and what they cost.

    Args:
        folder: data folder of a benchmark that loaded a capture into the experiment `bench`.
        flows: how many to make.
        packets: of one conversation.
    """
    with server.start(
        folder / "questdb", http_port=0, pg_port=0, user="admin", password="quest", reader=READER
    ) as running:
        database = Database("127.0.0.1", running.http_port, running.pg_port, "admin", "quest")
        with database.connect() as connection:
            _make(connection, flows)
            _make_packets(connection, packets)
        with _explorer(folder) as process:
            say(f"\nClicks in the explorer, {flows:,} flows, {_CONVERSATIONS:,} conversations")
            first = _asked(process.pid, "view", {"e": EXPERIMENT}, of=running.pid)
            say(
                f"first view: {first[0]:.1f} s, processor {first[1]:.1f} s, "
                f"of QuestDB {first[2]:.1f} s, load of the machine {os.getloadavg()[0]:.1f}"
            )
            _print(process.pid)
            _read_packets(process.pid, running.pid, packets)
            say(f"memory: {_memory(process.pid):,.0f} MiB")
            _click(folder)


def _make(connection: psycopg.Connection, flows: int) -> None:
    step = _SECONDS * 10**6 // flows
    first = f"cast(1700000000000000 + x * {step} AS TIMESTAMP)"
    made = {
        "ts": f"date_trunc('second', {first})",
        "first_ts": first,
        "last_ts": first,
        "experiment": f"'{EXPERIMENT}'",
        "load": "cast(1 AS LONG)",
        "gone": "false",
        **_COLUMNS,
    }
    connection.execute(f"TRUNCATE TABLE {FLOWS.name}".encode())
    query = (
        f"INSERT INTO {FLOWS.name} ({', '.join(made)}) SELECT {', '.join(made.values())} "
        f"FROM (SELECT x, 1 + (x * 7919) % {_CONVERSATIONS} AS c FROM long_sequence({flows}))"
    )
    connection.execute(query.encode())
    wait_until_readable(connection, FLOWS)


def _make_packets(connection: psycopg.Connection, packets: int) -> None:
    """Make a conversation of so many packets, each like the first one of TCP that was loaded."""
    changed = {
        "ts": "cast(1700000000000000 + x * 4000 AS TIMESTAMP)",
        "capture": f"'{_LONG}'",
        "frame_number": "cast(x AS INT)",
        "frame_len": "cast(60 + x % 1400 AS INT)",
        "conversation": "cast(1 AS INT)",
    }
    values = ", ".join(changed.get(name, name) for name in PACKETS.types)
    query = (
        f"INSERT INTO {PACKETS.name} ({', '.join(PACKETS.types)}) SELECT {values} "
        f"FROM (SELECT * FROM {PACKETS.name} WHERE ip_proto = 'TCP' LIMIT 1) "
        f"CROSS JOIN long_sequence({packets})"
    )
    connection.execute(query.encode())
    wait_until_readable(connection, PACKETS)


@contextmanager
def _explorer(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    environment = {
        "PATH": os.environ["PATH"],
        "MT_DATA_DIR": str(folder),
        "MT_QUESTDB_READER": READER.name,
        "MT_QUESTDB_READER_PASSWORD": READER.password,
        "MT_EXPLORER_PORT": str(_PORT),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mt_pipeline.service.explorer_server"], env=environment
    )
    try:
        while True:
            try:
                requests.get(f"http://127.0.0.1:{_PORT}/server_info", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait()


def _print(pid: int) -> None:
    middle = 1_700_000_000 + _SECONDS // 2
    chosen = {
        "no filter": {},
        "one filter": {"app": "is:app.7"},
        "not one": {"app": "not:app.7"},
        "three filters": {"app": "not:app.7", "protocol": "is:tls", "country": "not:Country 3"},
        "an hour": {"since": str(middle), "until": str(middle + 3600)},
        "by name": {"by": "name"},
        "by country, packets": {"by": "country", "measure": "packets"},
        "conversations": {"measure": "conversations"},
        "since start": {"axis": "start"},
        "halves compared": {"vs_since": str(middle), "until": str(middle)},
    }
    calls = [(name, "view", query) for name, query in chosen.items()]
    calls += [
        ("table of names, searched", "table", {"dimension": "name", "find": "host12"}),
        ("table of addresses", "table", {"dimension": "remote", "sort": "conversations"}),
    ]
    say(f"| {'':<26} | median s | 95 % s | processor s |\n|---|---|---|---|")
    everything = list[float]()
    for name, call, query in calls:
        found = [_asked(pid, call, {"e": EXPERIMENT, **query}) for _ in range(_ROUNDS)]
        seconds = sorted(each[0] for each in found)
        everything += seconds
        processor = statistics.mean(each[1] for each in found)
        say(f"| {name:<26} | {seconds[_ROUNDS // 2]:.3f} | {seconds[-1]:.3f} | {processor:.3f} |")
    everything.sort()
    say(f"95 % of all clicks: {everything[int(len(everything) * 0.95)]:.3f} s")


def _read_packets(pid: int, database: int, packets: int) -> None:
    """Print what windows of the long conversation cost: its first, one amidst, its last."""
    query = {"experiment": EXPERIMENT, "capture": _LONG, "conversation": "1"}
    windows = {"first": {}, "middle": {"after": packets // 2}, "last": {"after": packets - 200}}
    say(f"windows of {packets:,} packets: | seconds | processor s | of QuestDB |")
    for name, after in windows.items():
        found = [_asked(pid, "packets", query | after, of=database) for _ in range(_ROUNDS)]
        seconds, processor, other = (statistics.median(each) for each in zip(*found, strict=True))
        say(f"| {name:<26} | {seconds:.3f} | {processor:.3f} | {other:.3f} |")


def _click(folder: Path) -> None:
    """Click values of tables in a real browser; it says how long until all is drawn anew."""
    drawn = "return performance.getEntriesByName('drawn').map((entry) => entry.duration)"
    click = """
        const rows = [...document.querySelectorAll(".row button.only")];
        rows[(arguments[0] * 7) % rows.length].click();
    """
    with chromium(folder / "profile", "window-size=1300,1000") as browser:
        browser.get(f"http://127.0.0.1:{_PORT}/?e={EXPERIMENT}")
        found: list[float] = []
        for number in range(2 * _CLICKS):
            assert eventually(lambda: len(browser.execute_script(drawn)) > number)  # noqa: B023
            if number % 2:
                browser.back()  # one filter at a time
            else:
                browser.execute_script(click, number)
        found = sorted(browser.execute_script(drawn)[1:])
    say(
        f"in a browser, {len(found)} clicks until drawn: median {found[len(found) // 2]:.0f} ms, "
        f"95 % {found[int(len(found) * 0.95)]:.0f} ms"
    )


def _asked(
    pid: int, call: str, query: Mapping[str, object], of: int | None = None
) -> tuple[float, float, float]:
    """Return seconds, processor seconds of the explorer, and those of another process."""
    before, other = processor_of(pid), processor_of(of) if of else 0
    started = time.monotonic()
    answer = requests.get(f"http://127.0.0.1:{_PORT}/api/{call}?{urlencode(query)}", timeout=600)
    seconds = time.monotonic() - started
    assert answer.ok, answer.text
    return seconds, processor_of(pid) - before, (processor_of(of) if of else 0) - other


def _memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
