"""The view of an experiment in QuestDB, and the SQL fragments that queries of it share.

A packet with a public address has a remote end, whose application, country and provider are
reported. Of two public ends it is the one with the lower port, which is the server's.
"""

from typing import TypeVar

from psycopg import Connection, sql
from psycopg.rows import class_row

from mt_pipeline.schema.packets import UNKNOWN

ENCRYPTED = ("dtls", "esp", "gquic", "isakmp", "openvpn", "quic", "srtp", "ssh", "ssl", "tls", "wg")
"""Protocols that hide what they carry, by tshark's names."""

NO_PROTOCOL = ("data", "eth", "ip", "ipv6", "tcp", "udp")
"""Values of `protocol` where tshark recognises nothing above these."""

# Packets of these protocols often end in what they carry: json, xml, sdp.
_CARRIERS = ("coap", "http", "http2", "rtsp", "sip")

# The second condition negates the first, so that NULL ports cannot make a packet match both.
_TO_REMOTE = "(ip_dst_type = 'PUBLIC' AND (ip_src_type <> 'PUBLIC' OR port_dst <= port_src))"
_FROM_REMOTE = f"(ip_src_type = 'PUBLIC' AND NOT {_TO_REMOTE})"

_LABEL = f"""CASE WHEN tls_sni_netify_app_tag <> '{UNKNOWN}' THEN tls_sni_netify_app_tag
    WHEN {_TO_REMOTE} AND ip_dst_netify_app_tag <> '{UNKNOWN}' THEN ip_dst_netify_app_tag
    WHEN {_FROM_REMOTE} AND ip_src_netify_app_tag <> '{UNKNOWN}' THEN ip_src_netify_app_tag
    ELSE tls_sni_domain END"""

_FRAGMENTS = {
    "unknown": sql.Literal(UNKNOWN),
    "encrypted": sql.SQL(", ").join(map(sql.Literal, ENCRYPTED)),
    "carriers": sql.SQL(", ").join(map(sql.Literal, _CARRIERS)),
    "no_protocol": sql.SQL(", ").join(map(sql.Literal, NO_PROTOCOL)),
    "is_public": sql.SQL("(ip_src_type = 'PUBLIC' OR ip_dst_type = 'PUBLIC')"),
    "label": sql.SQL(_LABEL),
    "sums": sql.SQL("count() AS packets, coalesce(sum(frame_len), 0) AS bytes"),
}

T = TypeVar("T")


class View:
    """A view of packets.

    Args:
        connection: connection to QuestDB.
        name: name of the view.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self.name, self._connection = name, connection
        self._fragments: dict[str, sql.Composable] = {**_FRAGMENTS, "view": sql.Identifier(name)}

    def select(
        self, kind: type[T], query: str, *values: object, **fragments: sql.Composable
    ) -> list[T]:
        """Run a query, and return its rows as records.

        Args:
            kind: class of the records; its fields are the columns of the result.
            query: SQL with shared fragments, such as `{view}` or `{sums}`, and those given here.
            values: parameters of the query.
            fragments: more fragments.
        """
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(self._format(query, **fragments), values).fetchall()

    def fragment(self, name: str) -> sql.Composable:
        """Return a shared fragment."""
        return self._fragments[name]

    def both_directions(self, query: str) -> sql.Composable:
        """Run a query on packets to a remote end and on packets from one.

        `{end}` is the remote end, `dst` or `src`; `{is_remote}` selects these packets.
        """
        directions = (("dst", _TO_REMOTE), ("src", _FROM_REMOTE))
        return sql.SQL(" UNION ALL ").join(
            self._format(query, end=sql.SQL(end), is_remote=sql.SQL(condition))
            for end, condition in directions
        )

    def both_ends(self, query: str) -> sql.Composable:
        """Run a query on the senders and on the receivers of packets.

        `{end}` is the sender or receiver, `{other}` the other end; `{is_near}` selects ends that
        are devices or have no public address; `{hardware}` and `{sent}` are theirs.
        """
        halves = []
        for end, other, sent in (("src", "dst", "true"), ("dst", "src", "false")):
            fragments = {
                "end": end,
                "other": other,
                "sent": sent,
                # The hardware address of a public end is a router's.
                "hardware": f"CASE WHEN ip_{end}_type <> 'PUBLIC' THEN eth_{end} END",
                "is_near": f"(ip_{end}_type <> 'PUBLIC' OR device_{end} IS NOT NULL)",
            }
            composed = {name: sql.SQL(text) for name, text in fragments.items()}
            halves.append(self._format(query, **composed))
        return sql.SQL(" UNION ALL ").join(halves)

    def _format(self, query: str, **fragments: sql.Composable) -> sql.Composed:
        return sql.SQL(query).format(**self._fragments, **fragments)
