"""Computes the rows that the original program, MT_ProcessPKTs, stores, to compare with ours.

It is slow and simple: it reads `tshark -T json` with the original's eleven fields, and shares no
code with mt_pipeline, on purpose. It takes captures with IPv4 TCP and UDP only, without tunnels and
fragments, as the original does. It differs from the original where mt_pipeline does:

- An address is PUBLIC only if it is globally reachable and no multicast.
- An empty text is `Unknown`; 0.0 degrees and 0.0.0.0 are None.
- Nothing is known of addresses that are not public.
- Names are looked up in lower case without the last dot.
- A length may exceed 32,767.
"""

import ipaddress
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

Answers = Mapping[tuple[str, str], Mapping[str, object]]

_FIELDS = (
    "frame.time_epoch",
    "ip.src",
    "ip.dst",
    "frame.len",
    "ip.proto",
    "tcp.port",
    "udp.port",
    "tls.handshake.extensions_server_name",
    "tls.handshake.extensions_alpn_str",
    "tcp.stream",
    "udp.stream",
)
_PROTOCOLS = {"6": "TCP", "17": "UDP"}


class NotForTheOriginalError(ValueError):
    """A packet at which the original ends its run."""


def rows(capture: Path, answers: Answers) -> Iterator[dict[str, object]]:
    """Yield a row per packet, in order, with the original's 29 columns by their names.

    Args:
        capture: any capture with IPv4 TCP and UDP only.
        answers: facts by kind (`address` or `name`) and value: app_tag, app_category_tag,
            domain_tag, geo_continent, geo_country, geo_city, geo_lon, geo_lat. A fact that is
            missing is not known.

    Yields:
        `ts` in whole microseconds since 1970, addresses as text.

    Raises:
        NotForTheOriginalError: a packet is neither IPv4 TCP nor UDP, or does not have two ports.
    """
    packets = [_packet(layers) for layers in _tshark(capture)]
    names: dict[tuple[str, int], dict[str, str]] = {}
    for packet in packets:
        names.setdefault(packet["stream"], {"sni": "Unknown", "alpn": "Unknown"}).update(
            packet["says"]
        )
    for packet in packets:
        yield _row(packet, names[packet["stream"]], answers)


def _tshark(capture: Path) -> Iterator[dict[str, list[str]]]:
    tshark = shutil.which("tshark")
    assert tshark, "tshark is not on PATH"
    with tempfile.TemporaryDirectory() as profile:  # nobody's preferences
        command = [
            tshark,
            "-n",
            "-r",
            str(capture),
            "-T",
            "json",
            *(part for field in _FIELDS for part in ("-e", field)),
        ]
        output = subprocess.run(
            command,
            capture_output=True,
            check=True,
            env={**os.environ, "WIRESHARK_CONFIG_DIR": profile},
        ).stdout
    for document in json.loads(output.decode(errors="replace")):
        yield document["_source"]["layers"]


def _packet(layers: dict[str, list[str]]) -> dict:
    protocol = _PROTOCOLS.get(layers.get("ip.proto", [""])[-1])
    ports = layers.get("tcp.port", []) + layers.get("udp.port", [])
    if protocol is None or len(ports) != 2:
        raise NotForTheOriginalError(f"not IPv4 TCP or UDP with two ports: {layers}")
    seconds, fraction = layers["frame.time_epoch"][0].split(".")
    says = {
        what: layers[field][0]
        for what, field in (
            ("sni", "tls.handshake.extensions_server_name"),
            ("alpn", "tls.handshake.extensions_alpn_str"),
        )
        if layers.get(field, [""])[0] != ""
    }
    return {
        "ts": int(seconds) * 1_000_000 + int(fraction[:6]),
        "src": layers["ip.src"][0],
        "dst": layers["ip.dst"][0],
        "ports": [int(port) for port in ports],
        "length": int(layers["frame.len"][0]),
        "protocol": protocol,
        "stream": (protocol, int(layers[f"{protocol.lower()}.stream"][0])),
        "says": says,
    }


def _row(packet: dict, names: dict[str, str], answers: Answers) -> dict[str, object]:
    source, target = (
        _facts_of_address(packet["src"], answers),
        _facts_of_address(packet["dst"], answers),
    )
    name = (
        answers.get(("name", names["sni"].lower().rstrip(".")), {})
        if names["sni"] != "Unknown"
        else {}
    )
    return {
        "ts": packet["ts"],
        "ip_src": None if packet["src"] == "0.0.0.0" else packet["src"],  # noqa: S104
        "ip_src_type": "PUBLIC" if _is_public(packet["src"]) else "LOCAL",
        "port_src": packet["ports"][0],
        "ip_dst": None if packet["dst"] == "0.0.0.0" else packet["dst"],  # noqa: S104
        "ip_dst_type": "PUBLIC" if _is_public(packet["dst"]) else "LOCAL",
        "port_dst": packet["ports"][1],
        "frame_len": packet["length"],
        "ip_proto": packet["protocol"],
        "tls_sni": names["sni"],
        "tls_alpn": names["alpn"],
        "stream_index": packet["stream"][1],
        "ip_src_netify_app_tag": source.get("app_tag") or "Unknown",
        "ip_src_netify_app_category_tag": source.get("app_category_tag") or "Unknown",
        "ip_src_netify_geo_continent": source.get("geo_continent") or "Unknown",
        "ip_src_netify_geo_country": source.get("geo_country") or "Unknown",
        "ip_src_netify_geo_city": source.get("geo_city") or "Unknown",
        "ip_src_netify_geo_lon": source.get("geo_lon") or None,
        "ip_src_netify_geo_lat": source.get("geo_lat") or None,
        "ip_dst_netify_app_tag": target.get("app_tag") or "Unknown",
        "ip_dst_netify_app_category_tag": target.get("app_category_tag") or "Unknown",
        "ip_dst_netify_geo_continent": target.get("geo_continent") or "Unknown",
        "ip_dst_netify_geo_country": target.get("geo_country") or "Unknown",
        "ip_dst_netify_geo_city": target.get("geo_city") or "Unknown",
        "ip_dst_netify_geo_lon": target.get("geo_lon") or None,
        "ip_dst_netify_geo_lat": target.get("geo_lat") or None,
        "tls_sni_netify_app_tag": name.get("app_tag") or "Unknown",
        "tls_sni_netify_app_category_tag": name.get("app_category_tag") or "Unknown",
        "tls_sni_netify_domain_tag": name.get("domain_tag") or "Unknown",
    }


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.is_global and not parsed.is_multicast


def _facts_of_address(address: str, answers: Answers) -> Mapping[str, object]:
    return answers.get(("address", address), {}) if _is_public(address) else {}
