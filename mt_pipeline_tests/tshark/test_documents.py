"""Documents hold what `tshark -T ek` prints, and appear only when whole."""

import dataclasses
import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import duckdb
import pytest

from mt_pipeline.tshark import conversion, documents
from mt_pipeline.tshark.command import PREFERENCES, Tshark
from mt_pipeline.tshark.errors import NotACapture, TsharkFailed
from mt_pipeline.tshark.fields import ALL_KEYS, FIELDS
from mt_pipeline.tshark.packet_count import count_packets
from mt_pipeline_tests.building import odd, traffic, tunnels
from mt_pipeline_tests.building.everything import everything, tcp_udp_only
from mt_pipeline_tests.building.files import (
    Frame,
    compress,
    cut,
    in_time_order,
    timed,
    write_pcap,
    write_pcapng,
)
from mt_pipeline_tests.services import eventually
from mt_pipeline_tests.system.test_processes import is_gone, only_linux
from mt_pipeline_tests.tshark.parts import (
    NO_FORKS,
    Document,
    documents_of,
    endless_capture,
    read_all,
    readers,
    tshark,
)

SNI, ALPN = "tls_handshake_extensions_server_name", "tls_handshake_extensions_alpn_str"


def ek(capture: Path) -> list[Document]:
    """Ask tshark for all fields as `-T ek` prints them, every occurrence of each."""
    names = [name for field in FIELDS for name in (field.name, *field.also)]
    options = [part for name in names for part in ("-e", name)] + [
        part for preference in PREFERENCES for part in ("-o", preference)
    ]
    with tempfile.TemporaryDirectory() as profile:
        output = subprocess.run(
            [tshark().program, "-n", "-r", capture, "-T", "ek", *options],
            capture_output=True,
            check=True,
            env={**os.environ, "WIRESHARK_CONFIG_DIR": profile, "HOME": profile},
        ).stdout
    documents = [
        json.loads(line)
        for line in output.decode(errors="replace").split("\n")
        if line and not line.startswith('{"index"')
    ]
    for document in documents:
        for field in FIELDS:
            for name in field.also:  # the first one that a packet has counts
                if values := document["layers"].pop(name.replace(".", "_"), None):
                    document["layers"].setdefault(field.key, values)
        _as_columns_have_it(document["layers"])
    return documents


def _as_columns_have_it(layers: dict[str, list[str]]) -> None:
    """Write flags and findings as columns do."""
    if flags := layers.get("tcp_flags"):
        layers["tcp_flags"] = [f"0x{int(value, 16):03x}" for value in flags]
    layers |= {name: ["✓"] for name in layers if name.startswith("tcp_analysis_")}


ESCAPES = {
    character: f"\\{letter}" for character, letter in zip("\a\b\f\n\r\t\v", "abfnrtv", strict=True)
}
ESCAPES |= {chr(code): f"\\{code:03o}" for code in [*range(1, 32), 127] if chr(code) not in ESCAPES}
CONTROLS = {escape: character for character, escape in ESCAPES.items()}


def as_column(values: list[str]) -> str:
    """Return values as in a column of tshark, joined, escaped, cut at 2,047 bytes, and unescaped.

    Escapes in the text itself are undone, too.
    """
    column = "".join(ESCAPES.get(character, character) for character in ",".join(values))
    column = column.encode()[:2_047].decode(errors="replace")
    return re.sub(
        r"\\([abfnrtv]|[0-7]{3})", lambda escape: CONTROLS.get(escape[0], escape[0]), column
    )


def as_documented(reference: Document) -> Document:
    """Take the documented differences into a document of `-T ek`, and no others."""
    first_only = {field.key for field in FIELDS if field.first_only}
    layers = {}
    for key, values in reference["layers"].items():
        if key in first_only:
            values = [as_column(values[:1])]
        else:
            assert not any("," in value for value in values)
        if values != [""]:
            layers[key] = values
    return {**reference, "layers": layers}


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The capture with a bit of everything, and its documents."""
    capture = everything(tmp_path_factory.mktemp("everything") / "x.pcapng")
    return capture, documents_of(capture)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(tmp_path_factory.mktemp("small") / "dns.pcap", timed(traffic.dns()))


# The same as -T ek


def test_documents_of_everything_are_those_of_ek(complete: tuple[Path, Path]):
    reference, ours = ek(complete[0]), read_all(complete[1])
    assert len(ours) == len(reference) > 300
    assert ours == [as_documented(document) for document in reference]
    # What must be in it for this to mean anything.
    protocols = ":".join(document["layers"]["frame_protocols"][0] for document in ours).split(":")
    assert {
        "gre",
        "gtp",
        "teredo",
        "vxlan",
        "quic",
        "vlan",
        "raw",
        "sll",
        "null",
        "icmp",
        "icmpv6",
        "ipv6.fraghdr",
    } <= set(protocols)
    assert {key for document in ours for key in document["layers"]} | {"wlan_da"} == set(ALL_KEYS)
    names = {document["layers"][SNI][0] for document in ours if SNI in document["layers"]}
    assert {
        "split.example.com",
        "pieces.example.com",
        "quic6.example.com",
        "comma,in.example.com",
        "tab\tin.example.com",
        "x" * 300,
    } <= names


def test_values_that_do_not_hold_a_comma_are_all_there(complete: tuple[Path, Path]):
    reference, ours = ek(complete[0]), read_all(complete[1])
    several = 0
    for theirs, document in zip(reference, ours, strict=True):
        for field in FIELDS:
            values = theirs["layers"].get(field.key)
            assert document["layers"].get(field.key) == (
                values if values is None or not field.first_only else values[:1]
            )
            several += len(values or []) > 1 and not field.first_only
    assert several > 100


def names_as(names: Iterable[str | bytes]) -> list[bytes]:
    """Make a packet with a hello for each server name."""
    return [
        traffic.tls_session(name, alpn=(), client_port=10_000 + index)[3]
        for index, name in enumerate(names)
    ]


def test_odd_names_are_those_of_ek(tmp_path: Path):
    """Regression: a bell, a backspace and a form feed in a name stayed as tshark writes them."""
    names = [
        *odd.ODD_NAMES,
        *(bytes([code]) + b"in.example" for code in range(1, 256)),
        *(
            b"after \\" + bytes([code]) + b" in.example"
            for code in range(32, 127)
            if chr(code) not in "abfnrtv"
        ),
        *(
            b"",
            b" ",
            b" a ",
            b",",
            b"a,b",
            b'"',
            b'"quoted"',
            b"a\tb,c\nd\x01",
            b"\r\n",
            b"\n" * 1_000,
            b"{}",
            b"null",
            b"%s",
            b"</script>",
        ),
    ]
    capture = write_pcap(tmp_path / "x.pcap", timed(names_as(names)))
    reference, ours = ek(capture), read_all(documents_of(capture))
    assert len(ours) == len(names)
    assert ours == [as_documented(document) for document in reference]
    plain = [
        (a["layers"].get(SNI), b["layers"].get(SNI)) for a, b in zip(ours, reference, strict=True)
    ]
    assert [pair for pair in plain if pair[0] != pair[1]] == [(None, [""])], (
        "an empty value is absent; nothing else differs"
    )


def test_text_that_looks_like_an_escape_is_the_one_ambiguity(tmp_path: Path):
    names = [
        rb"lit\ter.al",
        rb"lit\001.al",
        rb"lit\177.al",
        rb"lit\000.al",
        rb"lit\400.al",
        rb"lit\01.al",
        rb"lit\x41.al",
        rb"\\",
    ]
    capture = write_pcap(tmp_path / "x.pcap", timed(names_as(names)))
    assert [document["layers"][SNI] for document in ek(capture)] == [
        [name.decode()] for name in names
    ]
    assert [document["layers"][SNI] for document in read_all(documents_of(capture))] == [
        *(
            ["lit\ter.al"],
            ["lit\x01.al"],
            ["lit\x7f.al"],
            [r"lit\000.al"],
            [r"lit\400.al"],
            [r"lit\01.al"],
            [r"lit\x41.al"],
            [r"\\"],
        )
    ]


def test_values_are_cut_at_2047_bytes_also_inside_of_a_character(tmp_path: Path):
    """Regression: bytes that are no UTF-8 ended the reading."""
    names = [
        "x" * 2_046,
        "x" * 2_047,
        "x" * 2_048,
        "x" * 3_000,
        *("x" * size + "ä€" for size in range(2_039, 2_049)),
        "€" * 900,
        "x" * 2_044 + "\t\t\t",
    ]
    hosts = ["y" * size + "日本" for size in range(2_040, 2_049)]
    frames = [
        *names_as(names),
        *chain.from_iterable(
            traffic.http(host, client_port=40_000 + index) for index, host in enumerate(hosts)
        ),
    ]
    capture = write_pcap(tmp_path / "x.pcap", timed(frames))
    reference, ours = ek(capture), read_all(documents_of(capture))
    assert ours == [as_documented(document) for document in reference]
    cut_off = [
        document["layers"]
        for document, theirs in zip(ours, reference, strict=True)
        if document != theirs
    ]
    assert len(cut_off) > 15
    assert {len(layers.get(SNI, layers.get("http_host"))[0].encode()) for layers in cut_off} <= set(
        range(2_044, 2_050)
    )


def test_a_list_that_is_cut_loses_its_end_only(tmp_path: Path):
    """Two thousand bytes of addresses in one frame: a packet in a hundred tunnels."""
    frame = traffic.dns()[0]
    for _ in range(150):
        frame = tunnels.ip_in_ip(frame)
    capture = write_pcap(tmp_path / "x.pcap", timed([frame]))
    [reference], [ours] = ek(capture), read_all(documents_of(capture))
    for key in ("ip_src", "ip_dst", "ip_proto"):
        text = ",".join(reference["layers"][key]).encode()[:2_047].decode()
        assert ours["layers"][key] == text.split(",")
    assert len(reference["layers"]["ip_dst"]) > 50


@pytest.mark.parametrize("link_type", [101, 113, 0], ids=["raw IP", "Linux cooked", "loopback"])
def test_every_link_type_is_that_of_ek(tmp_path: Path, link_type: int):
    wrap = {101: odd.raw_ip, 113: odd.linux_cooked, 0: odd.loopback}[link_type]
    capture = write_pcap(
        tmp_path / "x.pcap",
        timed(wrap([*traffic.dns(), *traffic.tls_session()])),
        link_type=link_type,
    )
    ours = read_all(documents_of(capture))
    assert ours == [as_documented(document) for document in ek(capture)]
    assert [document["layers"][SNI] for document in ours if SNI in document["layers"]] == [
        ["www.example.com"]
    ]


def test_compression_changes_nothing(complete: tuple[Path, Path], tmp_path: Path):
    capture, plain = tmp_path / "x.pcapng", complete[1]
    capture.write_bytes(complete[0].read_bytes())
    for how in ("gzip", "zstd", "lz4"):
        assert documents_of(compress(capture, how)).read_bytes() == plain.read_bytes(), how


def test_documents_do_not_depend_on_what_else_is_in_their_block(
    complete: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    capture = tmp_path / "x.pcapng"
    capture.write_bytes(complete[0].read_bytes())
    monkeypatch.setattr(conversion, "_BLOCK_BYTES", 200)  # one or two packets
    assert read_all(documents_of(capture)) == read_all(complete[1])


def test_timestamps_are_milliseconds_as_ek_has_them(tmp_path: Path):
    times = [
        0,
        999_999,
        1_000_000,
        999_999_999,
        10**9,
        1_700_000_000_123_456_789,
        (2**32 - 1) * 10**9,
    ]
    frames = [
        dataclasses.replace(frame, time_ns=time)
        for time in times
        for frame in timed(traffic.dns()[:1])
    ]
    capture = write_pcap(tmp_path / "x.pcap", frames)
    ours = read_all(documents_of(capture))
    assert ours == ek(capture)
    assert [document["timestamp"] for document in ours][-2:] == ["1700000000123", "4294967295000"]
    assert ours[5]["layers"]["frame_time_epoch"] == ["1700000000.123456789"]


# Reading


def test_reading_gives_a_column_of_lists_for_each_field_in_frame_order(complete: tuple[Path, Path]):
    ours = [document["layers"] for document in read_all(complete[1])]
    with duckdb.connect() as connection:
        relation = documents.read(connection, complete[1])
        assert tuple(relation.columns) == ALL_KEYS
        assert relation.fetchall() == [
            tuple(layers.get(key) for key in ALL_KEYS) for layers in ours
        ]
        some = documents.read(connection, complete[1], keys=(SNI, "frame_number"))
        assert some.fetchall() == [(layers.get(SNI), layers["frame_number"]) for layers in ours]


def test_packets_are_counted_while_writing_and_after(complete: tuple[Path, Path], tmp_path: Path):
    counts: list[int] = []
    packets = documents.write(
        tshark(), complete[0], tmp_path / "x.ndjson.zst", progress=counts.append
    )
    assert packets == documents.count(complete[1]) == len(read_all(complete[1])) == counts[-1]
    assert counts == sorted(counts)


def test_no_packets_and_one_packet_are_documents_too(tmp_path: Path):
    for packets in (0, 1):
        output = tmp_path / f"{packets}.ndjson.zst"
        assert (
            documents.write(
                tshark(),
                write_pcapng(tmp_path / f"{packets}.pcapng", timed(traffic.dns()[:packets])),
                output,
            )
            == packets
        )
        assert documents.count(output) == packets == len(read_all(output))
        with duckdb.connect() as connection:
            relation = documents.read(connection, output)
            assert tuple(relation.columns) == ALL_KEYS
            assert len(relation.fetchall()) == packets


def test_a_filter_that_nothing_matches_gives_no_packets(small: Path, tmp_path: Path):
    assert documents.write(tshark(), small, tmp_path / "none.ndjson.zst", display_filter="tcp") == 0
    assert (
        documents.write(
            tshark(), small, tmp_path / "one.ndjson.zst", display_filter="dns.flags.response == 1"
        )
        == 1
    )
    assert [
        document["layers"]["frame_number"] for document in read_all(tmp_path / "one.ndjson.zst")
    ] == [["2"]]


def test_a_cut_capture_gives_its_whole_packets(tmp_path: Path):
    capture = tcp_udp_only(tmp_path / "x.pcap")
    assert read_all(documents_of(cut(capture, 5))) == read_all(documents_of(capture))[:-1]


# The name of a file says what made it


def test_the_hash_changes_with_everything_that_makes_the_documents():
    one = Tshark("/usr/bin/tshark", "4.0.17")
    given = [
        (one, "a" * 64, ""),
        (dataclasses.replace(one, version="4.0.18"), "a" * 64, ""),
        (one, "b" * 64, ""),
        (one, "a" * 64, "tcp"),
        (one, "a" * 64, "tcp "),
        (one, "a" * 64 + "tcp", ""),
    ]
    hashes = [
        documents.inputs_hash(tshark, sha256=sha256, display_filter=display_filter)
        for tshark, sha256, display_filter in given
    ]
    assert len(set(hashes)) == len(given)
    assert all(re.fullmatch(r"[0-9a-f]{16}", each) for each in hashes)
    elsewhere = Tshark("/opt/bin/tshark", "4.0.17")
    assert documents.inputs_hash(elsewhere, sha256="a" * 64, display_filter="") == hashes[0], (
        "where the program lies makes no difference"
    )


def test_the_hash_is_the_same_in_every_process():
    program = (
        "from mt_pipeline.tshark import documents as d; "
        'tshark = d.Tshark("t", "4.0.17"); '
        'print(d.inputs_hash(tshark, sha256="a", display_filter="b"))'
    )
    reference = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert reference.stdout.strip() == documents.inputs_hash(
        Tshark("t", "4.0.17"), sha256="a", display_filter="b"
    )


# Whole or not at all


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """Where documents shall go; nothing else may ever be left in that folder."""
    path = tmp_path / "tshark_json" / "kitchen" / "x.ndjson.zst"
    yield path
    assert [each for each in path.parent.iterdir() if each != path] == []


def test_what_is_no_capture_leaves_nothing(tmp_path: Path, output: Path):
    (tmp_path / "x.pcap").write_text("text" * 1_000)
    with pytest.raises(NotACapture):
        documents.write(tshark(), tmp_path / "x.pcap", output)
    assert not output.exists()


@pytest.mark.parametrize(
    "when", ["at once", "inside a line", "between two lines", "after the last line"]
)
def test_a_killed_tshark_leaves_nothing_and_is_named(
    tmp_path: Path, complete: tuple[Path, Path], output: Path, when: str
):
    """Regression: a half line counted as tshark's mistake, and complete lines as a full capture."""
    with tshark().lines(complete[0]) as stream:
        reference = stream.output.read()
    half = reference.index(b"\n", len(reference) // 2) + 1
    after = {
        "at once": 0,
        "inside a line": half + 30,
        "between two lines": half,
        "after the last line": len(reference),
    }[when]
    program = tmp_path / "tshark"
    program.write_text(
        f'#!/bin/sh\n{NO_FORKS}\n"{tshark().program}" "$@" 2>&- | head -c {after}\nkill -KILL $$\n'
    )
    program.chmod(0o755)
    with pytest.raises(TsharkFailed, match=r"ended by signal 9"):
        documents.write(Tshark(str(program), "4.0.0"), complete[0], output)
    assert not output.exists()


def test_other_text_than_columns_is_a_failure_that_leaves_nothing(
    tmp_path: Path, small: Path, output: Path
):
    program = tmp_path / "tshark"
    program.write_text("#!/bin/sh\nprintf 'only\\ttwo\\n'\n")
    program.chmod(0o755)
    with pytest.raises(
        TsharkFailed,
        match=rf"dns\.pcap: tshark's output was not understood: .*{len(FIELDS)} columns",
    ):
        documents.write(Tshark(str(program), "4.0.0"), small, output)
    assert not output.exists()


def test_an_earlier_file_stays_when_writing_it_again_fails(
    tmp_path: Path, small: Path, output: Path
):
    documents.write(tshark(), small, output)
    before = output.read_bytes()
    with pytest.raises(NotACapture):
        documents.write(tshark(), tmp_path / "no such file", output)
    assert output.read_bytes() == before


def test_a_failing_listener_leaves_nothing(small: Path, output: Path):
    def fail(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        documents.write(tshark(), small, output, progress=fail)
    assert not output.exists()


def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing(
    complete: tuple[Path, Path], output: Path
):
    """A limit of the size of files is what comes nearest to a full disk everywhere."""
    allowed = complete[1].stat().st_size // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            documents.write(tshark(), complete[0], output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.errno == errno.EFBIG
    assert not output.exists()


@only_linux
def test_a_killed_writer_leaves_no_file_under_its_name_and_no_tshark(tmp_path: Path):
    program = """if True:
        import sys
        from pathlib import Path
        from mt_pipeline.tshark import documents
        from mt_pipeline.tshark.command import Tshark
        documents.write(Tshark(sys.argv[1], "4.0.0"), Path(sys.argv[2]), Path(sys.argv[3]))
    """
    output = tmp_path / "out" / "x.ndjson.zst"
    with endless_capture(tmp_path / "x.pcap") as path:
        with subprocess.Popen(
            [sys.executable, "-c", program, tshark().program, str(path), str(output)]
        ) as writer:
            try:
                # There is a folder too, for what does not fit into memory.
                assert eventually(
                    lambda: [each for each in output.parent.glob("*") if each.is_file()]
                )
                assert eventually(partial(readers, writer.pid))
                assert all(each.name.startswith(".") for each in output.parent.iterdir())
                tsharks = readers(writer.pid)
            finally:
                writer.kill()
        assert all(is_gone(reader.pid) for reader in tsharks)
    assert not output.exists()
    conversations = in_time_order([traffic.dns()])
    assert documents.write(tshark(), write_pcap(tmp_path / "y.pcap", conversations), output) == 2


@pytest.mark.parametrize("name", odd.OTHER_BLOCKS)
def test_blocks_that_are_no_packets_have_no_document(tmp_path: Path, name: str):
    frames = [
        *timed(traffic.dns()),
        Frame(traffic.dns()[0], None),
        *timed([b"\x00" * 20], link_type=147),
    ]
    plain = write_pcapng(tmp_path / "plain.pcapng", frames)
    path = write_pcapng(tmp_path / "x.pcapng", frames, between=[odd.OTHER_BLOCKS[name]] * 2)

    found = documents.count(documents_of(path))

    assert (
        found == documents.count(documents_of(plain)) == len(frames) == count_packets(path).packets
    )
