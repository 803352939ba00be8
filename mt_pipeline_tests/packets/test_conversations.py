"""Blocks that are added while tshark runs give the same conversations as its documents."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import Conversations, Follower, conversations
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.fields import ALL_KEYS
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import timed, write_pcap, write_pcapng
from mt_pipeline_tests.packets.parts import rows_of, typed_of
from mt_pipeline_tests.tshark.parts import documents_of, tshark, write_by_hand

Name = tuple[bool, int, str | None, str | None]


def names_in(path: Path) -> set[Name]:
    table = pq.read_table(path)
    assert table.column_names == ["is_tcp", "stream_index", "tls_sni", "tls_alpn"]
    names = [tuple(row.values()) for row in table.to_pylist()]
    assert len(names) == len({name[:2] for name in names}), "one row a stream"
    return set(names)


def results(
    streams: Conversations, folder: Path
) -> tuple[endpoints.Endpoints, list[dict[str, object]], set[Name]]:
    summary = endpoints.write(streams, folder / "endpoints.parquet")
    streams.write_names(folder / "names.parquet")
    return (
        summary,
        pq.read_table(folder / "endpoints.parquet").to_pylist(),
        names_in(folder / "names.parquet"),
    )


def test_listening_to_tshark_and_reading_its_documents_say_the_same(tmp_path: Path):
    capture, written = everything(tmp_path / "x.pcapng"), tmp_path / "x.ndjson.zst"
    with conversations(tmp_path / "listening" / "x") as streams:
        documents.write(tshark(), capture, written, listener=streams)
        listened = results(streams, tmp_path / "listening")
    with conversations(tmp_path / "reading" / "x") as streams:
        streams.read(written)
        read = results(streams, tmp_path / "reading")
    assert listened == read
    assert listened[0].packets == len(rows_of(written))
    assert len(listened[2]) > 30


def test_blocks_of_any_size_say_the_same(tmp_path: Path):
    """A stream, a name and its replacement may lie in different blocks."""
    written = documents_of(everything(tmp_path / "x.pcapng"))
    with conversations(tmp_path / "whole" / "x") as streams:
        table = documents.read(
            streams.connection, written, keys=Conversations.keys
        ).to_arrow_table()
        streams.read(written)
        whole = results(streams, tmp_path / "whole")
    for rows in (7, 100):
        with conversations(tmp_path / f"by {rows}" / "x") as streams:
            for start in range(0, table.num_rows, rows):
                streams.add(table.slice(start, rows))
            assert results(streams, tmp_path / f"by {rows}") == whole


def test_a_conversation_has_one_number_in_blocks_of_any_size(tmp_path: Path):
    written = documents_of(everything(tmp_path / "x.pcapng"))
    numbers = []
    for rows in (1_000_000, 100, 7):
        blocks: list[pa.Table] = []
        with conversations(tmp_path / f"by {rows}" / "x", keep(blocks)) as streams:
            streams.read(written, block=rows)
        whole = pa.concat_tables(blocks)
        numbers.append({row["frame_number"]: row["conversation"] for row in whole.to_pylist()})
    assert numbers[1:] == numbers[:1] * 2
    firsts = set(numbers[0].values())
    assert len(firsts) > 50
    assert [first for first in firsts if numbers[0][first] != first] == []


def keep(blocks: list[pa.Table]) -> Follower:
    """Return what keeps the typed packets of each block."""
    return lambda packets, sums, announcements: blocks.append(packets)


def test_the_last_name_said_is_the_streams_over_all_blocks(tmp_path: Path):
    tcp = {
        "frame_protocols": "eth:ethertype:ip:tcp:tls",
        "ip_src": traffic.CLIENT,
        "ip_dst": traffic.SERVER,
        "tcp_stream": "1",
    }
    back = {**tcp, "ip_src": traffic.SERVER, "ip_dst": traffic.CLIENT}
    names = ["", "a.example", "", "", "b.example", "", "", "", "", "", "c.example", ""]
    packets = [
        {**(tcp if number % 3 else back), "tls_handshake_extensions_server_name": name}
        for number, name in enumerate(names)
    ]
    written = write_by_hand(tmp_path / "x.ndjson.zst", packets)
    with conversations(written) as streams:
        table = documents.read(
            streams.connection, written, keys=Conversations.keys
        ).to_arrow_table()
        streams.add(table.slice(4, 8))
        streams.add(table.slice(0, 4))
        streams.write_names(tmp_path / "names")
    assert names_in(tmp_path / "names") == {(True, 1, "c.example", None)}


def test_streams_are_told_apart_by_protocol_and_those_without_names_left_out(tmp_path: Path):
    frames = [
        *traffic.tls_session("tcp.example.com", client_port=50_000),
        *traffic.quic_session("udp.example.com"),
        *traffic.tls_session(None, alpn=(), client_port=50_001),
        *traffic.tls_session(None, client_port=50_002),
        *traffic.dns(),
    ]
    names = names_in(typed_of(documents_of(write_pcap(tmp_path / "x.pcap", timed(frames))))[1])
    assert names == {
        (True, 0, "tcp.example.com", "h2"),
        (False, 0, "udp.example.com", "h3"),
        (True, 2, None, "h2"),
    }


def test_no_packets_are_no_conversations(tmp_path: Path):
    with conversations(tmp_path / "x") as streams:
        assert (
            documents.write(
                tshark(),
                write_pcapng(tmp_path / "x.pcapng", []),
                tmp_path / "x.ndjson.zst",
                listener=streams,
            )
            == 0
        )
        summary, rows, names = results(streams, tmp_path / "out")
    assert (summary.packets, rows, names) == (0, [], set())


def test_the_keys_are_fields_of_the_documents_and_all_that_is_needed(tmp_path: Path):
    assert set(Conversations.keys) <= set(ALL_KEYS)
    with conversations(tmp_path / "x") as streams:
        streams.add(
            pa.table({key: pa.array([["1"]], pa.list_(pa.string())) for key in Conversations.keys})
        )
        assert streams.connection.sql("SELECT packets FROM conversations").fetchall() == [(1,)]
