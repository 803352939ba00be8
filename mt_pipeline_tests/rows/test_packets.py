"""Rows of packets, with the answers for both addresses and the server name."""

import pyarrow as pa
import pytest

from mt_pipeline.devices.inventory import Entry
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.rows.packets import rows
from mt_pipeline.schema.packets import COLUMNS, ORIGINAL_COLUMNS
from mt_pipeline_tests.backends.questdb.parts import (
    CLIENT,
    SERVER,
    batches_of,
    files_of,
    packet,
    packets,
    rows_of,
)

TEXTS = [column.name for column in ORIGINAL_COLUMNS if column.type == "SYMBOL"]
OURS = [column.name for column in COLUMNS[29:]]
NETFLIX = {
    **{"provider": "netify", "app_tag": "netflix", "app_category_tag": "streaming"},
    **{
        "geo_continent": "Europe",
        "geo_country": "Germany",
        "geo_city": "Berlin",
        "geo_lon": 13.405,
        "geo_lat": 52.52,
    },
}
ARP = packet(
    1,
    frame_protocols="eth:ethertype:arp",
    ip_src=None,
    ip_dst=None,
    ip_proto=None,
    tcp_srcport=None,
    tcp_dstport=None,
    tcp_stream=None,
)


def of_end(row: dict[str, object], end: str) -> dict[str, object]:
    """Return the known fields of an address in a row, by the names of the answers."""
    fields = {
        name.removeprefix(f"ip_{end}_").removeprefix("netify_"): value
        for name, value in row.items()
        if name.startswith(f"ip_{end}_")
    }
    return {name: value for name, value in fields.items() if value not in (None, "Unknown")}


def test_a_batch_has_the_columns_in_their_order_and_why_a_packet_is_skipped():
    with batches_of([packet(1)], capture="x/x.pcap", experiment="x") as batches:
        assert next(batches).schema.names == [*(column.name for column in COLUMNS), "skipped"]


def test_batches_have_the_types_of_their_columns_whatever_is_in_them():
    arrow = {"TIMESTAMP": pa.timestamp("us"), "INT": pa.int32(), "DOUBLE": pa.float64()}
    with batches_of([ARP], capture="x/x.pcap", experiment="x", answers={}) as batches:
        schema = next(batches).schema
    assert {column.name: schema.field(column.name).type for column in COLUMNS} == {
        column.name: arrow.get(column.type, pa.dictionary(pa.int32(), pa.string()))
        for column in COLUMNS
    }


def test_a_plain_packet_has_its_fields_and_is_unknown_where_the_original_says_so():
    [row] = rows_of(
        [
            packet(
                7,
                eth_src="02:00:00:00:00:20",
                eth_dst="02:00:00:00:00:01",
                vlan_id="8",
                dns_qry_name="d.example",
                http_host="h.example",
            )
        ]
    )
    assert row.pop("ts").isoformat() == "2023-11-14T22:13:27"
    known = {
        **{
            "ip_src": CLIENT,
            "ip_dst": SERVER,
            "ip_src_type": "LOCAL",
            "ip_dst_type": "PUBLIC",
            "port_src": 50000,
            "port_dst": 443,
        },
        **{
            "frame_len": 60,
            "ip_proto": "TCP",
            "stream_index": 0,
            "capture": "x/x.pcap",
            **{"frame_number": 7, "conversation": 7},
            "protocol": "tcp",
        },
        **{
            "eth_src": "02:00:00:00:00:20",
            "eth_dst": "02:00:00:00:00:01",
            "vlan_id": 8,
            "dns_name": "d.example",
            "http_host": "h.example",
        },
        "experiment": "x",
    }
    assert row == {**dict.fromkeys(row), **dict.fromkeys(TEXTS, "Unknown"), **known}


def test_a_frame_without_ip_is_unknown_where_the_original_says_so_and_null_elsewhere():
    [row] = rows_of([ARP])
    assert {name: row[name] for name in TEXTS} == dict.fromkeys(TEXTS, "Unknown")
    known = {"ts", "frame_len", "capture", "frame_number", "conversation", "protocol", "experiment"}
    assert {name for name, value in row.items() if value is not None} == {*TEXTS, *known}
    assert row["protocol"] == "arp"


@pytest.mark.parametrize(
    ("capture", "label"),
    [
        ("kitchen/x.pcap", None),
        ("x.pcap", None),
        ("kitchen/alexa/x.pcap", "alexa"),
        ("kitchen/Alexa 2/idle/x.pcap", "Alexa 2/idle"),
    ],
)
def test_the_folders_below_the_experiment_are_the_label(capture: str, label: str | None):
    with batches_of([packet(1), packet(2)], capture=capture, experiment="kitchen") as batches:
        assert pa.Table.from_batches(batches)["label"].to_pylist() == [label] * 2


def test_each_end_gets_its_own_answer():
    answers = {
        ("address", SERVER): NETFLIX,
        ("address", "8.8.8.8"): {"provider": "offline", "geo_country": "Italy"},
    }
    there, back, elsewhere = rows_of(
        [packet(1), packet(2, ip_src=SERVER, ip_dst=CLIENT), packet(3, ip_src="8.8.8.8")],
        answers=answers,
    )
    assert (of_end(there, "src"), of_end(there, "dst")) == (
        {"type": "LOCAL"},
        {"type": "PUBLIC", **NETFLIX},
    )
    assert (of_end(back, "src"), of_end(back, "dst")) == (
        {"type": "PUBLIC", **NETFLIX},
        {"type": "LOCAL"},
    )
    assert of_end(elsewhere, "src") == {
        "type": "PUBLIC",
        "provider": "offline",
        "geo_country": "Italy",
    }
    assert of_end(elsewhere, "dst") == {"type": "PUBLIC", **NETFLIX}


def test_an_ipv6_address_gets_its_answer_in_the_same_columns():
    google = "2a00:1450:4001:831::200e"
    fields = {
        "frame_protocols": "eth:ethertype:ipv6:tcp",
        "ip_src": None,
        "ip_dst": None,
        "ip_proto": None,
        "ipv6_nxt": "6",
    }
    [row] = rows_of(
        [packet(1, ipv6_src="fd00:1::20", ipv6_dst=google, **fields)],
        answers={("address", google): NETFLIX},
    )
    assert of_end(row, "dst") == {"type": "PUBLIC", **NETFLIX}
    assert of_end(row, "src") == {"type": "LOCAL"}
    assert {
        name: row[name] for name in ("ip_src", "ip_dst", "ipv6_src", "ipv6_dst", "ip_proto")
    } == {
        **{
            "ip_src": None,
            "ip_dst": None,
            "ipv6_src": "fd00:1::20",
            "ipv6_dst": google,
            "ip_proto": "TCP",
        },
    }


def test_a_server_name_gets_its_answer_on_all_packets_of_its_stream_however_it_is_written():
    answers = {
        ("name", "www.example.com"): {
            "provider": "netify",
            "app_tag": "example",
            "app_category_tag": "business",
            "domain_tag": "technology",
        }
    }
    hello = {"tls_handshake_extensions_server_name": "WWW.Example.com."}
    rows = rows_of(
        [packet(1), packet(2, **hello), packet(3), packet(4, tcp_stream="1")], answers=answers
    )
    named = {
        **{
            "tls_sni": "WWW.Example.com.",
            "tls_sni_netify_app_tag": "example",
            "tls_sni_netify_app_category_tag": "business",
        },
        **{"tls_sni_netify_domain_tag": "technology", "tls_sni_provider": "netify"},
    }
    assert [{name: row[name] for name in named} for row in rows[:3]] == [named] * 3
    assert {name: rows[3][name] for name in named} == {
        **dict.fromkeys(named, "Unknown"),
        "tls_sni_provider": None,
    }


def test_an_endpoint_nobody_was_asked_about_has_no_provider():
    [row] = rows_of([packet(1, tls_handshake_extensions_server_name="www.example.com")])
    assert [row[f"{end}_provider"] for end in ("ip_src", "ip_dst", "tls_sni")] == [None] * 3
    assert (row["ip_dst_type"], row["ip_dst_netify_app_tag"], row["ip_dst_netify_geo_lon"]) == (
        "PUBLIC",
        "Unknown",
        None,
    )


def test_who_said_that_it_does_not_know_is_named():
    [row] = rows_of(
        [packet(1)], answers={("address", SERVER): {"state": "not_found", "provider": "netify"}}
    )
    assert (row["ip_dst_provider"], row["ip_dst_netify_app_tag"], row["ip_dst_type"]) == (
        "netify",
        "Unknown",
        "PUBLIC",
    )


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", "PUBLIC"),
        ("192.168.1.1", "LOCAL"),
        ("100.64.0.1", "LOCAL"),
        ("169.254.7.7", "LOCAL"),
        ("127.0.0.1", "LOCAL"),
        ("224.0.0.251", "LOCAL"),
        ("239.255.255.250", "LOCAL"),
        ("255.255.255.255", "LOCAL"),
        ("0.0.0.0", "LOCAL"),  # noqa: S104
        ("192.0.2.1", "LOCAL"),
    ],
)
def test_an_address_is_public_if_it_is_globally_reachable_and_no_multicast(address: str, kind: str):
    [row] = rows_of([packet(1, ip_dst=address)])
    assert row["ip_dst_type"] == kind


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("0.000000000", None),
        ("-0.000000001", "time before 1970"),
        ("-86400.000001000", "time before 1970"),
        ("253402300799.999999999", None),
        ("253402300800.000000000", "time after 9999"),
        ("9223372036854.775806000", "time after 9999"),
        (
            "9223372036854.775807000",
            "time after 9999",
        ),  # DuckDB has no such time, and once failed the whole capture
        ("99999999999999999999.0", "time not readable"),
        ("nonsense", "time not readable"),
        (None, "time not readable"),
        ("1969-12-31T23:59:59.999999999Z", "time before 1970"),
        ("2023-11-14T22:13:20.123456789Z", None),
    ],
)
def test_only_a_time_that_questdb_can_store_is_not_skipped(time: str | None, reason: str | None):
    with batches_of(
        [packet(1, frame_time_epoch=time), packet(2)], capture="x/x.pcap", experiment="x"
    ) as batches:
        assert [why for batch in batches for why in batch["skipped"].to_pylist()] == [reason, None]


@pytest.mark.parametrize(
    ("time", "stored"),
    [
        ("1700000000.123456789", "2023-11-14T22:13:20.123456"),
        ("2023-11-14T22:13:20.123456789Z", "2023-11-14T22:13:20.123456"),
        ("4611686018.427387904", "2116-02-20T23:53:38.427387"),  # as a float it ends in .427388
        ("0.000001", "1970-01-01T00:00:00.000001"),
        ("253402300799.999999999", "9999-12-31T23:59:59.999999"),
    ],
)
def test_times_are_cut_to_microseconds_never_rounded(time: str, stored: str):
    [row] = rows_of([packet(1, frame_time_epoch=time)])
    assert row["ts"].isoformat() == stored


def test_answers_lose_nul_bytes_which_no_symbol_holds():
    [row] = rows_of(
        [packet(1)],
        answers={
            ("address", SERVER): {"provider": "net\0ify", "app_tag": "a\0b", "geo_city": "\0"}
        },
    )
    assert [row[name] for name in ("ip_dst_provider", "ip_dst_netify_app_tag")] == ["netify", "ab"]
    assert "\0" not in row["ip_dst_netify_geo_city"]


RING, ROUTER, GOOGLE = "02:00:00:00:00:20", "02:00:00:00:00:01", "2a00:1450:4001:831::200e"
HOUSE = Devices(
    [
        Entry(1, "ring", "mac", RING),
        Entry(2, "router", "mac", ROUTER),
        Entry(3, "lab", "network", "192.168.0.0/16"),
        Entry(4, "google", "network", "2a00::/16"),
        Entry(5, "cloud", "name", "*.ring.com"),
    ]
)


def devices_of(*frames: dict[str, str]) -> list[tuple[object, object]]:
    return [(row["device_src"], row["device_dst"]) for row in rows_of(frames, devices=HOUSE)]


def test_both_ends_of_a_packet_are_looked_up_and_the_router_is_no_end_of_what_it_forwards():
    there = packet(1, eth_src=RING, eth_dst=ROUTER)
    back = packet(2, eth_src=ROUTER, eth_dst=RING, ip_src=SERVER, ip_dst=CLIENT)
    within = packet(3, eth_src=RING, eth_dst=ROUTER, ip_dst="192.168.1.1")
    unheard = packet(4, eth_src="02:00:00:00:00:99", ip_dst="10.0.0.1")
    assert devices_of(there, back, within, unheard) == [
        ("ring", None),
        (None, "ring"),
        ("ring", "router"),
        ("lab", None),
    ]


def test_a_frame_without_ip_is_told_by_its_hardware_addresses_and_ipv6_like_ipv4():
    arp = {**ARP, "eth_src": RING, "eth_dst": "ff:ff:ff:ff:ff:ff"}
    fields = {
        "frame_protocols": "eth:ethertype:ipv6:tcp",
        "ip_src": None,
        "ip_dst": None,
        "ip_proto": None,
        "ipv6_nxt": "6",
    }
    six = packet(2, eth_src=RING, eth_dst=ROUTER, ipv6_src="fd00::20", ipv6_dst=GOOGLE, **fields)
    assert devices_of(arp, six) == [("ring", None), ("ring", "google")]


def test_the_end_of_a_stream_with_the_lower_port_is_the_one_that_bears_the_server_name():
    hello = {"tls_handshake_extensions_server_name": "FW.Ring.com"}
    back = {"ip_src": SERVER, "ip_dst": CLIENT, "tcp_srcport": "443", "tcp_dstport": "50000"}
    same = {"tcp_stream": "1", "tcp_srcport": "443", "tcp_dstport": "443", **hello}
    unnamed = {"tcp_stream": "2"}
    within = {"tcp_stream": "3", "ip_dst": "192.168.1.9", **hello}
    assert devices_of(
        packet(1),
        packet(2, **hello),
        packet(3, **back),
        packet(4, **same),
        packet(5, **unnamed),
        packet(6, **within),
    ) == [
        *[("lab", "cloud")] * 2,
        ("cloud", "lab"),
        *[("lab", None)] * 2,
        ("lab", "lab"),
    ]


def test_a_stream_without_a_server_name_has_none_that_a_pattern_could_match():
    anything = Devices([Entry(1, "anything", "name", "*"), Entry(2, "odd", "name", "unknown")])
    assert [row["device_dst"] for row in rows_of([packet(1)], devices=anything)] == [None]


def test_without_an_inventory_no_end_is_a_device():
    assert [
        (row["device_src"], row["device_dst"]) for row in rows_of([packet(1, eth_src=RING)])
    ] == [(None, None)]


def test_no_packets_are_no_rows():
    assert rows_of([]) == []


def test_answers_without_an_endpoint_of_the_capture_are_no_rows():
    rows = rows_of(
        packets(3),
        answers={
            ("address", SERVER): NETFLIX,
            ("address", "9.9.9.9"): NETFLIX,
            ("name", "elsewhere.example.com"): NETFLIX,
        },
    )
    assert [row["frame_number"] for row in rows] == [1, 2, 3]


def test_an_endpoint_that_is_an_address_and_a_name_is_not_mixed_up():
    answers = {
        ("name", "8.8.8.8"): {"app_tag": "of the name"},
        ("address", "8.8.8.8"): {"app_tag": "of the address"},
    }
    [row] = rows_of(
        [packet(1, ip_dst="8.8.8.8", tls_handshake_extensions_server_name="8.8.8.8")],
        answers=answers,
    )
    assert (row["ip_dst_netify_app_tag"], row["tls_sni_netify_app_tag"]) == (
        "of the address",
        "of the name",
    )


def test_every_row_bears_the_names_of_its_capture_and_experiment():
    odd = 'kitchen/O\'Brien "x", 50 % \\ ñ/日本.pcapng'
    assert {
        (row["capture"], row["experiment"])
        for row in rows_of(packets(3), capture=odd, experiment="kitchen")
    } == {(odd, "kitchen")}


def test_a_large_capture_comes_in_batches_in_frame_order():
    with files_of(packets(41_000)) as files:
        batches = rows(files, capture="x/x.pcap", experiment="x", batch_rows=10_000)
        sizes = [
            (batch.num_rows, batch["frame_number"][0].as_py(), batch["frame_number"][-1].as_py())
            for batch in batches
        ]
    assert sum(size for size, *_ in sizes) == 41_000
    assert len(sizes) > 2
    assert max(size for size, *_ in sizes) <= 10_000
    assert [first for _, first, _ in sizes] == [1, *(last + 1 for *_, last in sizes[:-1])]
