"""Computes the flows of a capture from its rows in plain Python, slowly, to compare with ours.

It takes the answers in the rows as given: `test_original.py` compares these with the original.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import pyarrow.parquet

from mt_pipeline.enrichment.protocols import applications
from mt_pipeline.packets.domains import registrable_domain
from mt_pipeline.packets.http_methods import METHODS
from mt_pipeline.rows.sources import Sources

Row = Mapping[str, object]
_EPOCH = datetime(1970, 1, 1)
_BY_PROTOCOL = {row["protocol"]: row for row in applications().to_pylist()}


def flows(
    rows: Iterable[Row],
    lookups: Sequence[Row] = (),
    answers: Sequence[Row] = (),
    of_packets: Mapping[object, Row] | None = None,
) -> list[dict[str, object]]:
    """Count flows, in the order of time and conversation.

    Args:
        rows: rows of packets with all columns and `skipped`, before QuestDB made NULL of 0.0.0.0.
        lookups: what DNS answered, as `packets/lookups.py` writes it.
        answers: those for names, as `enrich.py` writes them.
        of_packets: the answer of `said`.

    Returns:
        Values by column; None for who runs the remote end.
    """
    conversations = packets_of_conversations(rows)
    known = {row["endpoint"]: row for row in answers if row["kind"] == "name"}
    spoken: dict[tuple, Counter[str]] = defaultdict(Counter)
    for (_, *stream, _), packets in conversations.items():
        spoken[tuple(stream)].update(row["protocol"] for row in packets)
    counted = [
        flow
        for (_, *stream, apart), packets in conversations.items()
        for flow in _flows(
            packets, apart or _most(spoken[tuple(stream)]), lookups, known, of_packets or {}
        )
    ]
    return sorted(counted, key=lambda flow: (flow["ts"], flow["conversation"]))


def said(files: Sources) -> dict[object, Row]:
    """Return JA4 and the bit of the method of each packet of a capture, by frame number."""
    names = ["frame_number", "said_ja4", "said_method"]
    typed = pyarrow.parquet.read_table(files.packets, columns=names)
    return {row["frame_number"]: row for row in typed.to_pylist()}


def packets_of_conversations(rows: Iterable[Row]) -> dict[tuple, list[Row]]:
    """Return the packets of each conversation that can be stored, in frame order."""
    stored = sorted(
        (row for row in rows if row["skipped"] is None), key=lambda row: row["frame_number"]
    )
    conversations: dict[tuple, list[Row]] = defaultdict(list)
    for row in stored:
        stream = (row["ip_proto"], row["stream_index"])
        apart = row["protocol"] if row["stream_index"] is None else None
        conversations[frozenset({end(row, "src"), end(row, "dst")}), *stream, apart].append(row)
    return conversations


def end(row: Row, which: str) -> tuple[object, ...]:
    """Say address and port of an end of a packet; without IP, its hardware address."""
    address = row[f"ip_{which}"] or row[f"ipv6_{which}"]
    has_ip = any(row[f"{kind}_{end}"] for kind in ("ip", "ipv6") for end in ("src", "dst"))
    return (address, row[f"port_{which}"], None if has_ip else row[f"eth_{which}"])


def _hardware(packets: list[Row], whose: tuple[object, ...]) -> tuple[object, object]:
    """Say the hardware address of an end, the first one that a packet has, and its device."""
    return next(
        (
            (packet[f"eth_{which}"], packet[f"device_{which}"])
            for packet in packets
            for which in ("src", "dst")
            if end(packet, which) == whose and packet[f"eth_{which}"] is not None
        ),
        (None, packets[0]["device_src" if end(packets[0], "src") == whose else "device_dst"]),
    )


def _most(spoken: Counter[str]) -> str:
    more = {
        name: count for name, count in spoken.items() if name not in ("tcp", "udp", "udplite")
    } or spoken
    return min(more, key=lambda name: (-more[name], name))


def _flows(
    packets: list[Row],
    protocol: str,
    lookups: Sequence[Row],
    known: Mapping[object, Row],
    of_packets: Mapping[object, Row],
) -> Iterable[dict[str, object]]:
    first = packets[0]
    local, remote = ("src", "dst")
    serves = (first["port_src"] or 0) < (first["port_dst"] or 0)
    if first["ip_src_type"] == "PUBLIC" and (first["ip_dst_type"] != "PUBLIC" or serves):
        local, remote = remote, local
    hardware = {which: _hardware(packets, end(first, which)) for which in ("src", "dst")}
    name, name_source, names_count = _remote_name(
        packets, end(first, local), end(first, remote), lookups
    )
    canonical = _canonical_name(packets, end(first, local), end(first, remote), lookups, name)
    connection = _connection(packets)
    own = [of_packets.get(packet["frame_number"], {}) for packet in packets]
    methods = {each["said_method"].bit_length() for each in own if each.get("said_method")}
    seconds: dict[object, list[Row]] = defaultdict(list)
    for packet in packets:
        seconds[packet["ts"].replace(microsecond=0)].append(packet)
    for second, of_second in seconds.items():
        out = [packet for packet in of_second if end(packet, "src") == end(first, local)]
        back = [packet for packet in of_second if end(packet, "src") != end(first, local)]
        names = {
            name: _first(of_second, name)
            for name in ("tls_sni", "tls_sni_domain", "tls_alpn", "dns_name", "http_host")
        }
        named = {
            "app_tag": _first(of_second, "tls_sni_netify_app_tag"),
            "category": _first(of_second, "tls_sni_netify_app_category_tag"),
        }
        address = {
            name.removeprefix(f"ip_{remote}_netify_"): _known(value)
            for name, value in first.items()
            if f"ip_{remote}_netify_" in name
        }
        is_public = first[f"ip_{remote}_type"] == "PUBLIC"
        answer = known.get(name, {}) if is_public else {}
        spoken = _BY_PROTOCOL.get(protocol, {})
        source, app, category = next(
            (
                found
                for found in (
                    ("name", named["app_tag"], named["category"]),
                    ("address", address["app_tag"], address["app_category_tag"]),
                    ("remote_name", answer.get("app_tag"), answer.get("app_category_tag")),
                    ("protocol", spoken.get("app_tag"), spoken.get("app_category_tag")),
                )
                if found[1] is not None
            ),
            (None, None, None),
        )
        providers = {
            *str(_first(of_second, "tls_sni_provider") or "").split(","),
            *str(first[f"ip_{remote}_provider"] or "").split(","),
            *str((answer["provider"] if source == "remote_name" else "") or "").split(","),
        } - {""}
        yield {
            "ts": second,
            "experiment": first["experiment"],
            "capture": first["capture"],
            "conversation": first["frame_number"],
            "stream_index": first["stream_index"],
            "ip_proto": _known(first["ip_proto"]),
            "protocol": protocol,
            "direction": _direction(first),
            "local": end(first, local)[0],
            "remote": end(first, remote)[0],
            "port_local": end(first, local)[1],
            "port_remote": end(first, remote)[1],
            "eth_local": hardware[local][0],
            "eth_remote": hardware[remote][0],
            "device_local": hardware[local][1],
            "device_remote": hardware[remote][1],
            "device_local_source": hardware[local][1] and "inventory",
            "device_remote_source": hardware[remote][1] and "inventory",
            "packets_out": len(out),
            "bytes_out": sum(packet["frame_len"] or 0 for packet in out),
            "packets_in": len(back),
            "bytes_in": sum(packet["frame_len"] or 0 for packet in back),
            "first_ts": min(packet["ts"] for packet in of_second),
            "last_ts": max(packet["ts"] for packet in of_second),
            **names,
            "app_tag": app,
            "app_category_tag": category,
            "app_source": source,
            **{
                field: address[field]
                for field in ("geo_continent", "geo_country", "geo_city", "geo_lon", "geo_lat")
            },
            "provider": ",".join(sorted(providers)) or None,
            "label": first["label"],
            "remote_name": name,
            "remote_name_source": name_source,
            "remote_names": names_count,
            "remote_domain": None if name is None else registrable_domain(name),
            "remote_canonical_name": canonical,
            **dict.fromkeys(
                (
                    "remote_asn",
                    "remote_organisation",
                    "remote_party",
                    "remote_tracker",
                    "app_confidence",
                )
            ),
            **connection,
            "retransmissions": sum(packet["tcp_retransmission"] or 0 for packet in of_second),
            "ja4": next((each["said_ja4"] for each in own if each.get("said_ja4")), None),
            "http_method": ",".join(METHODS[bit - 1] for bit in sorted(methods)) or None,
        }
        assert (
            min(packet["ts"] for packet in of_second)
            >= second
            > max(packet["ts"] for packet in of_second) - timedelta(seconds=1)
        )


def _connection(packets: list[Row]) -> dict[str, object]:
    """Say what became of a connection, how long its handshake took, and its version of TLS."""
    sent: dict[tuple, list[tuple[set[str], object]]] = defaultdict(list)
    for packet in packets:
        if packet["tcp_flags"] is not None:
            letters = {
                letter for bit, letter in enumerate("FSRPA") if packet["tcp_flags"] & 1 << bit
            }
            sent[end(packet, "src")].append((letters, packet["ts"]))
    both = [step for steps in sent.values() for step in steps]
    syns = [ts for letters, ts in both if "S" in letters and "A" not in letters]
    accepted = [ts for letters, ts in both if letters >= {"S", "A"}]
    versions = [packet["tls_version"] for packet in packets if packet["tls_version"] is not None]
    is_answered = bool(syns and accepted and min(accepted) >= min(syns))
    return {
        "tcp_state": _state(list(sent.values()), syns, accepted) if both else None,
        "handshake_ms": (min(accepted) - min(syns)) / timedelta(milliseconds=1)
        if is_answered
        else None,
        "tls_version": {772: "TLSv1.3", 771: "TLSv1.2", 770: "TLSv1.1", 769: "TLSv1.0"}.get(
            versions[0] if versions else 0
        ),
    }


def _state(sent: list[list[tuple[set[str], object]]], syns: list, accepted: list) -> str:
    of_ends = [[letters for letters, _ in steps] for steps in sent]
    everything = [letters for steps in of_ends for letters in steps]
    if syns and len(of_ends) == 1 and all({"S", "R"} & letters for letters in everything):
        return "unanswered"
    for steps, answers in zip(of_ends, reversed(of_ends), strict=True):
        calls = any("S" in letters and "A" not in letters for letters in steps)
        refuses = any("R" in letters for letters in answers)
        if len(of_ends) > 1 and calls and refuses and not accepted:
            return "refused"
    if any("R" in letters for letters in everything):
        return "reset"
    if len(of_ends) > 1 and all(any("F" in letters for letters in steps) for steps in of_ends):
        return "closed"
    return "established" if syns or accepted else "midstream"


def _remote_name(
    packets: list[Row], local: tuple, remote: tuple, lookups: Sequence[Row]
) -> tuple[str | None, str | None, int | None]:
    """Say the name of the remote end, its source, and how many names it may be."""
    if local[1] is not None and remote[1] is not None and remote[1] <= local[1]:
        host = re.sub(":[0-9]+$", "", str(_first(packets, "http_host") or ""))
        said = {
            "server_name": _host_name(_first(packets, "tls_sni")),
            "http_host": _host_name(host),
        }
        for source, name in said.items():
            if name:
                return name, source, 1
    for source, known in _answers(packets, local, remote, lookups).items():
        if known:
            answer = known[0] if source == "dns_later" else known[-1]
            return answer["name"], source, len({lookup["name"] for lookup in known})
    return None, None, None


def _canonical_name(
    packets: list[Row], local: tuple, remote: tuple, lookups: Sequence[Row], name: str | None
) -> object:
    """Say the last name of the chain that led from the name to the address."""
    answers = _answers(packets, local, remote, lookups)
    for source in ("dns", "dns_other_client", "dns_later"):
        if known := answers[source]:
            answer = known[0] if source == "dns_later" else known[-1]
            if answer["name"] == name:
                return answer["canonical"]
    return None


def _answers(
    packets: list[Row], local: tuple, remote: tuple, lookups: Sequence[Row]
) -> dict[str, list[Row]]:
    """Say what DNS answered about the remote end, in the order of time, the surest first."""
    began = (min(packet["ts"] for packet in packets) - _EPOCH) // timedelta(microseconds=1)
    of_address = [lookup for lookup in lookups if lookup["address"] == remote[0]]
    before = [lookup for lookup in of_address if lookup["time_us"] <= began]
    return {
        "dns": [lookup for lookup in before if lookup["client"] == local[0] is not None],
        "mdns": [lookup for lookup in before if lookup["client"] is None],
        "dns_other_client": [lookup for lookup in before if lookup["client"] is not None],
        "dns_later": [lookup for lookup in of_address if lookup["time_us"] > began],
    }


def _host_name(text: object) -> str | None:
    name = str(text or "").lower().rstrip(".")
    if re.fullmatch("[0-9.]*", name):
        return None
    return name if re.fullmatch("[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?", name) else None


def _direction(row: Row) -> str:
    types = {row["ip_src_type"], row["ip_dst_type"]}
    if "Unknown" in types:
        return "none"
    return {1: "transit" if types == {"PUBLIC"} else "inside", 2: "outside"}[len(types)]


def _first(packets: Iterable[Row], column: str) -> object:
    return next((packet[column] for packet in packets if _known(packet[column]) is not None), None)


def _known(value: object) -> object:
    return None if value == "Unknown" else value
