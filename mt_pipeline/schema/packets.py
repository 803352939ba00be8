"""The column table of packets_<experiment>: name, type, meaning, and source of each value.

The typed rows, the table, the views and the documentation derive from COLUMNS. To add a column,
add an entry here, a field in `tshark/fields.py` if tshark must read it, and a test. `column.py`
says what the sources are.
"""

from mt_pipeline.schema.column import (
    IN_PACKETS,
    UNKNOWN,
    Column,
    Origin,
    answer,
    capture,
    device,
    finding,
    hardware,
    known,
    own_number,
    packet,
    stream,
)

__all__ = ["COLUMNS", "IN_PACKETS", "ORIGINAL_COLUMNS", "UNKNOWN", "Column", "Origin"]

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
        answer(f"ip_{end}_netify_{field}", kind, meaning.format(whose), f"{end}.{field}")
        for field, kind, meaning in _ADDRESS_FIELDS
    ]


def _type(end: str, whose: str) -> Column:
    return answer(
        f"ip_{end}_type",
        "SYMBOL",
        f"PUBLIC if the {whose} address is globally reachable and no multicast, else LOCAL; "
        "Unknown without an address",
        f"{end}.type",
    )


COLUMNS: tuple[Column, ...] = (
    # The first 29 are those of MT_ProcessPKTs, so that its dashboard and its users' queries work.
    packet(
        "ts",
        "TIMESTAMP",
        "capture time, microseconds, UTC",
        "CASE WHEN p.skipped IS NULL THEN make_timestamp(p.time_us) END",
    ),
    packet(
        "ip_src", "IPV4", "source; NULL for IPv6, without IP, and for 0.0.0.0", "p.ip_src[p.ip_at]"
    ),
    _type("src", "source"),
    packet(
        "port_src",
        "INT",
        "source port of TCP or UDP",
        "whole_number(coalesce(p.tcp_srcport[p.tcp_at], p.udp_srcport[p.udp_at]))",
    ),
    packet(
        "ip_dst",
        "IPV4",
        "destination; NULL for IPv6, without IP, and for 0.0.0.0",
        "p.ip_dst[p.ip_at]",
    ),
    _type("dst", "destination"),
    packet(
        "port_dst",
        "INT",
        "destination port of TCP or UDP",
        "whole_number(coalesce(p.tcp_dstport[p.tcp_at], p.udp_dstport[p.udp_at]))",
    ),
    packet("frame_len", "INT", "bytes on the wire", "whole_number(p.frame_len[1])"),
    packet(
        "ip_proto",
        "SYMBOL",
        "protocol above IP, IANA keyword: TCP, UDP, ICMP, IPv6-ICMP …; Unknown without IP",
        known(
            "coalesce(p.above_extensions, keyword(TRY_CAST(coalesce(p.ip_proto[p.ip_at], "
            "p.ipv6_fraghdr_nxt[p.fragment_at], p.ipv6_nxt[p.ipv6_at]) AS UTINYINT)))"
        ),
    ),
    stream(
        "tls_sni",
        "SYMBOL",
        "server name of the stream, on all its packets: of TLS, QUIC or DTLS",
        known("coalesce(names.tls_sni, p.said_sni)"),
    ),
    stream(
        "tls_alpn",
        "SYMBOL",
        "application protocol of the stream, on all its packets",
        known("coalesce(names.tls_alpn, p.said_alpn)"),
    ),
    packet(
        "stream_index", "INT", "tshark's tcp.stream or udp.stream, within the capture", "p.stream"
    ),
    *_address("src", "source"),
    *_address("dst", "destination"),
    answer("tls_sni_netify_app_tag", "SYMBOL", "application of the server name", "sni.app_tag"),
    answer(
        "tls_sni_netify_app_category_tag",
        "SYMBOL",
        "category of the application of the server name",
        "sni.app_category_tag",
    ),
    answer(
        "tls_sni_netify_domain_tag",
        "SYMBOL",
        "category of the domain of the server name",
        "sni.domain_tag",
    ),
    # Our own.
    capture("capture", "capture key: the path of the capture below the inbox"),
    packet("frame_number", "INT", "as tshark counts, from 1", "whole_number(p.frame_number[1])"),
    packet(
        "protocol",
        "SYMBOL",
        "innermost dissector that names a protocol: quic, tls, dns, arp …",
        "p.protocol",
    ),
    packet("ipv6_src", "VARCHAR", "source, canonical text; NULL for IPv4", "p.ipv6_src[p.ipv6_at]"),
    packet(
        "ipv6_dst", "VARCHAR", "destination, canonical text; NULL for IPv4", "p.ipv6_dst[p.ipv6_at]"
    ),
    packet(
        "eth_src",
        "SYMBOL",
        "source hardware address, the innermost; of Ethernet, 802.11, Linux cooked and FDDI",
        hardware("p.eth_src", "p.wlan_sa"),
    ),
    packet(
        "eth_dst",
        "SYMBOL",
        "destination hardware address, the innermost; Linux cooked captures have none",
        hardware("p.eth_dst", "p.wlan_da"),
    ),
    packet("vlan_id", "INT", "VLAN, the innermost", "whole_number(p.vlan_id[p.vlan_at])"),
    packet(
        "dns_name",
        "SYMBOL",
        "name asked for in DNS",
        "CASE WHEN NOT p.quotes THEN p.dns_qry_name[1] END",
    ),
    packet(
        "http_host",
        "SYMBOL",
        "host asked for in HTTP, or in HTTP/2 in the clear",
        "CASE WHEN NOT p.quotes THEN p.http_host[1] END",
    ),
    capture("experiment", "first folder below the inbox, as [a-z0-9_]{1,64}"),
    answer(
        "ip_src_provider",
        "SYMBOL",
        "who answered for the source address; NULL if nobody was asked",
        "src.provider",
    ),
    answer(
        "ip_dst_provider",
        "SYMBOL",
        "who answered for the destination address; NULL if nobody was asked",
        "dst.provider",
    ),
    answer(
        "tls_sni_provider",
        "SYMBOL",
        "who answered for the server name; NULL if nobody was asked",
        "sni.provider",
    ),
    stream(
        "tls_sni_domain",
        "SYMBOL",
        "registrable domain of the server name, on all packets of its stream; "
        "the name itself where none can be told",
        "registrable_domain(coalesce(names.tls_sni, p.said_sni))",
    ),
    device("src", "source"),
    device("dst", "destination"),
    capture(
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
    packet(
        "tcp_flags",
        "INT",
        "flags of TCP, added up: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, 64 ECE, 128 CWR, "
        "256 AE",
        "whole_number(p.tcp_flags[p.tcp_at])",
    ),
    packet(
        "tcp_retransmission",
        "INT",
        "1 if tshark takes the segment for one that was sent before, else NULL",
        finding("tcp_analysis_retransmission"),
    ),
    packet(
        "tcp_zero_window",
        "INT",
        "1 if the receiver has no room for more, else NULL",
        finding("tcp_analysis_zero_window"),
    ),
    packet(
        "icmp_type",
        "INT",
        "type of ICMP or ICMPv6, which `ip_proto` tells: 8 and 0, 128 and 129 are echoes, "
        "3 and 1 are unreachable",
        "CASE WHEN p.protocol IN ('icmp', 'icmpv6') THEN whole_number(p.icmp_type[1]) END",
    ),
    packet(
        "dns_rcode",
        "INT",
        "response code of DNS: 0 no error, 2 server failure, 3 no such name, 5 refused",
        own_number("p.dns_flags_rcode[1]"),
    ),
    packet(
        "http_status",
        "INT",
        "status code of HTTP: 200, 404 …",
        own_number("p.http_response_code[1]"),
    ),
    packet(
        "tls_version",
        "INT",
        "version of TLS that the server chose, on its hello: 772 is 1.3, 771 is 1.2",
        "CASE WHEN p.tls_handshake_ja3_full IS NULL THEN "  # a client's hello has JA3
        + own_number(
            "coalesce(p.tls_handshake_extensions_supported_version[1], p.tls_handshake_version[1])"
        )
        + " END",
    ),
    packet(
        "tls_alert",
        "INT",
        "alert of TLS that is not encrypted: 40 handshake failure, 42 bad certificate, "
        "48 unknown CA …",
        own_number("p.tls_alert_message_desc[1]"),
    ),
)

ORIGINAL_COLUMNS = COLUMNS[:29]
"""The columns of MT_ProcessPKTs, in its order."""
