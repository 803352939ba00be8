"""The numbers of a page equal tshark's own statistics, and DuckDB's counts of typed packets."""

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from mt_pipeline.report.formatting import time
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session
from mt_pipeline_tests.pipelines import Lab
from mt_pipeline_tests.report.parts import Page, bars, number, page_of
from mt_pipeline_tests.report.tshark_statistics import hierarchy, is_public, statistics

BULK, EVEN = "report bulk/a day.pcap", "report even/even.pcap"
PACKETS = 6_000


@pytest.fixture(scope="module")
def bulk(lab: Lab) -> Page:
    """Report on a busy network."""
    (lab.inbox / BULK).parent.mkdir(parents=True)
    write_bulk(lab.inbox / BULK, PACKETS)
    assert lab.run(BULK, workspace=lab.workspace(enrichment="offline")).success
    return Page(page_of(lab.database, "report_bulk"))


@pytest.fixture(scope="module")
def even(lab: Lab) -> Page:
    """Report on three minutes with a packet each half second, from a whole minute on."""
    (lab.inbox / EVEN).parent.mkdir(parents=True)
    conversations = [
        dns(client_port=50_000 + number) + tls_session(client_port=51_000 + number, data_packets=1)
        for number in range(50)
    ]
    write_pcap(
        lab.inbox / EVEN,
        timed(
            [frame for conversation in conversations for frame in conversation][:360],
            start_ns=1_700_000_040 * 10**9,
            step_ns=500_000_000,
        ),
    )
    assert lab.run(EVEN).success
    return Page(page_of(lab.database, "report_even"))


def by_protocol(capture: Path) -> dict[str, tuple[int, int]]:
    """Sum up bytes and frames of each protocol, anywhere in the hierarchy."""
    sums: dict[str, tuple[int, int]] = {}
    for path, size, frames in hierarchy(capture):
        before = sums.get(path[-1], (0, 0))
        sums[path[-1]] = (before[0] + size, before[1] + frames)
    return sums


def endpoints(capture: Path) -> dict[str, tuple[int, int]]:
    """Read packets and bytes of each address that is globally reachable."""
    lines = [
        line.split()
        for kind in ("ip", "ipv6")
        for line in statistics(capture, f"endpoints,{kind}").splitlines()
    ]
    return {
        line[0]: (int(line[1]), int(line[2]))
        for line in lines
        if len(line) > 6 and re.match(r"[0-9a-f]+[.:]", line[0]) and is_public(line[0])
    }


def test_the_totals_are_those_of_io_phs_and_io_stat(bulk: Page, lab: Lab):
    expected = re.search(
        r"\| +[0.]+ <> +\S+ \| +(\d+) \| +(\d+) \|", statistics(lab.inbox / BULK, "io,stat,0")
    )

    assert expected
    assert by_protocol(lab.inbox / BULK)["eth"] == (
        number(bulk.figures["Bytes on the wire"]),
        number(bulk.figures["Packets"]),
    )
    assert (
        (number(bulk.figures["Packets"]), number(bulk.figures["Bytes on the wire"]))
        == (PACKETS, int(expected[2]))
        == (int(expected[1]), int(expected[2]))
    )


def test_each_step_has_the_bytes_that_io_stat_counts(even: Page, lab: Lab):
    expected = re.findall(
        r"^\| +\d+ <> +\S+ +\| +\d+ \| +(\d+) \|$",
        statistics(lab.inbox / EVEN, "io,stat,2"),
        re.MULTILINE,
    )
    shown = [sum(map(number, values)) for _, *values in even.tables["Bytes over time"]]

    assert len(shown) == 90
    assert shown == [int(size) for size in expected]


def test_protocols_are_those_of_io_phs(bulk: Page, lab: Lab):
    expected, shown = by_protocol(lab.inbox / BULK), bars(bulk, "Protocols")

    assert (shown["DNS"], shown["mDNS"], shown["arp"]) == (
        expected["dns"],
        expected["mdns"],
        expected["arp"],
    )
    assert sum(size for size, _ in shown.values()) == expected["eth"][0]
    assert shown["QUIC"] == expected["quic"]
    assert shown["TLS"][1] >= expected["tls"][1] > 0, (
        "packets of a TLS stream without a record of their own are of it too"
    )
    assert bars(bulk, "Encrypted or plain, all")["encrypted"] == tuple(
        map(sum, zip(shown["QUIC"], shown["TLS"], strict=True))
    )


def test_destinations_are_those_of_endpoints_and_of_conv(bulk: Page, lab: Lab):
    expected, shown = endpoints(lab.inbox / BULK), defaultdict[str, list[int]](lambda: [0, 0])
    for address, *_, packets, size, _, _ in bulk.tables["Destinations"]:
        shown[address][0] += number(packets)
        shown[address][1] += number(size)
    frames = defaultdict[str, int](int)
    for source, destination, total in re.findall(
        r"^(\S+) +<-> +(\S+) .*?\s(\d+) \S+ \S+ +[\d.]+ +[\d.]+ *$",
        statistics(lab.inbox / BULK, "conv,ip"),
        re.M,
    ):
        for address in (source, destination):
            frames[address] += int(total)

    assert 100 < len(expected) == number(bulk.figures["Public addresses"])
    assert {address: tuple(sums) for address, sums in shown.items()} == {
        address: expected[address] for address in shown
    }
    of_ipv4 = {address: sums[0] for address, sums in shown.items() if "." in address}
    assert {address: frames[address] for address in of_ipv4} == of_ipv4


@pytest.fixture(scope="module")
def typed(bulk: Page, lab: Lab) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the files of typed packets and of their streams' names in DuckDB."""
    assert bulk
    [packets], [names] = (
        list((lab.data / "endpoints" / "report_bulk").rglob(f"*.{what}.parquet"))
        for what in ("packets", "names")
    )
    with duckdb.connect() as connection:
        connection.read_parquet(str(packets)).create_view("packets")
        connection.read_parquet(str(names)).create_view("names")
        yield connection


def test_devices_are_those_that_duckdb_counts(bulk: Page, typed: duckdb.DuckDBPyConnection):
    counted = defaultdict[str, tuple[int, int]](lambda: (0, 0))
    for hardware, address, size, packets in typed.sql(
        "SELECT eth_src, coalesce(ip_src, ipv6_src), sum(frame_len), count() FROM packets "
        "GROUP BY ALL"
    ).fetchall():
        if address is None or not ipaddress.ip_address(address).is_global:
            before = counted[hardware]
            counted[hardware] = (before[0] + int(size), before[1] + packets)

    shown = {row[0]: (number(row[3]), number(row[5])) for row in bulk.tables["Devices"]}
    assert len(shown) == 50 < len(counted) == number(bulk.figures["Devices"])
    assert shown == {hardware: counted[hardware] for hardware in shown}


def test_steps_are_those_that_duckdb_counts(bulk: Page, typed: duckdb.DuckDBPyConnection):
    shown = {row[0]: sum(map(number, row[1:])) for row in bulk.tables["Bytes over time"]}
    counted = typed.sql(
        "SELECT epoch_us(ts) // 50_000 * 50_000 AS step, sum(frame_len) FROM packets GROUP BY step"
    ).fetchall()

    assert 50 < len(shown) <= 120
    assert shown == {time(step, milliseconds=True): int(size) for step, size in counted}


def test_server_names_are_those_that_duckdb_counts(bulk: Page, typed: duckdb.DuckDBPyConnection):
    """Each stream has one name here, and no tunnel hides one."""
    per_name = typed.sql(
        """SELECT coalesce(names.tls_sni, said_sni) AS name, sum(frame_len)::BIGINT, count()
        FROM packets LEFT JOIN names USING (is_tcp, stream_index)
        WHERE name IS NOT NULL GROUP BY name ORDER BY 2 DESC, name"""
    ).fetchall()

    assert bars(bulk, "Server names") == {
        name: (size, packets) for name, size, packets in per_name[:15]
    }
    assert number(bulk.figures["Server names"]) == len(per_name)


def test_captures_a_year_apart_are_a_strip_each(lab: Lab):
    """Regression: their chart was two lines in an empty year."""
    for name, start in (("a", 1_700_000_040), ("b", 1_700_000_040 + 365 * 86_400)):
        path = lab.inbox / f"report years/{name}.pcap"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = [frame for _ in range(30) for frame in dns("www.example.com")]
        write_pcap(path, timed(frames, start_ns=start * 10**9, step_ns=10**9))
        assert lab.run(f"report years/{name}.pcap").success

    page = Page(page_of(lab.database, "report_years"))

    rows = page.tables["Bytes over time"]
    assert [row[0] for row in rows[:2]] == ["2023-11-14 22:14:00", "2023-11-14 22:14:01"]
    assert [row[0] for row in rows[60:62]] == ["2024-11-13 22:14:00", "2024-11-13 22:14:01"]
    assert len(rows) == 120
    assert all(sum(map(number, row[1:])) > 0 for row in rows)
    assert sum(number(cell) for row in rows for cell in row[1:]) == number(
        page.figures["Bytes on the wire"]
    )
    assert "There are 2 stretches of time with long gaps between them" in page.text
    assert (
        len(
            [
                tag
                for tag, attributes in page.tags
                if tag == "svg" and attributes.get("class") == "chart wide"
            ]
        )
        == 2
    )
