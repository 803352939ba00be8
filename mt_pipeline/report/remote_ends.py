"""What is known of the remote ends of an experiment, by its flows: names, owners, applications.

Packets have only the answers for server names and addresses; flows have the best name, and who
runs the end.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import Connection, sql

from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.views import has_view, view_name
from mt_pipeline.report import grouping
from mt_pipeline.report.grouping import Bar
from mt_pipeline.report.view import View
from mt_pipeline.schema.tables import FLOWS

NOT_KNOWN = "not known"

_SUMS = """sum(packets_out + packets_in) AS packets, sum(bytes_out + bytes_in) AS bytes
    FROM {flows} WHERE direction IN ('outside', 'transit')
    AND capture IN (SELECT DISTINCT capture FROM {view})"""
"""Flows of the captures whose packets are reported; those of others may be kept longer."""

_SOURCES = {
    "server_name": "server name",
    "http_host": "host of HTTP",
    "dns": "DNS, asked by the same end before",
    "dns_other_client": "DNS, asked by another end before",
    "dns_later": "DNS, asked later",
    "mdns": "multicast DNS, said to everyone",
    "certificate": "certificate of the server",
    "reverse": "reverse name, said by a provider",
}
_APP_SOURCES = {
    "name": "server name",
    "address": "address",
    "remote_name": "host of HTTP, or name of DNS",
    "dpi": "packets, by nDPI",
    "network": "network",
    "protocol": "protocol alone",
}


@dataclass(frozen=True, slots=True)
class Known:
    """Packets of all flows with a value; None is what is not known."""

    value: str | None
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Named:
    """What flows know of a remote address; `has_sni` tells those with a server name apart."""

    remote: str
    has_sni: bool
    name: str | None
    organisation: str | None
    application: str | None
    packets: int
    bytes: int


@dataclass(frozen=True)
class RemoteEnds:
    """What is known of remote ends. Lists have the largest first.

    Attributes:
        total: all packets with a remote end.
        names: their best names, else the organisations that run them.
        named_by: what their names come from.
        organisations: who runs their networks.
        parties: first, support or third.
        trackers: kinds of trackers.
        applications: their applications.
        categories: categories of these.
        nameless: packets with a remote end and no application.
        applications_by: what the applications are known by.
        providers: who answered for them.
    """

    total: Bar
    names: Sequence[Bar]
    named_by: Sequence[Bar]
    organisations: Sequence[Bar]
    parties: Sequence[Bar]
    trackers: Sequence[Bar]
    applications: Sequence[Bar]
    categories: Sequence[Bar]
    nameless: Bar
    applications_by: Sequence[Bar]
    providers: frozenset[str]


class Flows:
    """The flows of an experiment; each method runs a query.

    Args:
        connection: connection to QuestDB.
        experiment: its folded name.
    """

    def __init__(self, connection: Connection, experiment: str) -> None:
        self.exist = has_view(connection, experiment, FLOWS)
        self._view = View(connection, view_name(experiment))
        self._flows = sql.Identifier(FLOWS.view(experiment))

    def known(self, column: str) -> list[Known]:
        """Sum up the flows with a remote end by a column; it may be an expression."""
        return self._view.select(
            Known,
            f"SELECT {{column}} AS value, {_SUMS} ORDER BY bytes DESC, value",
            flows=self._flows,
            column=sql.SQL(column),
        )

    def named(self, addresses: Iterable[str]) -> list[Named]:
        """Sum up the flows with these addresses by what is known of them, the most bytes first."""
        listed = sorted(set(addresses))
        if not listed:
            return []
        return self._view.select(
            Named,
            f"""SELECT remote, tls_sni IS NOT NULL AS has_sni, remote_name AS name,
                remote_organisation AS organisation, app_tag AS application, {_SUMS}
                AND {{among}} ORDER BY bytes DESC""",
            *listed,
            flows=self._flows,
            among=among(sql.SQL("remote"), listed),
        )


def summarise(flows: Flows) -> RemoteEnds | None:
    """Return what is known of the remote ends; None if there are no flows."""
    if not flows.exist:
        return None

    def bars(column: str, words: Mapping[str, str] | None = None) -> list[Bar]:
        named = (words or {}).get
        return grouping.bars(
            flows.known(column),
            lambda row: row.value and named(row.value, row.value),
            NOT_KNOWN,
        )

    by_application = flows.known("app_tag")
    providers = {row.value for row in flows.known("provider") if row.value}
    return RemoteEnds(
        total=grouping.total(by_application),
        names=bars("coalesce(remote_name, remote_organisation)"),
        named_by=bars("remote_name_source", _SOURCES),
        organisations=bars("remote_organisation"),
        parties=bars("remote_party"),
        trackers=grouping.bars(flows.known("remote_tracker"), lambda row: row.value, "none known"),
        applications=grouping.bars(by_application, lambda row: row.value, "application not known"),
        categories=grouping.bars(
            flows.known("app_category_tag"), lambda row: row.value, "category not known"
        ),
        nameless=grouping.total(row for row in by_application if row.value is None),
        applications_by=bars("app_source", _APP_SOURCES),
        providers=frozenset(name for names in providers for name in names.split(",")),
    )
