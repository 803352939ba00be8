"""JA4 of hellos, compared with the examples of its description, and through tshark."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mt_pipeline.packets.ja4 import ja4
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.hellos import SERVER_HELLO, chrome_hello
from mt_pipeline_tests.packets.parts import typed_of
from mt_pipeline_tests.tshark.parts import documents_of

CHROME = "t13d1516h2_8daaf6152771_e5627efa2ab1"
"""The example of the description, a hello of Chrome; below are its parts in hexadecimal."""

CIPHERS = "002f 0035 009c 009d 1301 1302 1303 c013 c014 c02b c02c c02f c030 cca8 cca9"
EXTENSIONS = "0005 000a 000b 000d 0012 0015 0017 001b 0023 002b 002d 0033 4469 ff01"
ALGORITHMS = "0403 0804 0401 0503 0805 0501 0806 0601"


def numbers(text: str) -> list[int]:
    return [int(each, 16) for each in text.split()]


def hello(
    *,
    transport: str = "t",
    version: int = 771,
    ciphers: str = CIPHERS,
    extensions: str = f"0000 0010 {EXTENSIONS}",
    versions: str = "0x6a6a,0x0304,0x0303",
    algorithms: str = ALGORITHMS,
    alpn: str = "h2",
) -> str:
    """Write a hello as `ja4` takes it."""
    lists = ("-".join(map(str, numbers(text))) for text in (ciphers, extensions))
    signed = ",".join(f"0x{each}" for each in algorithms.split())
    return "|".join((transport, f"{version},{','.join(lists)},29-23-24,0", versions, signed, alpn))


def test_the_example_of_the_description():
    assert ja4(hello()) == CHROME


def test_the_order_of_ciphers_and_extensions_does_not_count():
    ciphers, extensions = (
        " ".join(reversed(text.split())) for text in (CIPHERS, f"{EXTENSIONS} 0000 0010")
    )
    assert ja4(hello(ciphers=ciphers, extensions=extensions)) == CHROME


def test_the_order_of_signature_algorithms_counts():
    reverse = " ".join(reversed(ALGORITHMS.split()))
    first, ciphers, rest = ja4(hello(algorithms=reverse)).split("_")
    assert [first, ciphers] == CHROME.split("_")[:2]
    assert rest != CHROME.split("_")[2]


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"transport": "q"}, "q13d1516h2"),
        ({"versions": "0x0303,0x0302"}, "t12d1516h2"),
        ({"versions": "", "version": 769}, "t10d1516h2"),
        ({"versions": "0x0a0a"}, "t12d1516h2"),
        ({"versions": "0xfb1a"}, "t00d1516h2"),
        ({"extensions": f"0010 {EXTENSIONS}"}, "t13i1515h2"),
        ({"alpn": "http/1.1"}, "t13d1516h1"),
        ({"alpn": "h"}, "t13d1516hh"),
        ({"alpn": ""}, "t13d151600"),
        ({"alpn": "|x"}, "t13d151678"),
        ({"alpn": "ü"}, "t13d1516cc"),
        ({"ciphers": " ".join(f"{number:04x}" for number in range(120))}, "t13d9916h2"),
    ],
    ids=str,
)
def test_the_first_part_says_what_can_be_read(changes: dict[str, str], first: str):
    assert ja4(hello(**changes)).split("_")[0] == first


def test_a_hello_without_anything_has_zeros():
    assert ja4("t|768,,,,|||") == "ts3i000000_000000000000_000000000000"


def test_a_hello_without_signature_algorithms_hashes_the_extensions_alone():
    _, _, rest = ja4(hello(extensions="002b", algorithms="")).split("_")
    assert rest == hashlib.sha256(b"002b").hexdigest()[:12]


@pytest.mark.parametrize("text", ["1", ",,,,", "a-b,c,-", "771,1-2-,3--4", "٣,٣,٣"])
def test_what_is_no_ja3_is_no_error(text: str):
    first, *_ = (ja4(f"t|{text}|1,x|y|") or "").split("_")
    assert len(first) == 10


def test_a_hello_that_tshark_cuts_has_none():
    long = " ".join(f"{number:04x}" for number in range(0x1000, 0x1000 + 500))
    assert ja4(hello(ciphers=long)[: 2 + 2_047] + hello()[hello().index("|0x") :]) is None


def test_hellos_have_it_through_tshark_over_tcp_and_quic(tmp_path: Path):
    frames = [
        *traffic.tcp_session(
            [
                (traffic.FROM_CLIENT, chrome_hello("www.example.com")),
                (traffic.FROM_SERVER, SERVER_HELLO),
            ]
        ),
        *traffic.tls_session(None, alpn=(), segments=3, client_port=50_001),
        *traffic.quic_session("www.youtube.com"),
        *traffic.dns(),
    ]
    documents = documents_of(write_pcap(tmp_path / "x.pcap", timed(frames)))
    packets, _ = typed_of(documents)
    found = [each for each in pq.read_table(packets)["said_ja4"].to_pylist() if each is not None]
    ciphers = hashlib.sha256(b"1301,1302").hexdigest()[:12]
    of_tcp, of_quic = (
        hashlib.sha256(text).hexdigest()[:12] for text in (b"0015,002b", b"002b,0039")
    )
    assert found == [
        CHROME,
        f"t13i020200_{ciphers}_{of_tcp}",
        f"q13d0204h3_{ciphers}_{of_quic}",
    ]
