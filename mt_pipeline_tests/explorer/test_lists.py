"""Matrix, map, first sightings and conversations have the numbers of plain Python, too."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from mt_pipeline.explorer import places
from mt_pipeline.explorer.asked import see
from mt_pipeline.explorer.conditions import lines
from mt_pipeline.explorer.state import Asked, parse
from mt_pipeline.explorer.store import Store
from mt_pipeline.explorer.views import CONVERSATIONS, MATRIX, NEW, listed, matrix, new
from mt_pipeline.report import world_map
from mt_pipeline_tests.explorer.conftest import BOTH
from mt_pipeline_tests.explorer.counting import Row, flows_of, second, selected, sums, text
from mt_pipeline_tests.explorer.loaded import FIRST, SECOND, Loaded

TCP = [("transport", "is:TCP")]


@pytest.fixture(scope="module", params=BOTH)
def store(request: pytest.FixtureRequest, loaded: Loaded) -> Store:
    return loaded.store(request.param)


def microseconds(time: datetime) -> int:
    return round(time.replace(tzinfo=UTC).timestamp() * 10**6)


@pytest.mark.parametrize("filters", [[], TCP], ids=["all", "filtered"])
@pytest.mark.parametrize("measure", ["bytes", "packets", "conversations"])
def test_a_matrix_has_each_pair(
    loaded: Loaded, store: Store, filters: list[tuple[str, str]], measure: str
):
    query = [("e", FIRST), ("rows", "protocol"), ("columns", "country"), ("limit", "3")]
    found = matrix(store, parse(urlencode([*query, *filters, ("measure", measure)]), MATRIX))

    expected = defaultdict[tuple[object, object], list[Row]](list)
    named = [
        {each["value"] for each in found[axis] if each["kind"] == "value"}
        for axis in ("rows", "columns")
    ]
    for row in selected(flows_of(loaded, FIRST), filters):
        pair = [text(row, dimension) for dimension in ("protocol", "country")]
        expected[
            tuple(
                ("none", None)
                if value is None
                else ("value", value)
                if value in known
                else ("others", None)
                for value, known in zip(pair, named, strict=True)
            )
        ].append(row)
    cells = _cells(found)
    place = {"bytes": slice(0, 2), "packets": slice(2, 3), "conversations": slice(3, 4)}[measure]
    assert cells == {pair: sum(sums(rows)[place]) for pair, rows in expected.items()}


def test_a_map_has_all_traffic(loaded: Loaded, store: Store):
    found = places.places(see(store, parse(urlencode([("e", FIRST), ("e", SECOND)])).view))

    expected = defaultdict[object, list[Row]](list)
    for row in [*flows_of(loaded, FIRST), *flows_of(loaded, SECOND)]:
        city, country = row["geo_city"], row["geo_country"]
        degrees = row["geo_lat"], row["geo_lon"]
        if degrees[0] is None and country:  # without a city, a country has its middle
            degrees = tuple(reversed(world_map.middles()[country]))
        expected[(*degrees, city, country) if degrees[0] is not None else (None,) * 4].append(row)
    assert len(expected) > 3
    assert {
        (each["lat"], each["lon"], each["city"], each["country"]): (
            each["bytes"],
            each["packets"],
            each["conversations"],
        )
        for each in found
    } == {
        place: (sent + received, packets, conversations)
        for place, (sent, received, packets, conversations) in (
            (place, sums(rows)) for place, rows in expected.items()
        )
    }
    assert found[-1]["lat"] is None
    assert any(each["lat"] is not None and each["city"] is None for each in found)
    assert places.world()["path"].startswith("M")


@pytest.mark.parametrize("dimension", ["name", "remote", "country", "port"])
def test_new_values_come_with_their_first_packet(loaded: Loaded, store: Store, dimension: str):
    rows = flows_of(loaded, FIRST)
    later = sorted({second(row) for row in rows})[2]
    for since in (None, later):
        query = [("e", FIRST), ("dimension", dimension), ("limit", "1000")]
        query += [("since", str(since))] if since else []
        found = new(store, parse(urlencode(query), NEW))
        firsts: dict[str, int] = {}
        for row in selected(rows, [], since):
            if (value := text(row, dimension)) is not None:
                firsts[value] = min(firsts.get(value, 10**18), microseconds(row["first_ts"]))
        assert {each["value"]: each["first"] for each in found["rows"]} == firsts
        assert [each["first"] for each in found["rows"]] == sorted(firsts.values(), reverse=True)
        assert found["count"] == found["growth"][-1]["count"] == len(firsts)
        for point in found["growth"]:
            by_then = [first for first in firsts.values() if first // 10**6 <= point["t"]]
            assert point["count"] <= len(by_then)


@pytest.mark.parametrize("measure", ["bytes", "packets", "conversations"])
def test_lists_of_a_comparison_have_what_each_side_has_alone(store: Store, measure: str):
    def asked(*more: tuple[str, str], names: tuple[str, ...] = ()) -> Asked:
        return parse(urlencode([("measure", measure), *more]), names)

    alone, versus = ("e", FIRST), ("vs", SECOND)
    other = ("e", SECOND)
    pair = ("rows", "protocol"), ("columns", "country"), ("limit", "50")
    both = matrix(store, asked(alone, versus, *pair, names=MATRIX))
    for side, cells in ((alone, "cells"), (other, "vs_cells")):
        assert _cells(both, cells) == _cells(matrix(store, asked(side, *pair, names=MATRIX)))

    every = places.places(see(store, asked(alone, versus).view))
    for side, of in ((alone, lambda each: each), (other, lambda each: each["vs"])):
        single = places.places(see(store, asked(side).view))
        assert _sums(every, of) == _sums(single, lambda each: each)

    many = ("dimension", "name"), ("limit", "1000")
    seen = new(store, asked(alone, versus, *many, names=NEW))
    for side, of in ((alone, lambda each: each), (other, lambda each: each["vs"])):
        single = new(store, asked(side, *many, names=NEW))
        firsts = {row["value"]: of(row)["first"] for row in seen["rows"] if of(row)["first"]}
        assert firsts == {row["value"]: row["first"] for row in single["rows"]}
    is_on_one = [None in (row["first"], row["vs"]["first"]) for row in seen["rows"]]
    assert is_on_one == sorted(is_on_one, reverse=True)
    assert True in is_on_one
    assert seen["growth"][0]["t"] == seen["vs_growth"][0]["t"] == 0

    for place, side in enumerate((alone, other)):
        of_side = ("side", str(place)), ("limit", "1000")
        assert listed(store, asked(alone, versus, *of_side, names=CONVERSATIONS)) == listed(
            store, asked(side, ("limit", "1000"), names=CONVERSATIONS)
        )


def _cells(found: Row, name: str = "cells") -> dict[tuple[object, object], int]:
    """Return the cells that are not 0, by the values of their row and column."""
    return {
        ((row["kind"], row["value"]), (column["kind"], column["value"])): cell
        for row, of_row in zip(found["rows"], found[name], strict=True)
        for column, cell in zip(found["columns"], of_row, strict=True)
        if cell
    }


def _sums(found: Sequence[Row], of: Callable[[Row], Row]) -> dict[object, list[int]]:
    """Return the sums of places that are not 0."""
    sums = {
        (each["lat"], each["lon"], each["city"], each["country"]): [
            of(each)[name] for name in ("bytes", "packets", "conversations")
        ]
        for each in found
    }
    return {place: numbers for place, numbers in sums.items() if any(numbers)}


def test_conversations_are_those_of_the_flows(loaded: Loaded, store: Store):
    rows = flows_of(loaded, FIRST)
    query = urlencode([("e", FIRST), *TCP, ("limit", "1000")])
    found = listed(store, parse(query, CONVERSATIONS))
    by_conversation = defaultdict[object, list[Row]](list)
    for row in selected(rows, TCP):
        by_conversation[row["capture"], row["conversation"]].append(row)

    assert found["count"] == len(found["rows"]) == len(by_conversation)
    for each in found["rows"]:
        own = by_conversation[each["capture"], each["conversation"]]
        sent, received, *_ = sums(own)
        assert (each["sent"], each["received"]) == (sent, received)
        assert each["packets_sent"] == sum(row["packets_out"] for row in own)
        assert each["packets_received"] == sum(row["packets_in"] for row in own)
        assert each["first"] == min(microseconds(row["first_ts"]) for row in own)
        assert each["last"] == max(microseconds(row["last_ts"]) for row in own)
        for name, column in {
            "experiment": "experiment",
            "stream": "stream_index",
            "local": "local",
            "port_local": "port_local",
            "remote": "remote",
            "port_remote": "port_remote",
            "name": "remote_name",
            "names": "remote_names",
            "country": "geo_country",
            "city": "geo_city",
            "device": "device_local",
            "sni": "tls_sni",
            "alpn": "tls_alpn",
        }.items():
            assert each[name] == own[0][column], name


@pytest.mark.parametrize("sort", ["bytes", "sent", "received", "packets", "first", "seconds"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_conversations_are_one_list(loaded: Loaded, store: Store, sort: str, order: str):
    keys = {
        "bytes": lambda each: each["sent"] + each["received"],
        "packets": lambda each: each["packets_sent"] + each["packets_received"],
        "seconds": lambda each: each["last"] - each["first"],
    }
    query = [("e", FIRST), ("e", SECOND), ("sort", sort), ("order", order), ("limit", "7")]
    pages = list[Row]()
    while page := listed(
        store, parse(urlencode([*query, ("offset", str(len(pages)))]), CONVERSATIONS)
    )["rows"]:
        pages += page
    everything = [*flows_of(loaded, FIRST), *flows_of(loaded, SECOND)]

    assert len({(each["capture"], each["conversation"]) for each in pages}) == len(pages)
    assert len(pages) == len({(row["capture"], row["conversation"]) for row in everything})
    found = [keys.get(sort, lambda each: each[sort])(each) for each in pages]
    assert found == sorted(found, reverse=order == "desc")


def test_the_lines_of_python_return_the_flows_of_the_view(loaded: Loaded, store: Store):
    rows = flows_of(loaded, FIRST)
    names = sorted({value for row in rows if (value := text(row, "name"))})
    seconds = sorted({second(row) for row in rows})
    for filters in ([], TCP, *([("name", f"is:{name}"), ("port", "not:53")] for name in names)):
        query = [("e", FIRST), *filters, ("since", str(seconds[1]))]
        said = lines(parse(urlencode(query)).view)
        scope = {"mt": store.session}
        exec(said.replace("import mt_pipeline as mt", ""), scope)  # noqa: S102
        assert len(scope["flows"]) == len(selected(rows, filters, seconds[1])), said
