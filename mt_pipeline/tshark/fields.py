"""THE list of fields that tshark prints. Only this module knows tshark's names.

The columns of packets (`schema/packets.py`) are made of these fields.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: tshark's name, as in its display filters.
        first_only: only the first occurrence in a packet counts. Otherwise tshark joins all of
            them with a comma, which looks like a comma inside a value; so text is `first_only`, or
            another field tells how many values there are.
        text: others choose it (server names, hosts), so it may contain any character. What tshark
            makes itself, numbers, addresses and names of dissectors, contains none that JSON must
            escape.
        also: fields of other protocols that say the same, and have no column of their own, which
            would take time. Their values come after its own, often with an empty one between.
        built_in: the format of tshark's own column with the same values, which is made without a
            field: two of these save 4 % of tshark's work.
    """

    name: str
    first_only: bool = False
    text: bool = False
    also: tuple[str, ...] = ()
    built_in: str = ""

    @property
    def key(self) -> str:
        """Name in the documents, as `tshark -T ek` writes it."""
        return self.name.replace(".", "_")

    @property
    def column(self) -> str:
        """What tshark's column shows."""
        return " or ".join((self.name, *self.also))

    @property
    def format(self) -> str:
        """The format of tshark's column."""
        return self.built_in or f"%Cus:{self.column}:{int(self.first_only)}:U"


FIELDS: tuple[Field, ...] = (
    Field("frame.number", first_only=True, built_in="%m"),
    Field("frame.time_epoch", first_only=True),
    Field("frame.len", first_only=True, built_in="%L"),
    Field("frame.protocols", first_only=True),
    Field("eth.src"),
    Field("eth.dst"),
    Field("wlan.sa", first_only=True, also=("sll.src.eth", "fddi.src")),
    Field("wlan.da", first_only=True, also=("fddi.dst",)),
    Field("vlan.id"),
    Field("ip.src"),
    Field("ip.dst"),
    Field("ip.proto"),
    Field("ipv6.src"),
    Field("ipv6.dst"),
    Field("ipv6.nxt"),
    Field("ipv6.fraghdr.nxt"),
    Field("tcp.srcport"),
    Field("tcp.dstport"),
    Field("tcp.stream"),
    Field("tcp.flags"),
    Field("tcp.analysis.retransmission", first_only=True),
    Field("tcp.analysis.zero_window", first_only=True),
    Field("udp.srcport"),
    Field("udp.dstport"),
    Field("udp.stream"),
    Field(
        "tls.handshake.extensions_server_name",
        first_only=True,
        text=True,
        also=("dtls.handshake.extensions_server_name", "gquic.tag.sni"),
    ),
    Field(
        "tls.handshake.extensions_alpn_str",
        first_only=True,
        text=True,
        also=("dtls.handshake.extensions_alpn_str",),
    ),
    Field("tls.handshake.version", first_only=True),
    Field("tls.handshake.extensions.supported_version"),
    Field("tls.handshake.ja3_full", first_only=True),
    Field("tls.handshake.sig_hash_alg"),
    Field("tls.alert_message.desc", first_only=True),
    Field("icmp.type", first_only=True, also=("icmpv6.type",)),
    Field("dns.flags.rcode", first_only=True),
    Field("dns.qry.name", first_only=True, text=True),
    Field("dns.a", also=("dns.aaaa", "nbns.addr")),
    Field("dns.resp.name", text=True, also=("x509ce.dNSName", "dhcp.fqdn.name")),
    Field("dns.resp.type"),
    Field(
        "dhcp.option.hostname",
        first_only=True,
        text=True,
        also=("nbns.name", "nbdgm.source_name", "http.server", "dns.srv.service"),
    ),
    Field("http.host", first_only=True, text=True, also=("http2.headers.authority",)),
    Field(
        "http.response.code",
        first_only=True,
        text=True,
        # A packet answers or asks: what is no number is a method.
        also=("http2.headers.status", "http.request.method", "http2.headers.method"),
    ),
)

ALL_KEYS = tuple(field.key for field in FIELDS)
"""Names of all fields in a document."""
