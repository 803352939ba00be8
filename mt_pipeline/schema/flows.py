"""The column table of flows_<experiment>: name, type, unit, meaning, and source of each value.

A flow sums up what a conversation of a capture sent within one second. A conversation is an
unordered pair of ends, with addresses and ports, without IP with hardware addresses, and what they
spoke: `ip_proto` and `stream_index`; without a stream, `protocol` too. The table, the views and the
documentation derive from FLOW_COLUMNS. A source is DuckDB SQL over these tables of
`rows/flows.py`:

- `f`: a flow and its conversation. `f.local_…` and `f.remote_…` describe its ends, `…_is_public`
  is true for a PUBLIC end. `rows/flows.py` looks up their devices and owners afterwards.
- `address`, `name`, `remote`: the answers for the remote address, for the server name and for the
  remote name of a PUBLIC end, NULL without an answer.
- `inspected`: the application that nDPI found in the conversation, `protocol` that which
  `f.protocol` says by itself; NULL without one.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FlowColumn:
    """A column of flows_<experiment>.

    Attributes:
        name: its name in the table.
        type: its QuestDB type.
        unit: the unit of a number or a time; empty if it has none.
        meaning: a phrase for the documentation.
        source: DuckDB SQL; see above.
    """

    name: str
    type: str
    unit: str
    meaning: str
    source: str


def _text(name: str, meaning: str, source: str) -> FlowColumn:
    return FlowColumn(name, "SYMBOL", "", meaning, source)


def _number(name: str, kind: str, unit: str, meaning: str, source: str | None = None) -> FlowColumn:
    return FlowColumn(name, kind, unit, meaning, source or f"f.{name}")


_APP_SOURCES = {
    "name": "name",
    "address": "address",
    "remote": "remote_name",
    "inspected": "dpi",
    "protocol": "protocol",
}
"""Tables that know applications, the surest first, each with its `app_source`."""


def _application(value: str, tables: Iterable[str] = _APP_SOURCES) -> str:
    """Select a value of the first table that knows an application; NULL if it is not of `tables`.

    So the application and what is said of it come from the same answer.

    Args:
        value: SQL of the value; `{table}` and `{source}` are filled in.
        tables: those that have the value.
    """
    cases = " ".join(
        f"WHEN {table}.app_tag IS NOT NULL THEN "
        + (value.format(table=table, source=source) if table in tables else "NULL")
        for table, source in _APP_SOURCES.items()
    )
    return f"CASE {cases} END"


_DIRECTION = (
    "CASE WHEN f.local_address IS NULL OR f.remote_address IS NULL THEN 'none' "
    "WHEN f.local_is_public AND f.remote_is_public THEN 'transit'\n"
    "WHEN f.local_is_public OR f.remote_is_public THEN 'outside' ELSE 'inside' END"
)

_OTHER_PROVIDER = _application("{table}.provider", ["remote", "inspected"])
_PROVIDERS = (
    "nullif(array_to_string(list_sort(list_distinct(string_split("
    f"concat_ws(',', name.provider, address.provider, {_OTHER_PROVIDER}), ','))), ','), '')"
)

FLOW_COLUMNS: tuple[FlowColumn, ...] = (
    _number(
        "ts",
        "TIMESTAMP",
        "second, UTC",
        "the second that the row is about",
        "make_timestamp(f.second * 1000000)",
    ),
    _text("experiment", "first folder below the inbox, as [a-z0-9_]{1,64}", "$experiment"),
    _text("capture", "capture key: the path of the capture below the inbox", "$capture"),
    _number(
        "conversation",
        "INT",
        "",
        "names the conversation within its capture: `frame_number` of its first packet",
    ),
    _number("stream_index", "INT", "", "tshark's tcp.stream or udp.stream, within the capture"),
    _text("ip_proto", "protocol above IP, IANA keyword: TCP, UDP, ICMP, IPv6-ICMP …", "f.ip_proto"),
    _text(
        "protocol",
        "what most packets of the stream speak, `tcp` or `udp` only if none says more: "
        "tls, quic, dns …; arp, icmp … where there is no stream",
        "f.protocol",
    ),
    _text(
        "direction",
        "`outside`: LOCAL with PUBLIC; `inside`: LOCAL with LOCAL; "
        "`transit`: PUBLIC with PUBLIC; `none`: no addresses",
        _DIRECTION,
    ),
    FlowColumn(
        "local", "VARCHAR", "", "address of the local end, IPv4 or IPv6 text", "f.local_address"
    ),
    FlowColumn(
        "remote",
        "VARCHAR",
        "",
        "address of the remote end: the PUBLIC one if one is; if both are, the one with the lower "
        "port; else the one that did not send the first packet of the conversation",
        "f.remote_address",
    ),
    _number("port_local", "INT", "", "TCP or UDP port of the local end", "f.local_port"),
    _number("port_remote", "INT", "", "TCP or UDP port of the remote end", "f.remote_port"),
    _text(
        "eth_local",
        "hardware address at the local end, the innermost, of the first packet",
        "f.local_eth",
    ),
    _text(
        "eth_remote",
        "hardware address at the remote end, of the first packet: often a router's",
        "f.remote_eth",
    ),
    _text(
        "device_local",
        "device at the local end, of your inventory or by its own words; see device_local_source",
        "CAST(NULL AS VARCHAR)",
    ),
    _text("device_remote", "the same of the remote end", "CAST(NULL AS VARCHAR)"),
    _number("packets_out", "LONG", "packets", "packets from the local end to the remote one"),
    _number("bytes_out", "LONG", "bytes on the wire", "bytes from the local end to the remote one"),
    _number("packets_in", "LONG", "packets", "packets from the remote end to the local one"),
    _number("bytes_in", "LONG", "bytes on the wire", "bytes from the remote end to the local one"),
    _number(
        "first_ts", "TIMESTAMP", "microseconds, UTC", "time of the first packet within this second"
    ),
    _number(
        "last_ts", "TIMESTAMP", "microseconds, UTC", "time of the last packet within this second"
    ),
    _text("tls_sni", "server name of the stream, in all its seconds", "f.tls_sni"),
    _text("tls_sni_domain", "registrable domain of the server name", "f.tls_sni_domain"),
    _text("tls_alpn", "application protocol of the stream, in all its seconds", "f.tls_alpn"),
    _text(
        "dns_name",
        "name asked for in DNS within this second, the first if there are several",
        "f.dns_name",
    ),
    _text(
        "http_host",
        "host asked for in HTTP within this second, the first if there are several",
        "f.http_host",
    ),
    _text(
        "app_tag",
        "application of the server name, else of the remote address, of the remote name, or of the "
        "network, else what the protocol says by itself: `dns`, `stun` …; see app_source",
        _application("{table}.app_tag"),
    ),
    _text(
        "app_category_tag",
        "category of that application",
        _application("{table}.app_category_tag"),
    ),
    _text(
        "app_source",
        "what the application is known by: `name`, the server name; `address`; `remote_name`, "
        "which HTTP or DNS gives; `dpi`, deep packet inspection; `network`, if it serves one "
        "application alone; `protocol`",
        _application("'{source}'"),
    ),
    _text("geo_continent", "continent of the remote address", "address.geo_continent"),
    _text("geo_country", "country of the remote address", "address.geo_country"),
    _text("geo_city", "city of the remote address", "address.geo_city"),
    _number("geo_lon", "DOUBLE", "degrees", "longitude of the remote address", "address.geo_lon"),
    _number("geo_lat", "DOUBLE", "degrees", "latitude of the remote address", "address.geo_lat"),
    _text(
        "provider",
        "who answered for the server name or the remote address, or said the application, "
        "`netify,offline` if several; NULL if nobody was asked",
        _PROVIDERS,
    ),
    _text(
        "label",
        "folders between the experiment and the capture; NULL where there are none",
        "CAST($label AS VARCHAR)",
    ),
    _text(
        "remote_name",
        "best name of the remote end; see remote_name_source",
        "f.remote_name",
    ),
    _text(
        "remote_name_source",
        "where it comes from: `server_name` (TLS, QUIC) or `http_host` of the conversation; `dns`: "
        "the last DNS answer to the local end before the conversation began; `mdns`: to everyone, "
        "by multicast DNS; `dns_other_client`: to another client; `dns_later`: the first one "
        "after; `certificate`: the first name in the server's certificate",
        "f.remote_name_source",
    ),
    _number(
        "remote_names",
        "INT",
        "names",
        "how many names it may be: those that DNS had given for the address by then, or those in "
        "the certificate",
    ),
    _text("remote_domain", "registrable domain of remote_name", "f.remote_domain"),
    _text(
        "remote_canonical_name",
        "last name of the chain of CNAMEs from remote_name to the address: often that of a CDN; "
        "NULL where there is no chain",
        "f.remote_canonical_name",
    ),
    _number(
        "remote_asn",
        "LONG",
        "",
        "number of the autonomous system of the remote address, if it is PUBLIC",
        "CAST(NULL AS BIGINT)",
    ),
    _text(
        "remote_organisation",
        "organisation that the autonomous system is registered to",
        "CAST(NULL AS VARCHAR)",
    ),
    _text(
        "remote_party",
        "`first`, `support` or `third`: see MT_PARTIES",
        "CAST(NULL AS VARCHAR)",
    ),
    _text(
        "remote_tracker",
        "kind of tracker that the remote end is: `advertising`, `analytics`, `crash-reporting` …; "
        "NULL if it is none that is known",
        "CAST(NULL AS VARCHAR)",
    ),
    _text(
        "device_local_source",
        "who calls it so: `inventory`; the device itself by `dhcp`, `mdns`, `netbios`, `llmnr` or "
        "`ssdp`; or the `vendor` of its hardware address",
        "CAST(NULL AS VARCHAR)",
    ),
    _text("device_remote_source", "the same of device_remote", "CAST(NULL AS VARCHAR)"),
    _text(
        "app_confidence",
        "how nDPI knows the application, if app_source is `dpi`: `dpi` by the packets, or a guess "
        "by `ip` or `port` …",
        _application("{table}.confidence", ["inspected"]),
    ),
    _text(
        "tcp_state",
        "what became of the connection, in all its seconds: `established`; `closed` by both ends; "
        "`reset`; `refused`: a SYN was answered by RST; `unanswered`: nothing came back; "
        "`midstream`: it began before the capture and neither end closed it",
        "f.tcp_state",
    ),
    _number("handshake_ms", "DOUBLE", "milliseconds", "from the first SYN to the first SYN-ACK"),
    _number(
        "retransmissions", "INT", "packets", "segments of TCP that were sent before, both ways"
    ),
    _text("tls_version", "version of TLS that the server chose: `TLSv1.3` …", "f.tls_version"),
    _text("ja4", "JA4 of the client's first hello: which TLS library, configured how", "f.ja4"),
)
