"""No packet fails its capture: each becomes a row or is skipped, whatever its fields contain."""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mt_pipeline.backends.loads import Load, Loaded, Stored
from mt_pipeline.backends.parquet import dataset
from mt_pipeline.backends.questdb import loader
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.defs import charts, metadata
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.observer import RowsLoaded
from mt_pipeline.rows.flows import flows
from mt_pipeline.rows.packets import rows
from mt_pipeline.rows.sources import Sources
from mt_pipeline.rows.summary import CaptureSummary, Summarizer
from mt_pipeline.tshark.fields import ALL_KEYS
from mt_pipeline_tests.backends.questdb.parts import Packet, files_of, packet, packets
from mt_pipeline_tests.report.parts import page_of

NUMBERS = (
    *"0 -0 -1 00 1.5 1e3 0x1f 65535 65536 2147483647 2147483648 -2147483648".split(),
    *"4294967295 4294967296 9223372036854775807".split(),
    *"9223372036854775808 -9223372036854775809 18446744073709551616 1e400 NaN -nan inf".split(),
    "1" * 400,
)
TEXTS = (
    *". .. ... .com a..com , a,b ' \" \\ null %s $1 [ { é名🙂.example 。 xn-- xn--a.com".split(),
    *(
        "",
        " ",
        "\t",
        "a\nb",
        "\0",
        "a\0b",
        "\x1b[31m",
        "\x7f",
        "\u202ecom.",
        "\u2028",
        "\u200b",
        "\ufeff",
        "\ufffd",
    ),
    *("x" * 2047, "." * 2047, "é" * 1023, "a." * 1023),
)
ADDRESSES = (
    *"0.0.0.0 255.255.255.255 256.1.1.1 1.2.3 1.2.3.4.5 01.02.03.04 1.2.3.4/8".split(),
    *"1.2.3.4,5.6.7.8 8.8.8.8 localhost".split(),
    *":: ::1 ::: fe80::1%eth0 ::ffff:8.8.8.8 2001:db8::/32 2001:4860:4860::8888".split(),
    *"ff:ff:ff:ff:ff:ff zz:zz:zz:zz:zz:zz".split(),
)
TIMES = (
    *"1700000000.000000001 1700000000 1700000000. .5 -1.000000000 0.000000000".split(),
    *"253402300799.999999999 253402300800.000000000".split(),
    *"2023-11-14T22:13:20.123456789Z 2023-11-14T22:13:20Z 99999-01-01T00:00:00Z".split(),
    *"0000-00-00T00:00:00Z : 1:1 T::Z -1:-1".split(),
)
VALUES = (*NUMBERS, *TEXTS, *ADDRESSES, *TIMES)
PROTOCOLS = (
    *": eth:ethertype:ip:tcp:tls ip ipv6 icmp:ip:udp tcp:udp".split(),
    *"eth:ipv6:ipv6.hopopts:udp:quic _ws.malformed".split(),
    "",
    "eth:" * 500,
)
FEW = 4


def _one_by_one() -> Iterator[Packet]:
    """Yield IPv4 and IPv6 packets that set one field to each of the values, numbered in order."""
    ipv6 = {
        "frame_protocols": "eth:ethertype:ipv6:udp:quic",
        "ipv6_src": "fd00::1",
        "ipv6_dst": "2001:4860:4860::8888",
        "ipv6_nxt": "17",
    }
    ipv6 |= {
        "udp_srcport": "5",
        "udp_dstport": "443",
        "udp_stream": "3",
        "tls_handshake_extensions_server_name": "www.example.com",
    }
    of_ipv4 = ("ip_src", "ip_dst", "ip_proto", "tcp_srcport", "tcp_dstport", "tcp_stream")
    number = 0
    for key in ALL_KEYS:
        for value in (*VALUES, *(PROTOCOLS if key == "frame_protocols" else ())):
            for base in ({}, {**dict.fromkeys(of_ipv4), **ipv6}):
                number += 1
                yield packet(number, **{**base, **({key: value} if key != "frame_number" else {})})


def _mixed(count: int, *, seed: int = 15) -> Iterator[Packet]:
    """Make packets of which every field may have any of the values, several, or none."""
    chance = random.Random(seed)  # noqa: S311 - the same packets every time
    for number in range(1, count + 1):
        chosen = {
            key: [chance.choice(VALUES) for _ in range(chance.randrange(FEW))]
            for key in ALL_KEYS
            if chance.random() < 0.5
        }
        protocols = chance.choice(PROTOCOLS) if chance.random() < 0.5 else chance.choice(VALUES)
        present = {key: values for key, values in chosen.items() if values}
        yield {
            **packet(number),
            **present,
            "frame_protocols": protocols,
            "frame_number": str(number),
        }


def _load(
    database: Database, sources: Sources, capture: str, experiment: str, folder: Path
) -> tuple[Loaded, Stored, CaptureSummary]:
    """Load a capture into both back ends, which must hold the same."""
    teller = Summarizer()
    given = {"capture": capture, "experiment": experiment}
    with (
        closing(rows(sources, **given)) as of_packets,
        closing(flows(sources, **given)) as of_flows,
    ):
        [(loaded, stored)] = loader.load(
            database, [Load(capture, experiment, of_packets, teller.pass_on(of_flows))]
        )
    with (
        closing(rows(sources, **given)) as of_packets,
        closing(flows(sources, **given)) as of_flows,
    ):
        of_files, in_files = dataset.load(folder, Load(capture, experiment, of_packets, of_flows))
    assert (of_files.rows, of_files.skipped, in_files) == (loaded.rows, loaded.skipped, stored)
    return loaded, stored, teller.summary()


@pytest.mark.parametrize("kind", ["one by one", "mixed"])
def test_each_odd_packet_is_a_row_or_counted_as_skipped(
    database: Database, near: bool, kind: str, tmp_path: Path
):
    sent = list(_one_by_one() if kind == "one by one" else _mixed(2000))
    experiment = f"odd_packets_{kind}_{near}".lower().replace(" ", "_")
    with files_of(sent) as sources:
        loaded, stored, summary = _load(
            database, sources, f"{experiment}/a.pcap", experiment, tmp_path
        )
    assert loaded.read == len(sent)
    assert loaded.rows == stored.rows == len(sent) - sum(loaded.skipped.values())
    assert stored.agrees
    assert set(loaded.skipped) <= {"time not readable", "time before 1970", "time after 9999"}
    assert loaded.rows > len(sent) // 3
    assert (
        charts.of_summary(summary, grafana="http://127.0.0.1:3001", experiment=experiment)["bytes"]
        == stored.bytes
    )
    assert f"{experiment}/a.pcap" in page_of(database, experiment)


def test_a_packet_without_a_number_is_counted_as_skipped(database: Database, tmp_path: Path):
    values = (
        "",
        ".",
        "NaN",
        "inf",
        "null",
        "x" * 2047,
        "\0",
        "-1",
        "-2147483648",
        "2147483648",
        "4294967296",
        "9223372036854775808",
        "1" * 400,
    )
    odd = [packet(2, frame_number=value) for value in values]
    with files_of([packet(1), *odd, packet(3)]) as sources:
        loaded, stored, _ = _load(database, sources, "odd_numbers/a.pcap", "odd_numbers", tmp_path)
    assert (loaded.read, stored.agrees) == (len(odd) + 2, True)
    assert loaded.rows + sum(loaded.skipped.values()) == loaded.read
    assert set(loaded.skipped) == {"number not readable"}


@pytest.mark.parametrize("length", ["0", "4294967295"])
def test_packets_without_a_length_are_rows_and_told_of(
    database: Database, length: str, tmp_path: Path
):
    experiment = f"no_length_{length}"
    with files_of(
        packets(3, frame_len=length, tls_handshake_extensions_server_name=".")
    ) as sources:
        loaded, stored, summary = _load(
            database, sources, f"{experiment}/a.pcap", experiment, tmp_path
        )
    assert (loaded.rows, stored.bytes, stored.agrees) == (3, 0, True)
    described = charts.of_summary(summary, grafana=None, experiment=experiment)
    assert described["bytes"] == 0
    done = RowsLoaded(
        files=CaptureFiles(tmp_path, "a"),
        inputs="",
        seconds=1,
        loaded=loaded,
        stored=stored,
        summary=summary,
        locations=(),
        experiment=experiment,
        devices=0,
    )
    assert metadata.of_rows(done, grafana=None)["rows"] == 3
    assert f"{experiment}/a.pcap" in page_of(database, experiment)
