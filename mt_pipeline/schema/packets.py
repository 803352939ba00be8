"""The column table of packets_<experiment>: name, type, meaning, and source of each value.

The typed rows, the table, the views and the documentation derive from COLUMNS. To add a column,
add an entry here, a field in `tshark/fields.py` if tshark must read it, and a test. The sources:

- `Origin.PACKET`: DuckDB SQL over `p`, a document with its fields as lists of text
  (`p.tcp_stream[1]`, absent = NULL) and the layer chosen for it (`packets/layers.py`).
- `Origin.CONVERSATION`: the conversation of the packet (`packets/numbering.py`).
- `Origin.STREAM`: DuckDB SQL over `p`, a typed packet, and `names`, the names of its stream
  (`packets/conversations.py`).
- `Origin.ANSWER`: the endpoint of the packet, `src`, `dst` or `sni`, and the field of its answer
  (`rows/packets.py`).
- `Origin.CAPTURE`: a value that is the same for all rows of a capture.
- `Origin.DEVICE`: the end of the packet, `src` or `dst`, to look up among the devices
  (`devices/lookup.py`).
"""

from dataclasses import dataclass
from enum import Enum, auto

UNKNOWN = "Unknown"
"""Value of a text column of MT_ProcessPKTs where nothing is known. Our own columns have NULL."""


class Origin(Enum):
    """What computes a column."""

    PACKET = auto()
    CONVERSATION = auto()
    STREAM = auto()
    ANSWER = auto()
    CAPTURE = auto()
    DEVICE = auto()


@dataclass(frozen=True)
class Column:
    """A column of packets_<experiment>.

    Attributes:
        name: its name in the table.
        type: its QuestDB type.
        meaning: a phrase for the documentation.
        origin: what computes it.
        source: how; see above.
    """

    name: str
    type: str
    meaning: str
    origin: Origin
    source: str


def _packet(name: str, kind: str, meaning: str, source: str) -> Column:
    return Column(name, kind, meaning, Origin.PACKET, source)


def _stream(name: str, kind: str, meaning: str, source: str) -> Column:
    return Column(name, kind, meaning, Origin.STREAM, source)


def _answer(name: str, kind: str, meaning: str, source: str) -> Column:
    return Column(name, kind, meaning, Origin.ANSWER, source)


def _capture(name: str, meaning: str) -> Column:
    return Column(name, "SYMBOL", meaning, Origin.CAPTURE, name)


def _device(end: str, whose: str) -> Column:
    return Column(
        f"device_{end}",
        "SYMBOL",
        f"device that is the {whose}, of your inventory or by its own words; NULL where not known",
        Origin.DEVICE,
        end,
    )


def _known(sql: str) -> str:
    """Replace NULL and empty text by UNKNOWN, as MT_ProcessPKTs does."""
    return f"coalesce(nullif({sql}, ''), '{UNKNOWN}')"


def _hardware(ethernet: str, other: str) -> str:
    """Select a hardware address of the innermost link layer, Ethernet or another one."""
    return f"coalesce({other}[p.link_at], {ethernet}[p.eth_at])"


_ADDRESS_FIELDS = (
    ("app_tag", "SYMBOL", "application of the {} address"),
    ("app_category_tag", "SYMBOL", "category of the application of the {} address"),
    ("geo_continent", "SYMBOL", "continent of the {} address"),
    ("geo_country", "SYMBOL", "country of the {} address"),
    ("geo_city", "SYMBOL", "city of the {} address"),
    ("geo_lon", "DOUBLE", "longitude of the {} address, degrees; NULL where not known"),
    ("geo_lat", "DOUBLE", "latitude of the {} address, degrees; NULL where not known"),
)


def _address(end: str, whose: str) -> list[Column]:
    """List the columns with the answer for an end of a packet: ip_<end>_netify_*."""
    return [
        _answer(f"ip_{end}_netify_{field}", kind, meaning.format(whose), f"{end}.{field}")
        for field, kind, meaning in _ADDRESS_FIELDS
    ]


def _type(end: str, whose: str) -> Column:
    return _answer(
        f"ip_{end}_type",
        "SYMBOL",
        f"PUBLIC if the {whose} address is globally reachable and no multicast, else LOCAL; "
        "Unknown without an address",
        f"{end}.type",
    )


COLUMNS: tuple[Column, ...] = (
    # The first 29 are those of MT_ProcessPKTs, so that its dashboard and its users' queries work.
    _packet(
        "ts",
        "TIMESTAMP",
        "capture time, microseconds, UTC",
        "CASE WHEN p.skipped IS NULL THEN make_timestamp(p.time_us) END",
    ),
    _packet(
        "ip_src", "IPV4", "source; NULL for IPv6, without IP, and for 0.0.0.0", "p.ip_src[p.ip_at]"
    ),
    _type("src", "source"),
    _packet(
        "port_src",
        "INT",
        "source port of TCP or UDP",
        "whole_number(coalesce(p.tcp_srcport[p.tcp_at], p.udp_srcport[p.udp_at]))",
    ),
    _packet(
        "ip_dst",
        "IPV4",
        "destination; NULL for IPv6, without IP, and for 0.0.0.0",
        "p.ip_dst[p.ip_at]",
    ),
    _type("dst", "destination"),
    _packet(
        "port_dst",
        "INT",
        "destination port of TCP or UDP",
        "whole_number(coalesce(p.tcp_dstport[p.tcp_at], p.udp_dstport[p.udp_at]))",
    ),
    _packet("frame_len", "INT", "bytes on the wire", "whole_number(p.frame_len[1])"),
    _packet(
        "ip_proto",
        "SYMBOL",
        "protocol above IP, IANA keyword: TCP, UDP, ICMP, IPv6-ICMP …; Unknown without IP",
        _known(
            "coalesce(p.above_extensions, keyword(TRY_CAST(coalesce(p.ip_proto[p.ip_at], "
            "p.ipv6_fraghdr_nxt[p.fragment_at], p.ipv6_nxt[p.ipv6_at]) AS UTINYINT)))"
        ),
    ),
    _stream(
        "tls_sni",
        "SYMBOL",
        "server name of the stream, on all its packets: of TLS, QUIC or DTLS",
        _known("coalesce(names.tls_sni, p.said_sni)"),
    ),
    _stream(
        "tls_alpn",
        "SYMBOL",
        "application protocol of the stream, on all its packets",
        _known("coalesce(names.tls_alpn, p.said_alpn)"),
    ),
    _packet(
        "stream_index", "INT", "tshark's tcp.stream or udp.stream, within the capture", "p.stream"
    ),
    *_address("src", "source"),
    *_address("dst", "destination"),
    _answer("tls_sni_netify_app_tag", "SYMBOL", "application of the server name", "sni.app_tag"),
    _answer(
        "tls_sni_netify_app_category_tag",
        "SYMBOL",
        "category of the application of the server name",
        "sni.app_category_tag",
    ),
    _answer(
        "tls_sni_netify_domain_tag",
        "SYMBOL",
        "category of the domain of the server name",
        "sni.domain_tag",
    ),
    # Our own.
    _capture("capture", "capture key: the path of the capture below the inbox"),
    _packet("frame_number", "INT", "as tshark counts, from 1", "whole_number(p.frame_number[1])"),
    _packet(
        "protocol",
        "SYMBOL",
        "innermost dissector that names a protocol: quic, tls, dns, arp …",
        "p.protocol",
    ),
    _packet(
        "ipv6_src", "VARCHAR", "source, canonical text; NULL for IPv4", "p.ipv6_src[p.ipv6_at]"
    ),
    _packet(
        "ipv6_dst", "VARCHAR", "destination, canonical text; NULL for IPv4", "p.ipv6_dst[p.ipv6_at]"
    ),
    _packet(
        "eth_src",
        "SYMBOL",
        "source hardware address, the innermost; of Ethernet, 802.11, Linux cooked and FDDI",
        _hardware("p.eth_src", "p.wlan_sa"),
    ),
    _packet(
        "eth_dst",
        "SYMBOL",
        "destination hardware address, the innermost; Linux cooked captures have none",
        _hardware("p.eth_dst", "p.wlan_da"),
    ),
    _packet("vlan_id", "INT", "VLAN, the innermost", "whole_number(p.vlan_id[p.vlan_at])"),
    _packet(
        "dns_name",
        "SYMBOL",
        "name asked for in DNS",
        "CASE WHEN NOT p.quotes THEN p.dns_qry_name[1] END",
    ),
    _packet(
        "http_host",
        "SYMBOL",
        "host asked for in HTTP, or in HTTP/2 in the clear",
        "CASE WHEN NOT p.quotes THEN p.http_host[1] END",
    ),
    _capture("experiment", "first folder below the inbox, as [a-z0-9_]{1,64}"),
    _answer(
        "ip_src_provider",
        "SYMBOL",
        "who answered for the source address; NULL if nobody was asked",
        "src.provider",
    ),
    _answer(
        "ip_dst_provider",
        "SYMBOL",
        "who answered for the destination address; NULL if nobody was asked",
        "dst.provider",
    ),
    _answer(
        "tls_sni_provider",
        "SYMBOL",
        "who answered for the server name; NULL if nobody was asked",
        "sni.provider",
    ),
    _stream(
        "tls_sni_domain",
        "SYMBOL",
        "registrable domain of the server name, on all packets of its stream; "
        "the name itself where none can be told",
        "registrable_domain(coalesce(names.tls_sni, p.said_sni))",
    ),
    _device("src", "source"),
    _device("dst", "destination"),
    _capture(
        "label",
        "folders between the experiment and the capture, as `alexa/idle`; "
        "NULL where there are none",
    ),
    Column(
        "conversation",
        "INT",
        "names the conversation within its capture, as in `flows_<experiment>`: `frame_number` of "
        "its first packet",
        Origin.CONVERSATION,
        "frame_number",
    ),
)

IN_PACKETS = (Origin.PACKET, Origin.CONVERSATION, Origin.STREAM)
"""Origins of what the packets of a capture say by themselves."""

ORIGINAL_COLUMNS = COLUMNS[:29]
"""The columns of MT_ProcessPKTs, in its order."""
