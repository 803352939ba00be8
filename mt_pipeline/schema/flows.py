"""The column table of flows_<experiment>: name, type, unit, meaning, and source of each value.

A flow sums up what a conversation of a capture sent within one second. A conversation is an
unordered pair of ends, with addresses and ports, without IP with hardware addresses, and what they
spoke: `ip_proto` and `stream_index`; without a stream, `protocol` too. The table, the views and the
documentation derive from FLOW_COLUMNS. `flow_column.py` says what a source is.
"""

from mt_pipeline.schema.flow_column import (
    DIRECTION,
    OF_THE_CAPTURE,
    PROVIDERS,
    FlowColumn,
    application,
    number,
    text,
)

FLOW_COLUMNS: tuple[FlowColumn, ...] = (
    number(
        "ts",
        "TIMESTAMP",
        "second, UTC",
        "the second that the row is about",
        "make_timestamp(f.second * 1000000)",
    ),
    text("experiment", "first folder below the inbox, as [a-z0-9_]{1,64}", OF_THE_CAPTURE),
    text("capture", "capture key: the path of the capture below the inbox", OF_THE_CAPTURE),
    number(
        "conversation",
        "INT",
        "",
        "names the conversation within its capture: `frame_number` of its first packet",
    ),
    number("stream_index", "INT", "", "tshark's tcp.stream or udp.stream, within the capture"),
    text("ip_proto", "protocol above IP, IANA keyword: TCP, UDP, ICMP, IPv6-ICMP …", "f.ip_proto"),
    text(
        "protocol",
        "what most packets of the stream speak, `tcp` or `udp` only if none says more: "
        "tls, quic, dns …; arp, icmp … where there is no stream",
        "f.protocol",
    ),
    text(
        "direction",
        "`outside`: LOCAL with PUBLIC; `inside`: LOCAL with LOCAL; "
        "`transit`: PUBLIC with PUBLIC; `none`: no addresses",
        DIRECTION,
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
    number("port_local", "INT", "", "TCP or UDP port of the local end", "f.local_port"),
    number("port_remote", "INT", "", "TCP or UDP port of the remote end", "f.remote_port"),
    text(
        "eth_local",
        "hardware address at the local end, the innermost, of the first packet",
        "f.local_eth",
    ),
    text(
        "eth_remote",
        "hardware address at the remote end, of the first packet: often a router's",
        "f.remote_eth",
    ),
    text(
        "device_local",
        "device at the local end, of your inventory or by its own words; see device_local_source",
        "CAST(NULL AS VARCHAR)",
    ),
    text("device_remote", "the same of the remote end", "CAST(NULL AS VARCHAR)"),
    number("packets_out", "LONG", "packets", "packets from the local end to the remote one"),
    number("bytes_out", "LONG", "bytes on the wire", "bytes from the local end to the remote one"),
    number("packets_in", "LONG", "packets", "packets from the remote end to the local one"),
    number("bytes_in", "LONG", "bytes on the wire", "bytes from the remote end to the local one"),
    number(
        "first_ts", "TIMESTAMP", "microseconds, UTC", "time of the first packet within this second"
    ),
    number(
        "last_ts", "TIMESTAMP", "microseconds, UTC", "time of the last packet within this second"
    ),
    text("tls_sni", "server name of the stream, in all its seconds", "f.tls_sni"),
    text("tls_sni_domain", "registrable domain of the server name", "f.tls_sni_domain"),
    text("tls_alpn", "application protocol of the stream, in all its seconds", "f.tls_alpn"),
    text(
        "dns_name",
        "name asked for in DNS within this second, the first if there are several",
        "f.dns_name",
    ),
    text(
        "http_host",
        "host asked for in HTTP within this second, the first if there are several",
        "f.http_host",
    ),
    text(
        "app_tag",
        "application of the server name, else of the remote address, of the remote name, or of the "
        "network, else what the protocol says by itself: `dns`, `stun` …; see app_source",
        application("{table}.app_tag"),
    ),
    text(
        "app_category_tag",
        "category of that application",
        application("{table}.app_category_tag"),
    ),
    text(
        "app_source",
        "what the application is known by: `name`, the server name; `address`; `remote_name`, "
        "which HTTP or DNS gives; `dpi`, deep packet inspection; `network`, if it serves one "
        "application alone; `protocol`",
        application("'{source}'"),
    ),
    text("geo_continent", "continent of the remote address", "address.geo_continent"),
    text("geo_country", "country of the remote address", "address.geo_country"),
    text("geo_city", "city of the remote address", "address.geo_city"),
    number("geo_lon", "DOUBLE", "degrees", "longitude of the remote address", "address.geo_lon"),
    number("geo_lat", "DOUBLE", "degrees", "latitude of the remote address", "address.geo_lat"),
    text(
        "provider",
        "who answered for the server name or the remote address, or said the application, "
        "`netify,offline` if several; NULL if nobody was asked",
        PROVIDERS,
    ),
    text(
        "label",
        "folders between the experiment and the capture; NULL where there are none",
        OF_THE_CAPTURE,
    ),
    text(
        "remote_name",
        "best name of the remote end; see remote_name_source",
        "f.remote_name",
    ),
    text(
        "remote_name_source",
        "where it comes from: `server_name` (TLS, QUIC) or `http_host` of the conversation; the "
        "last answer before it began, `dns` to the local end, `mdns` to everyone, "
        "`dns_other_client` to another; `dns_later`: the first after; `certificate`: the first in "
        "the server's; `reverse`: a provider's",
        "f.remote_name_source",
    ),
    number(
        "remote_names",
        "INT",
        "names",
        "how many names it may be: those that DNS had given for the address by then, or those in "
        "the certificate",
    ),
    text("remote_domain", "registrable domain of remote_name", "f.remote_domain"),
    text(
        "remote_canonical_name",
        "last name of the chain of CNAMEs from remote_name to the address: often that of a CDN; "
        "NULL where there is no chain",
        "f.remote_canonical_name",
    ),
    number(
        "remote_asn",
        "LONG",
        "",
        "number of the autonomous system of the remote address, if it is PUBLIC",
        "CAST(NULL AS BIGINT)",
    ),
    text(
        "remote_organisation",
        "organisation that the autonomous system is registered to",
        "CAST(NULL AS VARCHAR)",
    ),
    text(
        "remote_party",
        "`first`, `support` or `third`: see MT_PARTIES",
        "CAST(NULL AS VARCHAR)",
    ),
    text(
        "remote_tracker",
        "kind of tracker that the remote end is: `advertising`, `analytics`, `crash-reporting` …; "
        "NULL if it is none that is known",
        "CAST(NULL AS VARCHAR)",
    ),
    text(
        "device_local_source",
        "who calls it so: `inventory`; the device itself by `dhcp`, `mdns`, `netbios`, `llmnr` or "
        "`ssdp`; or the `vendor` of its hardware address",
        "CAST(NULL AS VARCHAR)",
    ),
    text("device_remote_source", "the same of device_remote", "CAST(NULL AS VARCHAR)"),
    text(
        "app_confidence",
        "how nDPI knows the application, if app_source is `dpi`: `dpi` by the packets, or a guess "
        "by `ip` or `port` …",
        application("{table}.confidence", ["inspected"]),
    ),
    text(
        "tcp_state",
        "what became of the connection, in all its seconds: `established`; `closed` by both ends; "
        "`reset`; `refused`: a SYN was answered by RST; `unanswered`: nothing came back; "
        "`midstream`: it began before the capture and neither end closed it",
        "f.tcp_state",
    ),
    number("handshake_ms", "DOUBLE", "milliseconds", "from the first SYN to the first SYN-ACK"),
    number("retransmissions", "INT", "packets", "segments of TCP that were sent before, both ways"),
    text("tls_version", "version of TLS that the server chose: `TLSv1.3` …", "f.tls_version"),
    text("ja4", "JA4 of the client's first hello: which TLS library, configured how", "f.ja4"),
    text(
        "http_method",
        "methods of HTTP in the clear, also of UPnP, that the conversation asked with: `GET`, "
        "`GET,POST` …, in all its seconds",
        "f.http_method",
    ),
)
