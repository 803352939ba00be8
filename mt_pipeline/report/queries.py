"""The queries of a report. QuestDB aggregates, so no result grows with the packets."""

from collections.abc import Sequence

from psycopg import Connection, sql

from mt_pipeline.backends.loads import BackendError
from mt_pipeline.backends.questdb import views
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.report.remote_ends import Flows
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
from mt_pipeline.report.view import View

_PARTS_OF_TIME = 1000


class NoExperiment(BackendError):
    """There is no view of the experiment."""


class Experiment:
    """The rows of an experiment; each method runs a query.

    Args:
        connection: connection to QuestDB.
        experiment: its folded name.

    Attributes:
        flows: what its flows know of remote ends.

    Raises:
        NoExperiment: it has no view.
    """

    def __init__(self, connection: Connection, experiment: str) -> None:
        self.view = views.view_name(experiment)
        if not views.has_view(connection, experiment):
            raise NoExperiment(
                f"QuestDB has no view {self.view}, so there is nothing to report: "
                "`mt-pipeline status` lists the experiments"
            )
        self._view = View(connection, self.view)
        self.flows = Flows(connection, experiment)

    def captures(self) -> list[CaptureRows]:
        """Sum up each capture, by key."""
        return self._view.select(
            CaptureRows,
            """SELECT capture, {sums}, min(ts)::long AS first, max(ts)::long AS last
            FROM {view} GROUP BY capture ORDER BY capture""",
        )

    def busy(self, first: int, last: int) -> list[Busy]:
        """List when packets were captured between two times, to a thousandth of that time."""
        return self._view.select(
            Busy,
            """SELECT first, last FROM (
                SELECT (ts::long - %s) / %s AS part, min(ts)::long AS first, max(ts)::long AS last
                FROM {view})
            ORDER BY first""",
            *(first, (last - first) // _PARTS_OF_TIME + 1),
        )

    def remotes(self) -> list[Remote]:
        """Sum up the packets with a remote end by its answer and that of the server name."""
        return self._view.select(
            Remote,
            "{halves}",
            halves=self._view.both_directions(
                """SELECT ip_{end}_netify_app_tag AS application,
                    ip_{end}_netify_app_category_tag AS category,
                    ip_{end}_netify_geo_country AS country, ip_{end}_provider AS provider,
                    ip_{end}_netify_geo_city <> {unknown} AS has_city,
                    tls_sni <> {unknown} AS has_name,
                    tls_sni_netify_app_tag AS name_application,
                    tls_sni_netify_app_category_tag AS name_category,
                    tls_sni_provider AS name_provider, {sums}
                FROM {view} WHERE {is_remote}"""
            ),
        )

    def labels(self, limit: int) -> list[str]:
        """List the labels with most bytes: applications, else registrable domains."""
        return [row.name for row in self._names(self._view.fragment("label"), limit)]

    def slices(self, step: int, labels: Sequence[str]) -> list[Slice]:
        """Sum up the bytes of each step, by label."""
        chosen: sql.Composable = sql.SQL("NULL::string")
        if labels:
            listed = among(sql.SQL("label"), labels)
            chosen = sql.SQL("CASE WHEN {} THEN label END").format(listed)
        return self._view.select(
            Slice,
            """SELECT step, is_public, label IS NOT NULL AS is_named, {chosen} AS label,
                sum(bytes) AS bytes
            FROM (SELECT ts::long / %s AS step, {is_public} AS is_public, {label} AS label,
                coalesce(sum(frame_len), 0) AS bytes FROM {view})
            ORDER BY step, is_public, is_named, label""",
            *(*labels, step),
            chosen=chosen,
        )

    def protocols(self) -> list[Protocol]:
        """Sum up streams by protocol, and packets without a stream.

        The protocol of a stream is an encrypted protocol if any of its packets has one, else a
        protocol that carries others, else any protocol.
        """
        return self._view.select(
            Protocol,
            """SELECT ip_proto, coalesce(hidden, carrier, other) AS protocol, is_public,
                sum(packets) AS packets, sum(bytes) AS bytes
            FROM (SELECT capture, ip_proto, stream_index, {is_public} AS is_public,
                max(CASE WHEN protocol IN ({encrypted}) THEN protocol END) AS hidden,
                max(CASE WHEN protocol IN ({carriers}) THEN protocol END) AS carrier,
                max(CASE WHEN protocol NOT IN ({no_protocol}) THEN protocol END) AS other, {sums}
                FROM {view} WHERE stream_index IS NOT NULL)
            UNION ALL SELECT ip_proto, protocol, {is_public} AS is_public, {sums}
                FROM {view} WHERE stream_index IS NULL""",
        )

    def places(self) -> list[Place]:
        """Sum up the packets with a remote end by its place, the place with most bytes first."""
        return self._view.select(
            Place,
            """SELECT country, city, longitude, latitude, sum(packets) AS packets,
                sum(bytes) AS bytes
            FROM ({halves}) ORDER BY bytes DESC, country, city, longitude, latitude""",
            halves=self._view.both_directions(
                """SELECT ip_{end}_netify_geo_country AS country,
                    ip_{end}_netify_geo_city AS city, ip_{end}_netify_geo_lon AS longitude,
                    ip_{end}_netify_geo_lat AS latitude, {sums}
                FROM {view} WHERE {is_remote}"""
            ),
        )

    def locals(self) -> list[Local]:
        """Sum up what each device, and each other end without a public address, sent and got."""
        return self._view.select(
            Local,
            "{halves}",
            halves=self._view.both_ends(
                """SELECT device_{end} AS device, hardware, ip_{end}::string AS ipv4,
                    ipv6_{end} AS ipv6, {sent} AS sent, packets, bytes
                FROM (SELECT device_{end}, {hardware} AS hardware, ip_{end}, ipv6_{end}, {sums}
                    FROM {view} WHERE {is_near})"""
            ),
        )

    def peers(self, limit: int) -> list[Peer]:
        """List for each of these the labels or ends that it exchanged most bytes with."""
        return self._view.select(
            Peer,
            """SELECT who, peer FROM (
                SELECT who, peer, bytes,
                    row_number() OVER (PARTITION BY who ORDER BY bytes DESC, peer) AS place
                FROM (SELECT who, peer, sum(bytes) AS bytes FROM ({halves})
                    WHERE who IS NOT NULL AND peer IS NOT NULL))
            WHERE place <= %s ORDER BY who, place""",
            limit,
            halves=self._view.both_ends(
                """SELECT coalesce(device_{end}::string, ({hardware})::string, ip_{end}::string,
                        ipv6_{end}::string) AS who,
                    coalesce(({label})::string, device_{other}::string, ip_{other}::string,
                        nullif(ipv6_{other}, '::')::string, eth_{other}::string) AS peer,
                    coalesce(sum(frame_len), 0) AS bytes
                FROM {view} WHERE {is_near}"""
            ),
        )

    def names(self, limit: int) -> list[Name]:
        """List the server names with most bytes."""
        return self._names(sql.Identifier("tls_sni"), limit)

    def domains(self, limit: int) -> list[Name]:
        """List the registrable domains with most bytes."""
        return self._names(sql.Identifier("tls_sni_domain"), limit)

    def destinations(self, limit: int) -> list[Destination]:
        """List the public addresses and server names with most bytes.

        If captures have different answers for an address or name, any of them is returned.
        """
        halves = self._view.both_directions(
            """SELECT ip_{end} AS ipv4, ipv6_{end} AS ipv6, tls_sni AS name,
                last(ip_{end}_netify_app_tag) AS application,
                last(tls_sni_netify_app_tag) AS name_application,
                last(ip_{end}_netify_geo_country) AS country, last(ip_{end}_provider) AS provider,
                last(tls_sni_provider) AS name_provider, {sums}, min(ts) AS first, max(ts) AS last
            FROM {view} WHERE {is_remote}"""
        )
        return self._view.select(
            Destination,
            """SELECT *, count() OVER () AS destinations FROM (
                SELECT ipv4::string AS ipv4, ipv6, name, max(application) AS application,
                    max(name_application) AS name_application, max(country) AS country,
                    max(provider) AS provider, max(name_provider) AS name_provider,
                    sum(packets) AS packets, sum(bytes) AS bytes,
                    min(first)::long AS first, max(last)::long AS last
                FROM ({halves}))
            ORDER BY bytes DESC, ipv4, ipv6, name LIMIT %s""",
            limit,
            halves=halves,
        )

    def news(self, step: int) -> list[New]:
        """Count the public addresses that first appear in each step."""
        return self._view.select(
            New,
            """SELECT first / %s AS step, count() AS addresses FROM
            (SELECT ipv4, ipv6, min(first)::long AS first FROM ({halves})) ORDER BY step""",
            step,
            halves=self._view.both_directions(
                """SELECT ip_{end} AS ipv4, ipv6_{end} AS ipv6, min(ts) AS first
                FROM {view} WHERE {is_remote}"""
            ),
        )

    def _names(self, name: sql.Composable, limit: int) -> list[Name]:
        # QuestDB 9.3 looks up a plain `name <> 'Unknown'` in the index of tls_sni, and fails if
        # that has no other name.
        return self._view.select(
            Name,
            """SELECT *, count() OVER () AS names FROM (SELECT {name} AS name, {sums} FROM {view})
            WHERE coalesce(name, {unknown}) <> {unknown} ORDER BY bytes DESC, name LIMIT %s""",
            limit,
            name=name,
        )
