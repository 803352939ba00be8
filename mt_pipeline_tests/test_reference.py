"""The reference itself, against rows worked out by hand."""

from pathlib import Path

import pytest

from mt_pipeline.schema.packets import ORIGINAL_COLUMNS
from mt_pipeline_tests import reference
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import tcp_udp_only
from mt_pipeline_tests.building.files import START_NS, in_time_order, timed, write_pcap

ANSWERS = {
    ("address", traffic.SERVER): {
        "app_tag": "app.example",
        "geo_country": "United States",
        "geo_lon": -71.0,
        "geo_lat": 42.0,
    },
    ("address", traffic.CLIENT): {"app_tag": "never asked for a private address"},
    ("name", "second.example.com"): {"app_category_tag": "business", "domain_tag": "technology"},
}


def test_rows_have_the_originals_columns_in_its_order_and_the_names_of_the_whole_stream(
    tmp_path: Path,
):
    frames = traffic.tls_session(
        "first.example.com", second_name="Second.example.com.", data_packets=0
    )
    rows = list(reference.rows(write_pcap(tmp_path / "tls.pcap", timed(frames)), ANSWERS))
    assert len(rows) == len(frames)
    assert {row["tls_sni"] for row in rows} == {"Second.example.com."}
    assert {row["tls_alpn"] for row in rows} == {"http/1.1"}
    assert {row["tls_sni_netify_domain_tag"] for row in rows} == {"technology"}
    assert rows[0] == {
        column.name: value for column, value in zip(ORIGINAL_COLUMNS, rows[0].values(), strict=True)
    }
    assert list(rows[0].values()) == (
        [
            START_NS // 1_000,
            "192.168.1.20",
            "LOCAL",
            50_000,
            "93.184.216.34",
            "PUBLIC",
            443,
            54,
            "TCP",
            "Second.example.com.",
            "http/1.1",
            0,
        ]
        + ["Unknown"] * 5
        + [None, None, "app.example", "Unknown", "Unknown", "United States", "Unknown", -71.0, 42.0]
        + ["Unknown", "business", "technology"]
    )


def test_streams_of_tcp_and_udp_with_one_number_keep_their_own_names(tmp_path: Path):
    capture = write_pcap(
        tmp_path / "both.pcap",
        in_time_order(
            [traffic.tls_session("tcp.example.com"), traffic.quic_session("udp.example.com")]
        ),
    )
    rows = list(reference.rows(capture, {}))
    assert {
        (row["ip_proto"], row["stream_index"], row["tls_sni"], row["tls_alpn"]) for row in rows
    } == {
        ("TCP", 0, "tcp.example.com", "h2"),
        ("UDP", 0, "udp.example.com", "h3"),
    }


def test_every_packet_of_the_capture_for_the_original_has_a_row(tmp_path: Path):
    rows = list(reference.rows(tcp_udp_only(tmp_path / "only.pcap"), {}))
    assert len(rows) > 100
    assert 200_000 in {row["frame_len"] for row in rows}
    assert [row["ip_dst"] for row in rows if row["ip_src"] is None] == ["255.255.255.255"]
    assert {
        row["ip_dst_type"]
        for row in rows
        if row["ip_dst"] in ("224.0.0.251", "255.255.255.255", "127.0.0.2", "169.254.255.255")
    } == {"LOCAL"}
    assert [
        (row["port_src"], row["port_dst"]) for row in rows if row["ip_dst"] == "224.0.0.251"
    ] == [(5353, 5353)]


def test_a_packet_that_the_original_cannot_store_is_refused(tmp_path: Path):
    with pytest.raises(reference.NotForTheOriginalError):
        list(reference.rows(write_pcap(tmp_path / "ping.pcap", timed(traffic.ping())), {}))
