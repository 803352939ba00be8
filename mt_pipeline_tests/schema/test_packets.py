"""The column table: what others rely on, and that every entry can be computed."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from mt_pipeline.enrichment.models import FACTS, NUMBERS
from mt_pipeline.packets import typed
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.schema.packets import COLUMNS, IN_PACKETS, ORIGINAL_COLUMNS, Origin
from mt_pipeline.schema.tables import HIDDEN
from mt_pipeline_tests.packets.parts import said_in

ARROW_TYPES = {
    "TIMESTAMP": pa.timestamp("us"),
    "INT": pa.int32(),
    "DOUBLE": pa.float64(),
    "SYMBOL": pa.string(),
    "VARCHAR": pa.string(),
    "IPV4": pa.string(),
}
FROM_PACKETS = [column for column in COLUMNS if column.origin in IN_PACKETS]


def test_the_first_29_are_those_of_the_original_in_its_order():
    assert [column.name for column in ORIGINAL_COLUMNS] == [
        "ts",
        "ip_src",
        "ip_src_type",
        "port_src",
        "ip_dst",
        "ip_dst_type",
        "port_dst",
        "frame_len",
        "ip_proto",
        "tls_sni",
        "tls_alpn",
        "stream_index",
        "ip_src_netify_app_tag",
        "ip_src_netify_app_category_tag",
        "ip_src_netify_geo_continent",
        "ip_src_netify_geo_country",
        "ip_src_netify_geo_city",
        "ip_src_netify_geo_lon",
        "ip_src_netify_geo_lat",
        "ip_dst_netify_app_tag",
        "ip_dst_netify_app_category_tag",
        "ip_dst_netify_geo_continent",
        "ip_dst_netify_geo_country",
        "ip_dst_netify_geo_city",
        "ip_dst_netify_geo_lon",
        "ip_dst_netify_geo_lat",
        "tls_sni_netify_app_tag",
        "tls_sni_netify_app_category_tag",
        "tls_sni_netify_domain_tag",
    ]
    assert COLUMNS[:29] == ORIGINAL_COLUMNS


def test_ours_follow():
    ours = """capture frame_number protocol ipv6_src ipv6_dst eth_src eth_dst vlan_id dns_name
        http_host experiment ip_src_provider ip_dst_provider tls_sni_provider tls_sni_domain
        device_src device_dst label conversation tcp_flags tcp_retransmission
        tcp_zero_window icmp_type dns_rcode http_status tls_version tls_alert"""
    assert [column.name for column in COLUMNS[29:]] == ours.split()


def test_types_are_the_promised_ones():
    promised = {
        "ts": "TIMESTAMP",
        "ip_src": "IPV4",
        "ip_dst": "IPV4",
        "ipv6_src": "VARCHAR",
        "ipv6_dst": "VARCHAR",
    }
    promised |= dict.fromkeys(
        [
            *("port_src", "port_dst", "frame_len"),
            *("stream_index", "frame_number", "vlan_id", "conversation"),
            *("tcp_flags", "tcp_retransmission", "tcp_zero_window", "icmp_type", "dns_rcode"),
            *("http_status", "tls_version", "tls_alert"),
        ],
        "INT",
    )
    promised |= {
        f"ip_{end}_netify_geo_{axis}": "DOUBLE" for end in ("src", "dst") for axis in ("lon", "lat")
    }
    assert {column.name: column.type for column in COLUMNS} == {
        column.name: promised.get(column.name, "SYMBOL") for column in COLUMNS
    }


def test_names_are_unique_and_need_no_quotes():
    names = [column.name for column in COLUMNS]
    assert len({name.lower() for name in [*names, *HIDDEN]}) == len(names) + len(HIDDEN)
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]*", name)] == []


def test_every_column_says_what_it_means():
    assert [column.name for column in COLUMNS if not column.meaning.strip()] == []


@pytest.mark.parametrize("column", FROM_PACKETS, ids=lambda column: column.name)
def test_a_source_on_packets_gives_the_arrow_type_of_its_column(typed_rows: pa.Schema, column):
    assert typed_rows.field(column.name).type == ARROW_TYPES[column.type]


@pytest.mark.parametrize(
    "column",
    [column for column in COLUMNS if column.origin is Origin.ANSWER],
    ids=lambda column: column.name,
)
def test_a_source_on_answers_is_an_end_and_a_field(column):
    end, _, field = column.source.partition(".")
    assert end in ("src", "dst", "sni")
    assert field in (*FACTS, "provider", "type")
    assert column.type == ("DOUBLE" if field in NUMBERS else "SYMBOL")


def test_the_caller_gives_what_all_rows_of_a_capture_have():
    assert [column.source for column in COLUMNS if column.origin is Origin.CAPTURE] == [
        "capture",
        "experiment",
        "label",
    ]


@pytest.fixture(scope="module")
def typed_rows(tmp_path_factory: pytest.TempPathFactory) -> pa.Schema:
    documents: Path = tmp_path_factory.mktemp("columns") / "one.ndjson.zst"
    packets, names = documents.with_name("packets.parquet"), documents.with_name("names.parquet")
    document = {
        "timestamp": "1700000000000",
        "layers": {"frame_number": ["1"], "frame_time_epoch": ["1700000000.000000000"]},
    }
    documents.write_bytes(
        pa.compress(f"{json.dumps(document)}\n".encode(), codec="zstd", asbytes=True)
    )
    with conversations(documents) as opened:
        opened.read(documents)
        said = said_in(documents.parent)
        opened.write_packets(packets, documents.with_name("sums.parquet"), said)
        opened.write_names(names)
    with typed.connection(documents) as connection:
        return typed.rows(connection, packets, names).to_arrow_table().schema
