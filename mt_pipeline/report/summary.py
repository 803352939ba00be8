"""The summary of an experiment's rows: it runs all queries and groups their results. No HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from mt_pipeline.report import grouping, places, remote_ends, world_map
from mt_pipeline.report.grouping import MOST_BARS, MOST_LABELS, Bar, Device, Series
from mt_pipeline.report.places import Spot
from mt_pipeline.report.queries import Experiment, NoExperiment
from mt_pipeline.report.remote_ends import Named, RemoteEnds
from mt_pipeline.report.results import CaptureRows, Destination, Name, Remote, known
from mt_pipeline.report.timeline import Timeline
from mt_pipeline.rows.stretches import stretches

MOST_PEERS = 3
MOST_DESTINATIONS = 500


@dataclass(frozen=True)
class Summary:
    """Content of a page that comes from rows.

    Lists have the largest first, then all others, then what is not known.

    Attributes:
        captures: sums of each capture.
        all: all packets.
        public: packets with a remote end.
        named: packets with a remote end and a server name.
        timeline: the time, in steps.
        series: bytes of each step, by application or registrable domain.
        devices: ends in the inventory or without a public address, the largest first.
        spots: all known places of remote ends, the largest first.
        places: places of remote ends.
        has_cities: whether the city of any place is known.
        countries: countries of remote ends.
        ends: what flows know of remote ends; None without flows.
        applications: applications of remote ends, by flows; without flows, of server names and
            addresses alone.
        categories: categories of these applications.
        nameless: packets with a remote end and no application.
        protocols: protocols of streams.
        secrecy: whether streams are encrypted.
        public_secrecy: the same, of streams with a remote end.
        names: the server names with most bytes.
        names_in_all: number of all server names.
        domains: the registrable domains with most bytes.
        domains_in_all: number of all registrable domains.
        destinations: the remote ends with most bytes.
        known: what flows know of these, by address and whether there is a server name.
        addresses: public addresses seen until the end of each step.
        providers: providers that answered for remote ends.
        name_providers: providers that answered for server names.
        answered_by: names of all these providers.
        has_offline_city: whether `offline` returned a city, so that it had a city file.
    """

    captures: Sequence[CaptureRows]
    all: Bar
    public: Bar
    named: Bar
    timeline: Timeline
    series: Sequence[Series]
    devices: Sequence[Device]
    spots: Sequence[Spot]
    places: Sequence[Bar]
    has_cities: bool
    countries: Sequence[Bar]
    ends: RemoteEnds | None
    applications: Sequence[Bar]
    categories: Sequence[Bar]
    nameless: Bar
    protocols: Sequence[Bar]
    secrecy: Sequence[Bar]
    public_secrecy: Sequence[Bar]
    names: Sequence[Bar]
    names_in_all: int
    domains: Sequence[Bar]
    domains_in_all: int
    destinations: Sequence[Destination]
    known: Mapping[tuple[str, bool], Named]
    addresses: Sequence[int]
    providers: Sequence[Bar]
    name_providers: Sequence[Bar]
    answered_by: frozenset[str]
    has_offline_city: bool

    def known_of(self, to: Destination) -> Named | None:
        """Return what flows know of a destination."""
        return self.known.get((to.ipv4 or to.ipv6 or "", known(to.name) is not None))

    @property
    def first(self) -> int:
        """Time of the first packet, microseconds since 1970."""
        return min(capture.first for capture in self.captures)

    @property
    def last(self) -> int:
        """Time of the last packet, microseconds since 1970."""
        return max(capture.last for capture in self.captures)


def summarise(rows: Experiment) -> Summary:
    """Run all queries and group their results.

    Raises:
        NoExperiment: the experiment has no rows.
    """
    captures = _captures(rows)
    timeline = _timeline(rows, captures)
    labels, remotes, protocols = rows.labels(MOST_LABELS), rows.remotes(), rows.protocols()
    where = rows.places()
    names, domains = rows.names(MOST_BARS), rows.domains(MOST_BARS)
    named = [remote for remote in remotes if remote.has_name]
    ends, destinations = remote_ends.summarise(rows.flows), rows.destinations(MOST_DESTINATIONS)
    return Summary(
        captures=captures,
        all=grouping.total(captures),
        public=grouping.total(remotes),
        named=grouping.total(named),
        timeline=timeline,
        series=grouping.series(timeline, labels, rows.slices(timeline.step, labels)),
        devices=grouping.devices(rows.locals(), rows.peers(MOST_PEERS)),
        spots=places.spots(where, world_map.middles()),
        places=grouping.bars(where, places.name_of, "place not known"),
        has_cities=any(known(row.city) for row in where),
        countries=grouping.bars(remotes, lambda remote: known(remote.country), "country not known"),
        ends=ends,
        applications=ends.applications
        if ends
        else grouping.bars(remotes, application_of, "application not known"),
        categories=ends.categories
        if ends
        else grouping.bars(remotes, _category_of, "category not known"),
        nameless=ends.nameless
        if ends
        else grouping.total(remote for remote in remotes if application_of(remote) is None),
        protocols=grouping.bars(protocols, grouping.protocol_of, "no protocol recognised"),
        secrecy=grouping.bars(protocols, grouping.secrecy_of, ""),
        public_secrecy=grouping.bars(
            [row for row in protocols if row.is_public], grouping.secrecy_of, ""
        ),
        names=_bars(names),
        names_in_all=names[0].names if names else 0,
        domains=_bars(domains),
        domains_in_all=domains[0].names if domains else 0,
        destinations=destinations,
        known=_known(rows, destinations) if ends else {},
        addresses=_addresses(rows, timeline),
        providers=grouping.bars(remotes, lambda remote: remote.provider, "nobody was asked"),
        name_providers=grouping.bars(
            named, lambda remote: remote.name_provider, "nobody was asked"
        ),
        answered_by=_providers(remotes) | (ends.providers if ends else set()),
        has_offline_city=any(
            remote.has_city and remote.provider == "offline" for remote in remotes
        ),
    )


def _captures(rows: Experiment) -> list[CaptureRows]:
    if captures := rows.captures():
        return captures
    raise NoExperiment(
        f"the view {rows.view} has no rows, so there is nothing to report: "
        "`mt-pipeline status` says what became of its captures"
    )


def _timeline(rows: Experiment, captures: Sequence[CaptureRows]) -> Timeline:
    busy = rows.busy(
        min(capture.first for capture in captures), max(capture.last for capture in captures)
    )
    return Timeline.over(stretches([part.first for part in busy], [part.last for part in busy]))


def _addresses(rows: Experiment, timeline: Timeline) -> list[int]:
    """Count the public addresses seen until the end of each step."""
    new = {row.step: row.addresses for row in rows.news(timeline.step)}
    return list(accumulate(new.get(step, 0) for step in timeline.places))


def _known(rows: Experiment, destinations: Sequence[Destination]) -> dict[tuple[str, bool], Named]:
    """Return what flows know of destinations; of several the one with most bytes."""
    addresses = [to.ipv4 or to.ipv6 or "" for to in destinations]
    found = rows.flows.named(addresses)
    return {(named.remote, named.has_sni): named for named in reversed(found)}


def application_of(row: Remote | Destination) -> str | None:
    """Return the application of the server name, else of the address."""
    return known(row.name_application) or known(row.application)


def _category_of(remote: Remote) -> str | None:
    """Return the category of the application that `application_of` returns."""
    return known(remote.name_category if known(remote.name_application) else remote.category)


def _providers(remotes: Sequence[Remote]) -> frozenset[str]:
    lists = {provider for row in remotes for provider in (row.provider, row.name_provider)}
    return frozenset(name for names in lists if names for name in names.split(","))


def _bars(names: Sequence[Name]) -> list[Bar]:
    return [Bar(name.name, name.packets, name.bytes) for name in names]
