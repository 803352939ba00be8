"""What a report asks of QuestDB: all SQL of a report, and nothing else. The server aggregates, so no answer grows with the packets.

A packet with a public address has a remote end, of which its application, country and provider are told. Of two public ends it is the one with
the lower port, which is the server's.
"""

from collections.abc import Sequence
from typing import TypeVar

from psycopg import Connection, sql
from psycopg.rows import class_row

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb import ddl
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.report.results import (
    Busy,
    CaptureRows,
    Destination,
    Local,
    Name,
    New,
    Peer,
    Place,
    Protocol,
    Remote,
    Slice,
)
from mt_pipeline.schema.packets import UNKNOWN

ENCRYPTED = ("dtls", "esp", "gquic", "isakmp", "openvpn", "quic", "srtp", "ssh", "ssl", "tls", "wg")
"""Protocols, as tshark calls them, that hide what they carry."""

NO_PROTOCOL = ("data", "eth", "ip", "ipv6", "tcp", "udp")
"""What tshark says where it names no protocol above these."""

_CARRIERS = (
    "coap",
    "http",
    "http2",
    "rtsp",
    "sip",
)  # their packets often end in what they carry: json, xml, sdp

_PARTS_OF_TIME = 1000

T = TypeVar("T")


class NoExperiment(BackendError):
    """There is no view of the experiment."""


# The second half is whatever the first is not, whatever QuestDB makes of ports that are NULL.
_TO_REMOTE = "(ip_dst_type = 'PUBLIC' AND (ip_src_type <> 'PUBLIC' OR port_dst <= port_src))"
_FROM_REMOTE = f"(ip_src_type = 'PUBLIC' AND NOT {_TO_REMOTE})"
_PARTS = {
    "unknown": sql.Literal(UNKNOWN),
    "encrypted": sql.SQL(", ").join(map(sql.Literal, ENCRYPTED)),
    "carriers": sql.SQL(", ").join(map(sql.Literal, _CARRIERS)),
    "no_protocol": sql.SQL(", ").join(map(sql.Literal, NO_PROTOCOL)),
    "is_public": sql.SQL("(ip_src_type = 'PUBLIC' OR ip_dst_type = 'PUBLIC')"),
    "label": sql.SQL(
        f"""CASE WHEN tls_sni_netify_app_tag <> '{UNKNOWN}' THEN tls_sni_netify_app_tag
        WHEN {_TO_REMOTE} AND ip_dst_netify_app_tag <> '{UNKNOWN}' THEN ip_dst_netify_app_tag
        WHEN {_FROM_REMOTE} AND ip_src_netify_app_tag <> '{UNKNOWN}' THEN ip_src_netify_app_tag
        ELSE tls_sni_domain END"""
    ),
}


class Experiment:
    """The rows of one experiment; each method is one question.

    Args:
        connection: to QuestDB.
        experiment: its folded name.

    Raises:
        NoExperiment: it has no view.
    """

    def __init__(self, connection: Connection, experiment: str) -> None:
        name = ddl.view_name(experiment)
        if not ddl.has_view(connection, experiment):
            raise NoExperiment(
                f"QuestDB has no view {name}, so there is nothing to report: `mt-pipeline status` lists the experiments"
            )
        self.view, self._connection = name, connection
        self._parts: dict[str, sql.Composable] = {**_PARTS, "view": sql.Identifier(name)}

    def captures(self) -> list[CaptureRows]:
        """Sum up each capture, by key."""
        return self._ask(
            CaptureRows,
            """SELECT capture, count() AS packets, coalesce(sum(frame_len), 0) AS bytes, min(ts)::long AS first, max(ts)::long AS last
            FROM {view} GROUP BY capture ORDER BY capture""",
        )

    def busy(self, first: int, last: int) -> list[Busy]:
        """Tell when packets are between two of them, to a thousandth of that time."""
        return self._ask(
            Busy,
            """SELECT first, last FROM (SELECT (ts::long - %s) / %s AS part, min(ts)::long AS first, max(ts)::long AS last FROM {view})
            ORDER BY first""",
            *(first, (last - first) // _PARTS_OF_TIME + 1),
        )

    def remotes(self) -> list[Remote]:
        """Sum up the packets with a remote end by what is known of it and of the server name."""
        return self._ask(
            Remote,
            "{halves}",
            halves=self._both_ways(
                """SELECT ip_{end}_netify_app_tag AS application, ip_{end}_netify_app_category_tag AS category,
                ip_{end}_netify_geo_country AS country, ip_{end}_provider AS provider,
                ip_{end}_netify_geo_city <> {unknown} AS has_city, tls_sni <> {unknown} AS has_name, tls_sni_netify_app_tag AS name_application,
                tls_sni_netify_app_category_tag AS name_category, tls_sni_provider AS name_provider,
                count() AS packets, coalesce(sum(frame_len), 0) AS bytes
                FROM {view} WHERE {is_remote}"""
            ),
        )

    def labels(self, limit: int) -> list[str]:
        """List the applications with most bytes, registrable domains where no application is known."""
        return [named.name for named in self._named(self._parts["label"], limit)]

    def slices(self, step: int, labels: Sequence[str]) -> list[Slice]:
        """Sum up the bytes of each step, by label."""
        chosen = (
            sql.SQL("CASE WHEN {} THEN label END").format(among(sql.SQL("label"), labels))
            if labels
            else sql.SQL("NULL::string")
        )
        return self._ask(
            Slice,
            """SELECT step, is_public, label IS NOT NULL AS is_named, {chosen} AS label, sum(bytes) AS bytes FROM
            (SELECT ts::long / %s AS step, {is_public} AS is_public, {label} AS label, coalesce(sum(frame_len), 0) AS bytes FROM {view})
            ORDER BY step, is_public, is_named, label""",
            *(*labels, step),
            chosen=chosen,
        )

    def protocols(self) -> list[Protocol]:
        """Sum up streams by protocol: one that hides what it carries if a packet of them has it, else one that carries other things, else any."""
        return self._ask(
            Protocol,
            """SELECT ip_proto, coalesce(hidden, carrier, said) AS protocol, is_public, sum(packets) AS packets, sum(bytes) AS bytes FROM
            (SELECT capture, ip_proto, stream_index, {is_public} AS is_public, max(CASE WHEN protocol IN ({encrypted}) THEN protocol END) AS hidden,
                max(CASE WHEN protocol IN ({carriers}) THEN protocol END) AS carrier,
                max(CASE WHEN protocol NOT IN ({no_protocol}) THEN protocol END) AS said, count() AS packets, coalesce(sum(frame_len), 0) AS bytes
                FROM {view} WHERE stream_index IS NOT NULL)
            UNION ALL SELECT ip_proto, protocol, {is_public} AS is_public, count() AS packets, coalesce(sum(frame_len), 0) AS bytes
                FROM {view} WHERE stream_index IS NULL""",
        )

    def places(self) -> list[Place]:
        """Sum up the packets with a remote end by where that is, the place with most bytes first."""
        return self._ask(
            Place,
            """SELECT country, city, longitude, latitude, sum(packets) AS packets, sum(bytes) AS bytes FROM ({halves})
            ORDER BY bytes DESC, country, city, longitude, latitude""",
            halves=self._both_ways(
                """SELECT ip_{end}_netify_geo_country AS country, ip_{end}_netify_geo_city AS city, ip_{end}_netify_geo_lon AS longitude,
                ip_{end}_netify_geo_lat AS latitude, count() AS packets, coalesce(sum(frame_len), 0) AS bytes FROM {view} WHERE {is_remote}"""
            ),
        )

    def locals(self) -> list[Local]:
        """Sum up what each device, and each other end without a public address, sent, and was sent."""
        return self._ask(
            Local,
            "{halves}",
            halves=self._of_either_end(
                """SELECT device_{end} AS device, hardware, ip_{end}::string AS ipv4, ipv6_{end} AS ipv6, {sent} AS sent, packets, bytes FROM
                (SELECT device_{end}, {hardware} AS hardware, ip_{end}, ipv6_{end}, count() AS packets, coalesce(sum(frame_len), 0) AS bytes
                FROM {view} WHERE {is_near})"""
            ),
        )

    def peers(self, limit: int) -> list[Peer]:
        """List for each of these the applications, domains or other ends that it exchanged most bytes with, the largest first."""
        return self._ask(
            Peer,
            """SELECT who, peer FROM (SELECT who, peer, bytes, row_number() OVER (PARTITION BY who ORDER BY bytes DESC, peer) AS place FROM
                (SELECT who, peer, sum(bytes) AS bytes FROM ({halves}) WHERE who IS NOT NULL AND peer IS NOT NULL))
            WHERE place <= %s ORDER BY who, place""",
            limit,
            halves=self._of_either_end(
                """SELECT coalesce(device_{end}::string, ({hardware})::string, ip_{end}::string, ipv6_{end}::string) AS who,
                coalesce(({label})::string, device_{other}::string, ip_{other}::string, nullif(ipv6_{other}, '::')::string,
                    eth_{other}::string) AS peer,
                coalesce(sum(frame_len), 0) AS bytes FROM {view} WHERE {is_near}"""
            ),
        )

    def names(self, limit: int) -> list[Name]:
        """List the server names with most bytes."""
        return self._named(sql.Identifier("tls_sni"), limit)

    def domains(self, limit: int) -> list[Name]:
        """List the registrable domains with most bytes."""
        return self._named(sql.Identifier("tls_sni_domain"), limit)

    def destinations(self, limit: int) -> list[Destination]:
        """List the public addresses and server names with most bytes; where captures have different answers for one, any of them is shown."""
        halves = self._both_ways(
            """SELECT ip_{end} AS ipv4, ipv6_{end} AS ipv6, tls_sni AS name, last(ip_{end}_netify_app_tag) AS application,
            last(tls_sni_netify_app_tag) AS name_application, last(ip_{end}_netify_geo_country) AS country, last(ip_{end}_provider) AS provider,
            last(tls_sni_provider) AS name_provider, count() AS packets, coalesce(sum(frame_len), 0) AS bytes, min(ts) AS first, max(ts) AS last
            FROM {view} WHERE {is_remote}"""
        )
        return self._ask(
            Destination,
            """SELECT *, count() OVER () AS destinations FROM
            (SELECT ipv4::string AS ipv4, ipv6, name, max(application) AS application, max(name_application) AS name_application,
                max(country) AS country, max(provider) AS provider, max(name_provider) AS name_provider,
                sum(packets) AS packets, sum(bytes) AS bytes, min(first)::long AS first, max(last)::long AS last FROM ({halves}))
            ORDER BY bytes DESC, ipv4, ipv6, name LIMIT %s""",
            limit,
            halves=halves,
        )

    def news(self, step: int) -> list[New]:
        """Count in each step the public addresses that were not seen before."""
        return self._ask(
            New,
            """SELECT first / %s AS step, count() AS addresses FROM
            (SELECT ipv4, ipv6, min(first)::long AS first FROM ({halves})) ORDER BY step""",
            step,
            halves=self._both_ways(
                "SELECT ip_{end} AS ipv4, ipv6_{end} AS ipv6, min(ts) AS first FROM {view} WHERE {is_remote}"
            ),
        )

    def _named(self, name: sql.Composable, limit: int) -> list[Name]:
        # A plain `name <> 'Unknown'` is looked up in the index of tls_sni, where QuestDB 9.3 fails if no other name is there.
        return self._ask(
            Name,
            """SELECT *, count() OVER () AS names FROM (SELECT {name} AS name, count() AS packets, coalesce(sum(frame_len), 0) AS bytes FROM {view})
            WHERE coalesce(name, {unknown}) <> {unknown} ORDER BY bytes DESC, name LIMIT %s""",
            limit,
            name=name,
        )

    def _both_ways(self, half: str) -> sql.Composable:
        """Ask once of the packets to a remote end, and once of those from one."""
        ways = (("dst", _TO_REMOTE), ("src", _FROM_REMOTE))
        return sql.SQL(" UNION ALL ").join(
            self._sql(half, end=sql.SQL(end), is_remote=sql.SQL(which)) for end, which in ways
        )

    def _of_either_end(self, half: str) -> sql.Composable:
        """Ask once of the senders of packets, and once of the receivers: those that are devices, or have no public address."""
        halves = []
        for end, other, sent in (("src", "dst", "true"), ("dst", "src", "false")):
            parts = {
                "hardware": f"CASE WHEN ip_{end}_type <> 'PUBLIC' THEN eth_{end} END",  # else it is a router's
                "is_near": f"(ip_{end}_type <> 'PUBLIC' OR device_{end} IS NOT NULL)",
            }
            halves.append(
                self._sql(
                    half,
                    **{
                        name: sql.SQL(text)
                        for name, text in {
                            "end": end,
                            "other": other,
                            "sent": sent,
                            **parts,
                        }.items()
                    },
                )
            )
        return sql.SQL(" UNION ALL ").join(halves)

    def _sql(self, query: str, **parts: sql.Composable) -> sql.Composed:
        return sql.SQL(query).format(**self._parts, **parts)

    def _ask(self, kind: type[T], query: str, *values: object, **parts: sql.Composable) -> list[T]:
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(self._sql(query, **parts), values).fetchall()
