"""Streams that go on in the next file keep their names there, and only they."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether

from mt_pipeline.packets import endpoints
from mt_pipeline.packets.continuation import (
    LIMIT_SECONDS,
    fingerprint,
    read_left,
    take_up,
    write_left,
)
from mt_pipeline.packets.conversations import conversations
from mt_pipeline_tests.building.files import START_NS, timed, write_pcap
from mt_pipeline_tests.building.traffic import (
    CLIENT6,
    SERVER6,
    dns,
    quic_session,
    tls_session,
    udp_exchange,
)
from mt_pipeline_tests.packets.parts import said_in
from mt_pipeline_tests.tshark.parts import documents_of

TLS, QUIC = tls_session("a.example.com"), quic_session("q.example.com")
HELLO, SECOND = 4, 10**9
"""Packets of a TLS session until its hello; nanoseconds."""

Name = tuple[str | None, str | None]


def names(
    folder: Path, files: Sequence[Sequence[bytes]], *, pauses: Sequence[float] = ()
) -> list[set[Name]]:
    """Return the names of the streams in each file of a rotation.

    Args:
        folder: where the files are written.
        files: the frames of each file.
        pauses: seconds before each file but the first.
    """
    found, left, start = [], None, START_NS
    for number, frames in enumerate(files):
        start += int(SECOND * ([0, *pauses][number] if pauses else 0))
        file = folder / f"{number}.pcap"
        written = documents_of(write_pcap(file, timed(frames, start_ns=start)))
        start += len(frames) * 1_000_003
        with conversations(written) as streams:
            streams.read(written)
            packets, sums = (file.with_suffix(f".{name}") for name in ("packets", "sums"))
            streams.write_packets(packets, sums, said_in(folder))
            if left is not None:
                take_up(streams, left)
            streams.write_names(file.with_suffix(".names"))
            write_left(streams, file.with_suffix(".left"), left)
            endpoints.write(streams, file.with_suffix(".endpoints"))
        left = read_left(file.with_suffix(".left"))
        found.append(
            {
                (row["tls_sni"], row["tls_alpn"])
                for row in pq.read_table(file.with_suffix(".names")).to_pylist()
            }
        )
    return found


def renumbered(session: list[bytes], number: int) -> list[bytes]:
    """Shift the sequence numbers of a connection to tell it from one with the same ends."""
    frames = [Ether(frame) for frame in session]
    for frame in frames:
        frame[TCP].seq += number
        frame[TCP].ack += number
    return [bytes(frame) for frame in frames]


A, Q = ("a.example.com", "h2"), ("q.example.com", "h3")


@pytest.mark.parametrize(("session", "hello", "name"), [(TLS, HELLO, A), (QUIC, 1, Q)])
def test_a_stream_keeps_its_name_in_every_file_that_it_goes_on_in(
    tmp_path: Path, session: list[bytes], hello: int, name: Name
):
    cut = [
        session[:hello],
        session[hello : hello + 1],
        session[hello + 1 : hello + 2],
        session[hello + 2 :],
    ]

    assert names(tmp_path, cut) == [{name}] * 4


def test_over_ipv6_too(tmp_path: Path):
    session = tls_session("a.example.com", client=CLIENT6, server=SERVER6)

    assert names(tmp_path, [session[:HELLO], session[HELLO:]]) == [{A}, {A}]


def test_a_stream_that_is_silent_in_a_whole_file_keeps_its_name(tmp_path: Path):
    assert names(tmp_path, [TLS[:HELLO], dns(), [], TLS[HELLO:]]) == [{A}, set(), set(), {A}]


def test_a_stream_that_was_silent_for_too_long_does_not(tmp_path: Path):
    cut = [TLS[:HELLO], TLS[HELLO:]]

    assert names(tmp_path, cut, pauses=[LIMIT_SECONDS - 1]) == [{A}, {A}]
    assert names(tmp_path, cut, pauses=[LIMIT_SECONDS + 1]) == [{A}, set()]
    assert names(tmp_path, [TLS[:HELLO], dns(), TLS[HELLO:]], pauses=[LIMIT_SECONDS - 1, 2]) == [
        {A},
        set(),
        set(),
    ]


def test_what_a_stream_says_itself_counts_more(tmp_path: Path):
    again = tls_session("b.example.com", alpn=("http/1.1",))

    assert names(tmp_path, [TLS, again[3:]]) == [{A}, {("b.example.com", "http/1.1")}]
    assert names(tmp_path, [TLS, tls_session(None, alpn=("http/1.1",))[3:]]) == [
        {A},
        {("a.example.com", "http/1.1")},
    ], "an answer has no name"


def test_other_ports_other_ends_and_the_other_transport_are_other_streams(tmp_path: Path):
    others = [
        *tls_session(None, alpn=(), client_port=50_001),
        *tls_session(None, alpn=(), server="1.1.1.1"),
    ]
    others += udp_exchange(
        [(True, b"x"), (False, b"y")], client_port=50_000, server_port=443, server="93.184.216.34"
    )

    assert names(tmp_path, [TLS, others]) == [{A}, set()]


def test_of_two_streams_with_the_same_ends_the_last_one_goes_on_as_the_first(tmp_path: Path):
    second, nameless = (
        renumbered(tls_session("b.example.com"), 10**6),
        renumbered(tls_session(None, alpn=()), 10**7),
    )

    assert names(tmp_path, [[*TLS, *second[:HELLO]], [*second[HELLO:], *nameless]]) == [
        {A, ("b.example.com", "h2")},
        {("b.example.com", "h2")},
    ]


def test_a_name_that_was_taken_up_is_an_endpoint_with_all_packets_of_its_stream(tmp_path: Path):
    names(tmp_path, [TLS[:HELLO], TLS[HELLO:]])

    found = {
        row["endpoint"]: row["packets"]
        for row in pq.read_table(tmp_path / "1.endpoints").to_pylist()
        if row["kind"] == "name"
    }
    assert found == {"a.example.com": len(TLS) - HELLO}
    assert endpoints.summary(tmp_path / "1.endpoints").packets == len(TLS) - HELLO


def test_typed_packets_say_the_same_as_the_documents(tmp_path: Path):
    written = documents_of(write_pcap(tmp_path / "x.pcap", timed([*TLS, *QUIC, *dns()])))
    tables = []
    with ExitStack() as opened:
        for source in ("documents", "packets"):
            streams = opened.enter_context(conversations(written))
            if source == "documents":
                streams.read(written)
                packets, sums = tmp_path / "packets", tmp_path / "sums"
                streams.write_packets(packets, sums, said_in(tmp_path))
            else:
                streams.read_sums(tmp_path / "sums", tmp_path / "lookups")
            endpoints.write(streams, tmp_path / f"{source}.endpoints")
            tables.append(pq.read_table(tmp_path / f"{source}.endpoints"))

    assert tables[0].num_rows > 3
    assert tables[0].equals(tables[1], check_metadata=True)


def test_what_is_left_is_named_by_what_it_is(tmp_path: Path):
    names(tmp_path, [TLS[:HELLO], dns(), TLS[HELLO:], dns()], pauses=[0, 0, 2 * LIMIT_SECONDS])

    hashes = [fingerprint(tmp_path / f"{number}.left") for number in range(4)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert (hashes[3], fingerprint(tmp_path / "not there")) == ("", "")
    assert read_left(tmp_path / "3.left").num_rows == 0
    assert isinstance(read_left(tmp_path / "0.left"), pa.Table)
