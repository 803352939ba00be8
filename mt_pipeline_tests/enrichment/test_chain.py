"""Providers in a chain: who is asked, whose word counts, who is named for it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.enrichment.models import Endpoint, Facts, Kind
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX, endpoints_file, rows_of
from mt_pipeline_tests.fake_netify import address_body

QUAD9 = Endpoint("address", "9.9.9.9")


class Table:
    """A free provider with a table from endpoints to facts."""

    def __init__(
        self,
        name: str,
        facts: dict[str, Facts],
        kinds: frozenset[Kind] = frozenset({"address", "name"}),
    ) -> None:
        self.name = name
        self.kinds = kinds
        self.facts = facts
        self.asked: list[str] = []

    def look_up(self, kind: Kind, endpoints: Sequence[str]) -> list[Facts | None]:
        self.asked += endpoints
        return [self.facts.get(endpoint) for endpoint in endpoints]


@pytest.fixture
def endpoints(tmp_path: Path) -> Path:
    return endpoints_file(tmp_path / "endpoints.parquet", [GOOGLE, QUAD9, NETFLIX])


def test_a_later_provider_fills_what_is_unknown_and_both_are_named(
    tmp_path, endpoints, fake_netify, netify, store
):
    fake_netify.say("8.8.8.8", body=address_body("8.8.8.8", geolocation=None))
    fake_netify.say("9.9.9.9", status=404)
    place = Facts(app_tag="never taken", geo_country="Italy", geo_city="Rome")
    table = Table("offline", {"8.8.8.8": place, "9.9.9.9": place}, frozenset({"address"}))

    counts = enrich(
        endpoints, tmp_path / "out", providers=[netify(fake_netify), table], store=store
    )

    rows = rows_of(tmp_path / "out")
    assert [
        (rows[name]["provider"], rows[name]["app_tag"], rows[name]["geo_city"]) for name in rows
    ] == [
        ("netify,offline", "example-app", "Rome"),
        ("offline", "never taken", "Rome"),
        ("netify", "example-app", None),
    ]
    assert counts == Counts(endpoints=3, asked=3, answered=3)
    assert dict(counts.by_provider) == {
        "netify": Counts(endpoints=3, asked=3, answered=2, not_found=1),
        "offline": Counts(endpoints=2, answered=2),
    }


def test_who_is_paid_is_not_asked_about_what_is_known_and_the_order_is_that_of_the_list(
    tmp_path, endpoints, fake_netify, netify, store
):
    everything = Facts(
        app_tag="own",
        app_category_tag="c",
        domain_tag="d",
        geo_continent="Asia",
        geo_country="Japan",
        geo_city="Tokyo",
        geo_lon=1,
        geo_lat=2,
    )
    own = Table("own", {"8.8.8.8": everything, "www.netflix.com": everything})
    enrich(endpoints, tmp_path / "out", providers=[own, netify(fake_netify)], store=store)
    assert fake_netify.asked() == ["9.9.9.9"]
    assert {name: row["provider"] for name, row in rows_of(tmp_path / "out").items()} == {
        "8.8.8.8": "own",
        "9.9.9.9": "netify",
        "www.netflix.com": "own",
    }


def test_a_provider_is_never_asked_about_a_kind_that_it_does_not_know(tmp_path, endpoints):
    table = Table("offline", {}, frozenset({"address"}))
    counts = enrich(endpoints, tmp_path / "out", providers=[table])
    assert sorted(table.asked) == ["8.8.8.8", "9.9.9.9"]
    assert counts == Counts(endpoints=3, not_found=2, not_asked=1)
    assert {name: row["provider"] for name, row in rows_of(tmp_path / "out").items()} == {
        "8.8.8.8": "offline",
        "9.9.9.9": "offline",
        "www.netflix.com": None,
    }


def test_a_city_is_never_put_to_another_country_nor_a_category_to_another_application(
    tmp_path, endpoints
):
    first = Table("first", {"8.8.8.8": Facts(geo_country="Germany", app_tag="a")})
    second = Table(
        "second",
        {
            "8.8.8.8": Facts(
                geo_country="Australia", geo_city="Sydney", app_tag="b", app_category_tag="of b"
            )
        },
    )
    third = Table(
        "third", {"8.8.8.8": Facts(geo_country="Germany", geo_city="Berlin", app_category_tag="c")}
    )
    enrich(endpoints, tmp_path / "out", providers=[first, second, third])
    row = rows_of(tmp_path / "out")["8.8.8.8"]
    assert [
        row[name] for name in ("geo_country", "geo_city", "app_tag", "app_category_tag", "provider")
    ] == [
        *("Germany", "Berlin", "a", "c"),
        "first,third",
    ]


def test_a_paid_provider_that_stops_leaves_the_others_their_word_and_is_told(
    tmp_path, endpoints, fake_netify, netify, store
):
    fake_netify.say(status=401)
    table = Table("offline", {"8.8.8.8": Facts(geo_country="Italy")})
    counts = enrich(
        endpoints, tmp_path / "out", providers=[netify(fake_netify), table], store=store
    )
    assert rows_of(tmp_path / "out")["8.8.8.8"]["provider"] == "offline"
    assert (counts.by_provider["netify"].missing, counts.by_provider["offline"].missing) == (3, 0)
    assert "MT_NETIFY_API_KEY" in counts.stopped


@pytest.mark.parametrize(
    "wrong", [[None], [1, 2], RuntimeError("broken")], ids=["too few", "no facts", "raises"]
)
def test_a_free_provider_that_breaks_fails_no_capture(tmp_path, endpoints, wrong):
    class Broken(Table):
        def look_up(self, kind, endpoints):
            if isinstance(wrong, Exception):
                raise wrong
            return wrong if kind == "address" else [None]

    counts = enrich(
        endpoints,
        tmp_path / "out",
        providers=[Broken("broken", {}), Table("table", {"8.8.8.8": Facts(geo_country="Italy")})],
    )
    assert counts.answered == 1
    assert "the provider 'broken' failed" in counts.stopped
    assert rows_of(tmp_path / "out")["8.8.8.8"]["provider"] == "table"
