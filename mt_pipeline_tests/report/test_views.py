"""The dashboard `mt-experiment`, the report and tshark's own statistics show the same numbers.

Each shape of traffic is an experiment of two captures. Our protocol is that of a stream, tshark's
that of a packet; tests name the packets where these differ. Other tests check each view by itself.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from mt_pipeline_tests.building import odd, traffic, tunnels
from mt_pipeline_tests.building.files import START_NS, in_time_order, write_pcap, write_pcapng
from mt_pipeline_tests.building.traffic import CLIENT6, SERVER6
from mt_pipeline_tests.grafana.plugin import expand, queries
from mt_pipeline_tests.pipelines import Lab
from mt_pipeline_tests.report.parts import Page, bars, number, page_of
from mt_pipeline_tests.report.tshark_statistics import hierarchy, is_public, statistics

Sums = Mapping[str, tuple[int, int]]
"""Bytes and packets by name."""

QUERIES = {query.title: query.sql for query in queries() if query.dashboard == "mt-experiment"}
RESOLVER6 = "2001:4860:4860::8888"


def shapes() -> dict[str, list[list[bytes]]]:
    """Make the conversations of each experiment."""
    tls, ask = traffic.tls_session, traffic.dns("unreachable.example.com", client_port=53_010)[0]
    syn, *_, fin = tls("quoted.example.com", client_port=50_020, data_packets=0)
    ask6 = traffic.dns(
        "unreachable6.example.com", client=CLIENT6, resolver=RESOLVER6, client_port=53_011
    )[0]
    result = {
        "tls": [tls(client_port=50_001), tls("split.example.com", segments=3, client_port=50_002)],
        "dns": [
            traffic.dns(),
            traffic.dns(resolver=traffic.ROUTER, client_port=53_001),
            traffic.mdns(),
            traffic.dhcp(),
            traffic.broadcast(),
        ],
        "quic": [
            traffic.quic_session(),
            traffic.quic_session("pieces.example.com", pieces=2, client_port=51_001),
        ],
        "six": [
            tls("six.example.com", client=CLIENT6, server=SERVER6, client_port=50_006),
            traffic.quic_session(
                "quic6.example.com", client=CLIENT6, server=SERVER6, client_port=51_002
            ),
            traffic.dns("six.example.com", client=CLIENT6, resolver=RESOLVER6, client_port=53_006),
            traffic.ping6(),
        ],
        "quoted": [
            traffic.ping(),
            [ask, tunnels.icmp_error(ask)],
            [syn, tunnels.icmp_error(syn, kind=11, code=0), fin],
            [ask6, tunnels.icmpv6_error(ask6)],
        ],
        "no_ip": [traffic.arp(), odd.without_ip()],
        "plain": [
            traffic.http(),
            traffic.ssdp(),
            traffic.igmp(),
            traffic.udp_exchange([(True, b"over"), (False, b"the net")], server="192.168.1.30"),
        ],
        "transit": [
            traffic.dns(client=traffic.SERVER),
            tls(client=traffic.OTHER_SERVER, client_port=50_003),
        ],
    }
    return {
        **result,
        "mixed": [
            conversation for conversations in result.values() for conversation in conversations
        ],
    }


SHAPES = tuple(shapes())


@dataclass(frozen=True)
class Views:
    """An experiment as the dashboard, the report and tshark see it."""

    lab: Lab
    experiment: str
    files: Sequence[Path]
    page: Page

    def dashboard(self, title: str) -> list[dict[str, object]]:
        """Ask the query of a panel over all of time, without a top."""
        sql = expand(
            QUERIES[title],
            start=START_NS // 1000 - 10**6,
            end=START_NS // 1000 + 10**12,
            experiment=self.experiment,
            top="1000",
        )
        with self.lab.database.connect() as connection:
            return (
                connection.cursor(row_factory=psycopg.rows.dict_row)
                .execute(sql.encode())
                .fetchall()
            )

    def panels(self, what: str) -> Sums:
        """Sum up the panels `Bytes by …` and `Packets by …`."""
        sums = {unit: Counter[str]() for unit in ("Bytes", "Packets")}
        for unit, counts in sums.items():
            for row in self.dashboard(f"{unit} by {what}"):
                counts[row["name"]] += row["value"]
        return {name: (total, sums["Packets"][name]) for name, total in sums["Bytes"].items()}

    def tshark(self, what: str) -> Iterator[str]:
        """Ask tshark for a statistic of each file, line by line."""
        for file in self.files:
            yield from statistics(file, what).splitlines()

    def io_stat(self) -> tuple[int, int]:
        """Read bytes and packets of all files."""
        lines = [line.split("|") for line in self.tshark("io,stat,0") if "<>" in line]
        assert len(lines) == len(self.files)
        return sum(int(line[3]) for line in lines), sum(int(line[2]) for line in lines)

    def hierarchy(self) -> list[tuple[tuple[str, ...], int, int]]:
        """Read the hierarchies of all files, one after the other."""
        return [place for file in self.files for place in hierarchy(file)]

    def spoken(self, protocol: str) -> tuple[int, int]:
        """Sum up bytes and packets of a protocol in the hierarchy, without those in ICMP errors."""
        entries = [
            (size, packets)
            for path, size, packets in self.hierarchy()
            if path[-1] == protocol
            and protocol not in path[:-1]
            and not {"icmp", "icmpv6"} & set(path[:-1])
        ]
        return sum(size for size, _ in entries), sum(packets for _, packets in entries)

    def directions(self) -> Sums:
        """Sum up bytes and packets by direction, from tshark's conversations of addresses.

        Packets without addresses are in no conversation.
        """
        sums: dict[str, tuple[int, int]] = {}
        for kind in ("ip", "ipv6"):
            for line in self.tshark(f"conv,{kind}"):
                if "<->" in line:
                    # Sizes of 10,000 bytes and more are rounded: not a shape for this test.
                    source, destination, packets, total = re.match(
                        r"(\S+) +<-> (\S+) .* (\d+) (\d+) bytes +[\d.]+ +[\d.]+ *$", line
                    ).groups()
                    public_ends = is_public(source) + is_public(destination)
                    name = ("inside", "outside", "transit")[public_ends]
                    before = sums.get(name, (0, 0))
                    sums[name] = (before[0] + int(total), before[1] + int(packets))
        size, packets = (
            all_of - sum(parts)
            for all_of, parts in zip(
                self.io_stat(), zip(*sums.values(), strict=True) if sums else ((), ()), strict=True
            )
        )
        return {**sums, **({"none": (size, packets)} if packets else {})}


@pytest.fixture(scope="module")
def loaded(lab: Lab) -> Mapping[str, Views]:
    files = {}
    for name, conversations in shapes().items():
        (lab.inbox / f"views {name}").mkdir(parents=True)
        first, second = (
            lab.inbox / f"views {name}" / file for file in ("first.pcap", "second.pcapng")
        )
        files[name] = (
            write_pcap(first, in_time_order(conversations)),
            write_pcapng(second, in_time_order(conversations[:1], start_ns=START_NS + 90 * 10**9)),
        )
    ran = lab.run(
        *(str(file.relative_to(lab.inbox)) for both in files.values() for file in both),
        workspace=lab.workspace(enrichment="offline"),
    )
    assert ran.success, ran.failure
    return {
        name: Views(lab, f"views_{name}", both, Page(page_of(lab.database, f"views_{name}")))
        for name, both in files.items()
    }


@pytest.fixture(params=SHAPES)
def views(request: pytest.FixtureRequest, loaded: Mapping[str, Views]) -> Views:
    return loaded[request.param]


def test_totals_are_the_same(views: Views):
    [totals], [experiment] = views.dashboard("Totals"), views.dashboard("Whole experiment")
    figures = views.page.figures

    assert (
        (totals["bytes"], totals["packets"])
        == (experiment["bytes"], experiment["packets"])
        == views.io_stat()
    )
    assert (number(figures["Bytes on the wire"]), number(figures["Packets"])) == views.io_stat()
    assert totals["captures"] == number(figures["Captures"]) == len(views.files)
    assert sum(size for size, _ in bars(views.page, "Protocols").values()) == totals["bytes"]


def test_directions_are_those_of_the_conversations_of_addresses(views: Views):
    expected, shown = views.directions(), views.panels("direction")
    of_public = sum(expected.get(name, (0, 0))[0] for name in ("outside", "transit"))

    assert shown == expected
    assert (
        f"Shares are of the {of_public:,} bytes of packets with a public address" in views.page.text
    )
    assert sum(size for size, _ in bars_of(views.page, "Applications").values()) == of_public


def bars_of(page: Page, caption: str) -> Sums:
    """Read a list that may be empty."""
    return {} if page.tables[caption] == [["nothing"]] else bars(page, caption)


def test_protocols_are_those_of_the_hierarchy(views: Views):
    shown, of_report = views.panels("protocol"), bars_of(views.page, "Protocols")

    def both(*names: str) -> tuple[int, int]:
        return sum(shown.get(name, (0, 0))[0] for name in names), sum(
            shown.get(name, (0, 0))[1] for name in names
        )

    for ours, theirs in {
        "dns": "DNS",
        "mdns": "mDNS",
        "quic": "QUIC",
        "ssdp": "SSDP",
        "arp": "arp",
        "icmp": "icmp",
        "icmpv6": "icmpv6",
    }.items():
        assert both(ours) == of_report.get(theirs, (0, 0)) == views.spoken(ours), ours
    # A stream is of what it carries, its handshake too.
    assert both("tls", "http", "tcp") == views.spoken("tcp")
    assert both("tls") == of_report.get("TLS", (0, 0))
    assert both("http") == of_report.get("HTTP without encryption", (0, 0))
    assert both("tls")[1] >= views.spoken("tls")[1]
    assert sum(packets for _, packets in shown.values()) == views.io_stat()[1]


def test_every_shape_has_what_it_is_named_for(loaded: Mapping[str, Views]):
    kinds = {
        "tls": "tls",
        "dns": "dns",
        "quic": "quic",
        "six": "ipv6",
        "quoted": "icmp",
        "no_ip": "arp",
        "plain": "http",
        "transit": "dns",
    }

    assert all(loaded[shape].spoken(kind)[1] for shape, kind in kinds.items())
    assert all(loaded["mixed"].spoken(kind)[1] for kind in kinds.values())
    assert any(
        "icmp" in path[:-1] and path[-1] == "dns" for path, _, _ in loaded["quoted"].hierarchy()
    )
    assert loaded["mixed"].directions().keys() == {"inside", "outside", "transit", "none"}
