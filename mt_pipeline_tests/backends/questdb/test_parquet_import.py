"""The line of files: the same rows as over ILP, and no file is left behind."""

from dataclasses import replace
from pathlib import Path

import pytest

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.parquet_import import own_folder
from mt_pipeline_tests.backends.questdb.parts import SERVER, load, packet, packets, view

_near = pytest.mark.parametrize("near", ["near"], indirect=True)


@_near
def test_both_ways_lead_to_the_same_rows(database: Database):
    ipv6 = {
        "frame_protocols": "eth:ethertype:ipv6:udp",
        "ip_src": None,
        "ip_dst": None,
        "ip_proto": None,
        "tcp_stream": None,
        "ipv6_nxt": "17",
    }
    broadcast = {"ip_src": "0.0.0.0", "ip_dst": "255.255.255.255"}  # noqa: S104
    sent = [
        *packets(2_000),
        packet(2_001, vlan_id="7", dns_qry_name="only.once.example", **broadcast),
        packet(
            2_002,
            ipv6_src="fd00:1::20",
            ipv6_dst="2a00:1450:4001:831::200e",
            udp_srcport="1",
            udp_dstport="2",
            udp_stream="1",
            **ipv6,
        ),
        packet(
            2_003,
            frame_protocols=None,
            frame_len="2147483648",
            tls_handshake_extensions_server_name="NULL",
            dns_qry_name="\0",
        ),
        packet(
            2_004,
            frame_time_epoch="0.000000999",
            tls_handshake_extensions_server_name="näme\\'.example",
            tcp_stream="9",
        ),
        packet(2_005, frame_time_epoch="253402300799.999999999", http_host=" "),
        packet(2_006, ip_src="128.0.0.0", ip_dst="255.255.255.255"),
    ]
    netflix = {
        "provider": "netify",
        "app_tag": "netflix",
        "geo_city": "São Paulo",
        "geo_lon": -46.625,
        "geo_lat": 0.1 + 0.2,
    }
    names = {"capture": "ways/a.pcap", "experiment": "ways"}
    answers = {("address", SERVER): netflix}
    load(replace(database, import_folder=None), sent, answers=answers, **names)
    over_ilp = view(database, "ways")
    assert load(database, sent, answers=answers, **names).rows == 2_006
    assert view(database, "ways") == over_ilp


@_near
@pytest.mark.parametrize(
    "name",
    [
        "x' END, NULL FROM read_parquet('trades.parquet') --",
        "back\\slash.example",
        "{0}.%s.example",
        "näme.example",
        "x" * 10_001,
        "x",
    ],
)
def test_a_text_of_all_packets_is_stored_as_it_is(database: Database, name: str):
    """Text of many rows goes into the statement, where it must not become SQL."""
    sent = [*packets(400, http_host=name), packet(401), packet(402, http_host="rare.example")]
    load(database, sent, capture="stated/a.pcap", experiment="stated")
    hosts = [row["http_host"] for row in view(database, "stated")]
    assert hosts == [name] * 400 + [None, "rare.example"]


@_near
def test_what_is_known_no_more_is_null_after_the_next_load(database: Database):
    """A column without values is left out of the statement."""
    names = {"capture": "lost/a.pcap", "experiment": "lost"}
    known = {("address", SERVER): {"provider": "netify", "app_tag": "netflix", "geo_lon": 1.5}}
    load(database, packets(3), answers=known, **names)
    load(database, packets(3), **names)
    assert {
        (row["ip_dst_provider"], row["ip_dst_netify_app_tag"], row["ip_dst_netify_geo_lon"])
        for row in view(database, "lost")
    } == {(None, "Unknown", None)}


@_near
def test_no_file_is_left_behind(database: Database):
    load(database, packets(3), capture="left/a.pcap", experiment="left")
    assert list(database.import_folder.glob("load-*")) == []


def test_files_of_a_killed_load_are_deleted_by_the_next_but_not_those_of_one_at_work_or_of_others(
    tmp_path: Path,
):
    for folder in ("load-killed", "of_the_user"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.parquet").touch()
    with own_folder(tmp_path) as first, own_folder(tmp_path) as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second, tmp_path / "of_the_user"])
    assert list(tmp_path.rglob("*")) == [
        tmp_path / "of_the_user",
        tmp_path / "of_the_user" / "x.parquet",
    ]
