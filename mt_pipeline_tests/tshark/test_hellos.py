"""Hellos of TLS, QUIC and HTTP on ports of other protocols, and these protocols on their ports."""

import subprocess
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from mt_pipeline.tshark import hellos
from mt_pipeline.tshark.command import PREFERENCES
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.hellos import (
    SERVER_HELLO,
    application_data,
    client_hello,
    quic_initials,
)
from mt_pipeline_tests.tshark.parts import documents_of, output_of, read_all, tshark

TLS_PORTS = (53, 80, 443, 1883, 3128, 3306, 5000, 5222, 5432, 8008, 8009, 8080, 8088, 8883, 9092)
QUIC_PORTS = (53, 80, 443, 853, 3389, 4500, 5353, 6081, 9200)
HTTP_PORTS = (80, 443, 5000, 8009, 8080)
SNI = "tls_handshake_extensions_server_name"
STUN = bytes.fromhex("000100002112a442") + bytes(range(12))


def tls(port: int, *, segments: int = 1) -> list[bytes]:
    hello = client_hello(f"p{port}.example.com", padding=900)
    size = -(-len(hello) // segments)
    parts = [hello[start : start + size] for start in range(0, len(hello), size)]
    messages = [(traffic.FROM_CLIENT, part) for part in parts]
    messages += [(traffic.FROM_SERVER, SERVER_HELLO), (traffic.FROM_CLIENT, application_data(90))]
    return traffic.tcp_session(messages, client_port=50_000 + port, server_port=port)


def quic(port: int) -> list[bytes]:
    initials = quic_initials(f"q{port}.example.com", connection_id=port.to_bytes(8, "big"))
    return traffic.udp_exchange(
        [(traffic.FROM_CLIENT, initials[0]), (traffic.FROM_SERVER, b"\x41" + bytes(99))],
        client_port=50_000 + port,
        server_port=port,
    )


def http(port: int) -> list[bytes]:
    messages = [
        (traffic.FROM_CLIENT, f"GET / HTTP/1.1\r\nHost: h{port}.example.com\r\n\r\n".encode()),
        (traffic.FROM_SERVER, b"HTTP/1.1 204 No Content\r\n\r\n"),
    ]
    return traffic.tcp_session(messages, client_port=40_000 + port, server_port=port)


def layers_of(folder: Path, *frames: list[bytes]) -> list[dict[str, list[str]]]:
    capture = write_pcap(folder / "hellos.pcap", timed(list(chain.from_iterable(frames))))
    return [document["layers"] for document in read_all(documents_of(capture))]


def protocols(layers: dict[str, list[str]]) -> list[str]:
    return layers["frame_protocols"][0].split(":")


def test_tls_has_its_name_and_protocol_on_a_port_of_another_protocol(tmp_path: Path):
    """Regression: on port 8080 it was broken HTTP, on 1883 MQTT, on 5000 GSM."""
    packets = layers_of(tmp_path, *map(tls, TLS_PORTS))
    names = [packet[SNI][0] for packet in packets if SNI in packet]
    assert names == [f"p{port}.example.com" for port in TLS_PORTS]
    assert [packet["tls_handshake_extensions_alpn_str"] for packet in packets if SNI in packet] == [
        ["h2"]
    ] * len(TLS_PORTS)
    said = [packet for packet in packets if len(protocols(packet)) > 4]
    assert {tuple(protocols(packet)) for packet in said} == {
        ("eth", "ethertype", "ip", "tcp", "tls")
    }
    assert len(said) == 3 * len(TLS_PORTS)


def test_a_hello_in_several_segments_is_put_together(tmp_path: Path):
    packets = layers_of(tmp_path, tls(8080, segments=3))
    assert [packet[SNI] for packet in packets if SNI in packet] == [["p8080.example.com"]]


def test_quic_has_its_name_and_protocol_on_a_port_of_another_protocol(tmp_path: Path):
    """Regression: on port 853 it was DTLS, on 5353 mDNS, on 4500 IPsec."""
    packets = layers_of(tmp_path, *map(quic, QUIC_PORTS))
    assert [packet[SNI][0] for packet in packets if SNI in packet] == [
        f"q{port}.example.com" for port in QUIC_PORTS
    ]
    assert {protocols(packet)[4] for packet in packets} == {"quic"}


def test_http_has_its_host_on_a_port_of_another_protocol(tmp_path: Path):
    """Regression: on port 5000 it was GSM, on 443 nothing."""
    packets = layers_of(tmp_path, *map(http, HTTP_PORTS))
    assert [packet["http_host"][0] for packet in packets if "http_host" in packet] == [
        f"h{port}.example.com" for port in HTTP_PORTS
    ]
    assert sum("http" in protocols(packet) for packet in packets) == 2 * len(HTTP_PORTS)


def test_what_is_no_hello_is_dissected_as_without_the_script(tmp_path: Path):
    capture = everything(tmp_path / "everything.pcapng")
    options = [part for preference in PREFERENCES for part in ("-o", preference)]
    without = subprocess.run(
        [tshark().program, "-nr", capture, *options, "-T", "fields", "-e", "frame.protocols"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.splitlines()
    documents = read_all(documents_of(capture))
    assert [document["layers"]["frame_protocols"][0] for document in documents] == without


@pytest.mark.parametrize("ports", [(88, 50_000), (88, 137)])
def test_what_the_protocol_of_a_udp_port_refuses_goes_on_to_others(
    tmp_path: Path, ports: tuple[int, int]
):
    """Kerberos refuses STUN, which tshark finds by its bytes, or the other port's protocol."""
    message = STUN if 137 not in ports else traffic.dns()[0][42:]
    frames = traffic.udp_exchange(
        [(traffic.FROM_CLIENT, message)], client_port=ports[1], server_port=ports[0]
    )
    [packet] = layers_of(tmp_path, frames)
    assert protocols(packet)[4:] == ["nbns" if 137 in ports else "stun"]


def test_one_tshark_per_capture_says_the_same_as_forks(tmp_path: Path):
    frames = [*tls(8080), *quic(853), *http(5000)]
    capture = write_pcap(tmp_path / "forks.pcap", timed(frames))
    alone = output_of(capture, program=replace(tshark(), fork_seconds=0))
    assert output_of(capture) == alone
    assert sum(b"example.com" in line for line in alone) == 3


def test_the_documents_show_no_layer_of_the_script(tmp_path: Path):
    frames = [*tls(8080), *quic(853)]
    capture = write_pcap(tmp_path / "gates.pcap", timed(frames))
    assert b":mt_hellos_" in b"".join(output_of(capture)), "it does not work without its layers"
    assert "mt_hellos" not in str(read_all(documents_of(capture)))
    assert hellos.SCRIPT.is_file()
