"""The content of a page: sums by answer, unknown values, names of all kinds, sources of data.

`test_numbers.py` compares it with tshark's numbers.
"""

import dataclasses
import re
from pathlib import Path

import pytest

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import TABLE, ensure_table, wait_until_readable
from mt_pipeline.backends.questdb.server import Server, start
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline.captures.records import Record, State
from mt_pipeline.devices.inventory import Entry
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.report.page import GENERATOR
from mt_pipeline.report.queries import NoExperiment
from mt_pipeline.report.sources import Files
from mt_pipeline_tests.backends.questdb.parts import CLIENT, SERVER, Answers, Packet, load, packet
from mt_pipeline_tests.report.parts import HOSTILE, NAME, Page, bars, number, page_of

CHINA, HOME = "114.114.114.114", {"eth_src": "02:00:00:00:00:20", "eth_dst": "02:00:00:00:00:01"}
ANSWERS: Answers = {
    ("address", SERVER): {
        "provider": "offline",
        "geo_country": "Germany",
        "app_tag": "cdn",
        "app_category_tag": "hosting",
    },
    ("address", CHINA): {"provider": "netify,offline", "geo_country": "China"},
    ("name", "www.example.com"): {
        "provider": "netify",
        "app_tag": "example",
        "app_category_tag": "news",
    },
}
RECORD = Record(
    **{
        "key": "x/x.pcap",
        "path": "x",
        "size": 1,
        "mtime_ns": 1,
        "experiment": "x",
        "state": State.DONE,
        "error": None,
        "filter": "tls or udp",
    },
    **{
        "sha256": "ab" * 32,
        "documents": "0",
        "packets": 9,
        "rows": 7,
        "skipped": {"no time": 2},
        "cut": True,
        "run": None,
    },
    **{
        "hashed_at": None,
        "follows": "",
        "leaves": "",
        "answers": None,
        "answers_by": {},
        "owed": 0,
        "as_of": None,
        "packets_expired_at": None,
        "attempts": 0,
        "returned": 0,
        "returned_at": None,
        "requested_by": "",
        "taken": 0,
        "seen_at": 0,
        "requested_at": None,
        "changed_at": 0,
    },
)

NOT_KNOWN = "\u2013"


def lone(number: int, **fields: str | None) -> Packet:
    """Make a packet in a stream of its own."""
    return packet(number, **{"tcp_stream": str(number), **HOME, **fields})


def row_of(page: Page, table: str, name: str) -> list[str]:
    [row] = [row for row in page.tables[table] if row[0] == name]
    return row[1:]


@pytest.fixture(scope="module")
def page(questdb: Server) -> Page:
    """Report on six packets, each of its own kind."""
    database = Database("127.0.0.1", questdb.http_port, questdb.pg_port, "admin", "quest")
    back = {"ip_src": SERVER, "ip_dst": CLIENT, "tcp_srcport": "443", "tcp_dstport": "50000"}
    udp = {
        "ip_proto": "17",
        "tcp_srcport": None,
        "tcp_dstport": None,
        "tcp_stream": None,
        "udp_stream": "0",
        "udp_srcport": "5353",
        "udp_dstport": "53",
    }
    packets = [
        packet(
            1,
            frame_len="100",
            frame_protocols="eth:ethertype:ip:tcp:tls",
            **{NAME: "www.example.com"},
            **HOME,
        ),
        packet(2, frame_len="1000", **back, eth_src=HOME["eth_dst"], eth_dst=HOME["eth_src"]),
        lone(3, frame_len="20", ip_dst=CHINA, frame_protocols="eth:ethertype:ip:udp:dns", **udp),
        lone(4, frame_len="3", ip_dst="192.168.1.30"),
        lone(5, frame_len="7", ip_dst=SERVER, frame_protocols="eth:ethertype:ip:tcp:http:json"),
        lone(6, frame_len="5", frame_protocols="eth:ethertype:ip:tcp:http", tcp_stream="5"),
    ]
    load(database, packets, capture="report page/x.pcap", experiment="report_page", answers=ANSWERS)
    return Page(page_of(database, "report_page"))


def test_the_head_has_the_totals(page: Page):
    assert page.figures == {
        **{
            "Packets": "6",
            "Bytes on the wire": "1,135",
            "Captures": "1",
            "Devices": "2",
            "Public addresses": "2",
            "Server names": "1",
        },
        "Bytes with a public address": "99.7%",
    }
    assert "2023-11-14 22:13:21 to 2023-11-14 22:13:26 UTC, 5 s" in page.text


def test_the_application_of_a_name_counts_before_that_of_the_address(page: Page):
    assert bars(page, "Applications") == {
        "example": (1100, 2),
        "cdn": (12, 2),
        "application not known": (20, 1),
    }
    assert bars(page, "Categories of applications") == {
        "news": (1100, 2),
        "hosting": (12, 2),
        "category not known": (20, 1),
    }
    assert "1.8% of the bytes with a public address have no application" in page.text


def test_countries_and_providers_are_those_of_the_remote_end(page: Page):
    assert bars(page, "Countries") == {"Germany": (1112, 4), "China": (20, 1)}
    assert bars(page, "Who answered for addresses") == {
        "offline": (1112, 4),
        "netify,offline": (20, 1),
    }
    assert bars(page, "Who answered for server names") == {"netify": (1100, 2)}


def test_a_stream_has_one_protocol_and_is_encrypted_or_not(page: Page):
    assert bars(page, "Protocols") == {
        "TLS": (1100, 2),
        "DNS": (20, 1),
        "HTTP without encryption": (12, 2),
        "no protocol recognised": (3, 1),
    }
    assert bars(page, "Encrypted or plain, all") == {
        "encrypted": (1100, 2),
        "plain": (32, 3),
        "cannot be told": (3, 1),
    }
    assert bars(page, "Encrypted or plain, public") == {"encrypted": (1100, 2), "plain": (32, 3)}


def test_devices_have_what_they_sent_and_were_sent(page: Page):
    assert row_of(page, "Devices", "02:00:00:00:00:20") == [
        CLIENT,
        f"example, {CHINA}, cdn",
        "135",
        "1,000",
        "5",
        "1",
    ]
    assert row_of(page, "Devices", "02:00:00:00:00:01") == [
        "192.168.1.30",
        CLIENT,
        "0",
        "3",
        "0",
        "1",
    ]


def test_devices_of_the_inventory_go_by_their_labels_wherever_they_are(database: Database):
    """A label joins addresses; a device with a public address has no router's hardware address."""
    inventory = Devices(
        [
            Entry(1, "Lamp", "mac", HOME["eth_src"]),
            Entry(2, "Lamp", "network", "192.168.1.30/32"),
            Entry(3, "Our server", "network", f"{SERVER}/32"),
        ]
    )
    packets = [
        lone(1, frame_len="100"),
        lone(2, frame_len="10", ip_src="192.168.1.30", eth_src="02:00:00:00:00:30", ip_dst=CHINA),
        lone(3, frame_len="1", ip_dst="192.168.1.40", eth_dst="02:00:00:00:00:40"),
    ]
    load(
        database,
        packets,
        capture="report labels/x.pcap",
        experiment="report_labels",
        answers=ANSWERS,
        devices=inventory,
    )

    assert Page(page_of(database, "report_labels")).tables["Devices"] == [
        [
            "Lamp",
            f"{HOME['eth_src']}, 02:00:00:00:00:30, {CLIENT}, 192.168.1.30",
            f"cdn, {CHINA}, 192.168.1.40",
            "111",
            "0",
            "3",
            "0",
        ],
        ["Our server", SERVER, "cdn", "0", "100", "0", "1"],
        ["02:00:00:00:00:40", "192.168.1.40", "Lamp", "0", "1", "0", "1"],
    ]


def test_destinations_say_who_where_and_when(page: Page):
    assert page.tables["Destinations"] == [
        [
            SERVER,
            "www.example.com",
            "",
            "example",
            "Germany",
            "netify, offline",
            "2",
            "1,100",
            "2023-11-14 22:13:21",
            "2023-11-14 22:13:22",
        ],
        [
            CHINA,
            "",
            "",
            "",
            "China",
            "netify, offline",
            "1",
            "20",
            "2023-11-14 22:13:23",
            "2023-11-14 22:13:23",
        ],
        [
            SERVER,
            "",
            "",
            "cdn",
            "Germany",
            "offline",
            "2",
            "12",
            "2023-11-14 22:13:25",
            "2023-11-14 22:13:26",
        ],
    ]
    assert "These are all 3." in page.text


PLACES: Answers = {
    ("address", "93.184.216.1"): {
        "provider": "x",
        "geo_country": "Germany",
        "geo_city": "Berlin",
        "geo_lon": 13.4,
        "geo_lat": 52.5,
    },
    ("address", "93.184.216.2"): {"provider": "x", "geo_country": "Germany"},
    ("address", "93.184.216.3"): {"provider": "x", "geo_country": "Atlantis"},
    ("address", "93.184.216.4"): {"provider": "x"},
    ("address", "93.184.216.5"): {
        "provider": "x",
        "geo_country": "Chile",
        "geo_city": "Santiago",
        "geo_lon": -70.7,
        "geo_lat": -33.5,
    },
}


def drawn(page: Page) -> list[tuple[str, str]]:
    return [
        (attributes["cx"] or "", attributes["cy"] or "")
        for tag, attributes in page.tags
        if tag == "circle"
    ]


def test_places_are_counted_and_stand_where_they_are_on_the_map(database: Database):
    """Germany without a city is drawn in its middle; Atlantis and unknown places are not drawn."""
    sizes = {1: "1000", 2: "300", 3: "200", 4: "50", 5: "500"}
    packets = [
        lone(number, ip_dst=f"93.184.216.{number}", frame_len=size)
        for number, size in sizes.items()
    ]
    back = lone(
        6,
        ip_src="93.184.216.5",
        ip_dst=CLIENT,
        tcp_srcport="443",
        tcp_dstport="50000",
        frame_len="7",
    )
    load(
        database,
        [*packets, back],
        capture="report places/x.pcap",
        experiment="report_places",
        answers=PLACES,
    )
    page = Page(page_of(database, "report_places"))

    assert bars(page, "Places") == {
        **{
            "Berlin, Germany": (1000, 1),
            "Santiago, Chile": (507, 2),
            "Germany": (300, 1),
            "Atlantis": (200, 1),
            "place not known": (50, 1),
        }
    }
    assert drawn(page) == [("13.4", "-52.5"), ("-70.7", "33.5"), ("9.0", "-51.0")]
    assert "12.2% of the bytes with a public address are not on the map" in page.text
    assert "countryinfo" in page.text


def test_without_cities_the_countries_are_the_list_beside_the_map(page: Page):
    assert "Places" not in page.tables
    assert drawn(page) == [("9.0", "-51.0"), ("105.0", "-35.0")]
    assert "Only countries are known" in page.text


def test_without_a_place_there_is_no_map(database: Database):
    load(database, [packet(1)], capture="report nowhere/x.pcap", experiment="report_nowhere")
    page = Page(page_of(database, "report_nowhere"))

    assert "No place of a remote end is known." in page.text
    assert not [tag for tag, _ in page.tags if tag == "circle"]
    assert "countryinfo" not in page.text


def test_of_two_public_ends_the_one_with_the_lower_port_is_remote(database: Database):
    there = {"ip_src": "8.8.8.8", "ip_dst": SERVER}
    packets = [
        packet(1, **there),
        packet(2, ip_src=SERVER, ip_dst="8.8.8.8", tcp_srcport="443", tcp_dstport="50000"),
    ]
    load(
        database,
        packets,
        capture="report both/x.pcap",
        experiment="report_both",
        answers={**ANSWERS, ("address", "8.8.8.8"): {"provider": "offline"}},
    )
    page = Page(page_of(database, "report_both"))

    assert [row[0] for row in page.tables["Destinations"]] == [SERVER]
    assert page.tables["Devices"] == [["nobody"]]


def test_ends_without_hardware_addresses_are_listed_by_their_own_and_groups_are_left_out(
    database: Database,
):
    six = {
        "ip_src": None,
        "ip_dst": None,
        "frame_protocols": "raw:ipv6:tcp",
        "ip_proto": None,
        "ipv6_nxt": "6",
    }
    packets = [
        packet(1, ipv6_src="fd00:1::20", ipv6_dst="ff02::fb", **six),
        packet(2, ipv6_src="::", ipv6_dst="fd00:1::20", **six),
        packet(3),
    ]
    load(database, packets, capture="report raw/x.pcap", experiment="report_raw")
    page = Page(page_of(database, "report_raw"))

    assert [row[:3] for row in page.tables["Devices"]] == [
        ["fd00:1::20", "", "ff02::fb"],
        [CLIENT, "", SERVER],
    ]


def test_each_capture_has_its_hash_its_filter_and_what_was_skipped(database: Database):
    load(database, [packet(1)], capture="report captures/a.pcap", experiment="report_captures")
    load(
        database,
        [packet(2), packet(3)],
        capture="report captures/b.pcap",
        experiment="report_captures",
    )
    records = {
        "report captures/a.pcap": dataclasses.replace(RECORD, key="report captures/a.pcap"),
        "report captures/late.pcap": dataclasses.replace(
            RECORD, key="report captures/late.pcap", state=State.WAITING
        ),
        "report captures/none.pcap": dataclasses.replace(
            RECORD, key="report captures/none.pcap", rows=0
        ),
    }
    page = Page(page_of(database, "report_captures", records=records))
    times = ["2023-11-14 22:13:21", "2023-11-14 22:13:21"]

    assert row_of(page, "Captures", "report captures/a.pcap") == [
        *times,
        *(
            "9",
            "1",
            "60",
            "2 no time, cut inside its last packet",
            "tls or udp",
            "4.0.17",
            "ab" * 32,
        ),
    ]
    assert row_of(page, "Captures", "report captures/b.pcap")[2:] == [
        NOT_KNOWN,
        "2",
        "120",
        "",
        "",
        "",
        "",
    ]
    assert "Packets that became no row: 2 no time." in page.text
    assert (
        "report captures/late.pcap (waiting), report captures/none.pcap (no packets)" in page.text
    )


def test_the_same_data_make_the_same_page_and_another_capture_another(database: Database):
    load(
        database,
        [packet(number, **{NAME: f"{number % 9}.example.com"}) for number in range(1, 40)],
        capture="report same/a.pcap",
        experiment="report_same",
    )
    first = page_of(database, "report_same")

    assert page_of(database, "report_same") == first
    load(database, [packet(41)], capture="report same/b.pcap", experiment="report_same")
    assert page_of(database, "report_same") != first


def test_names_of_all_kinds_are_shown_and_do_nothing(database: Database):
    addresses = [f"93.184.216.{number}" for number in range(1, 1 + len(HOSTILE))]
    answers: Answers = {
        **{
            ("address", address): {"provider": "offline", "geo_country": name}
            for address, name in zip(addresses, HOSTILE, strict=True)
        },
        **{
            ("name", name.lower()): {
                "provider": "netify",
                "app_tag": name,
                "app_category_tag": name,
            }
            for name in HOSTILE
        },
    }
    packets = [
        packet(
            number,
            ip_dst=address,
            tcp_stream=str(number),
            frame_len=str(1000 - number),
            frame_protocols="eth:ethertype:ip:tcp:tls",
            **{NAME: name},
        )
        for number, (address, name) in enumerate(zip(addresses, HOSTILE, strict=True), 1)
    ]
    key = f"report hostile/{HOSTILE[1]}.pcap"
    load(database, packets, capture=key, experiment="report_hostile", answers=answers)
    record = dataclasses.replace(RECORD, key=key, filter=HOSTILE[0], skipped={HOSTILE[0]: 1})
    late = dataclasses.replace(RECORD, key=HOSTILE[3], state=State.WAITING)
    html = page_of(
        database,
        "report_hostile",
        records={key: record, HOSTILE[3]: late},
        files=Files(city=HOSTILE[0]),
    )
    page = Page(html)

    shown = [
        *HOSTILE[:3],
        r"a\u202egnp.exe\u200f.example.com",
        r"two\u000alines\u000d\u0009and \u001b[31mred\u2028.example.com",
        HOSTILE[5],
        "x" * 253 + "…",
    ]
    for table in ("Server names", "Applications", "Countries"):
        assert [row[0] for row in page.tables[table]] == shown, table
    assert row_of(page, "Captures", key)[6] == HOSTILE[0]
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "img", "iframe", "object", "link", "form", "base"}
    )
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]", html
    )


def test_fifty_thousand_endpoints_make_a_page_of_five_hundred(database: Database):
    with database.connect() as connection:
        ensure_table(connection)
        ensure_view(connection, "report_many")
        connection.execute(
            f"""INSERT INTO {TABLE} (ts, capture, frame_number, experiment, load, gone,
                ip_src, ip_dst, ip_src_type, ip_dst_type, port_src, port_dst, frame_len, ip_proto,
                tls_sni, tls_sni_domain, stream_index, protocol,
                ip_dst_netify_geo_country, ip_dst_provider, tls_sni_netify_app_tag)
            SELECT (1700000000000000 + x * 1000)::timestamp, 'report many/x.pcap', x::int,
                'report_many', 1, false, '192.168.1.20'::ipv4,
                concat('93.1.', x / 256, '.', x % 256)::ipv4, 'LOCAL', 'PUBLIC', 50000, 443, 1000,
                'TCP', concat('host', x, '.example', x % 5000, '.com'),
                concat('example', x % 5000, '.com'), x::int, 'tls',
                concat('Country ', x % 300), 'offline', 'Unknown' FROM long_sequence(50000)"""
        )
        wait_until_readable(connection)
    html = page_of(database, "report_many")
    page = Page(html)

    assert len(html.encode()) < 1_000_000
    assert len(page.tables["Destinations"]) == 500
    assert "49,500 more have 49,500,000 bytes in 49,500 packets" in page.text
    assert page.figures["Public addresses"] == "50,000"
    assert [row[0] for row in page.tables["Countries"]][-1] == "285 others"
    assert (
        sum(size for size, _ in bars(page, "Countries").values())
        == number(page.figures["Bytes on the wire"])
        == 50_000_000
    )


def test_a_time_at_either_end_of_the_calendar_is_drawn(database: Database):
    packets = [
        packet(1, frame_time_epoch="0.000001000"),
        packet(2, frame_time_epoch="253402300799.999999000"),
    ]
    load(database, packets, capture="report times/x.pcap", experiment="report_times")

    assert (
        "1970-01-01 00:00:00 to 9999-12-31 23:59:59 UTC"
        in Page(page_of(database, "report_times")).text
    )


@pytest.mark.parametrize("is_loaded", [False, True])
def test_without_rows_there_is_nothing_to_report(database: Database, is_loaded: bool):
    if is_loaded:
        load(database, [], capture="report nothing/x.pcap", experiment="report_nothing")

    with pytest.raises(
        NoExperiment, match=r"packets_report_nothing.* so there is nothing to report"
    ):
        page_of(database, "report_nothing")


def test_a_table_without_any_server_name_can_be_asked(tmp_path: Path):
    """QuestDB's index of server names cannot: a query for names other than Unknown fails there."""
    with start(
        tmp_path, http_port=0, pg_port=0, user="admin", password="quest", ilp=True
    ) as server:
        database = Database("127.0.0.1", server.http_port, server.pg_port, "admin", "quest")
        load(database, [packet(1)], capture="no names/x.pcap", experiment="no_names")

        assert Page(page_of(database, "no_names")).figures["Server names"] == "0"


def test_the_page_names_its_maker_where_it_is_looked_for(database: Database):
    load(database, [packet(1)], capture="report maker/x.pcap", experiment="report_maker")

    assert f'content="{GENERATOR} ' in page_of(database, "report_maker")[:1000]
