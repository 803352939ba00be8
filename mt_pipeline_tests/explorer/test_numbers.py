"""Every number of the explorer is that of SQL on the tables, and of Python on the documents."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.store import Store
from mt_pipeline_tests.explorer.conftest import BOTH
from mt_pipeline_tests.explorer.counting import (
    Row,
    expected_table,
    flows_of,
    second,
    selected,
    shown,
    sums,
    text,
)
from mt_pipeline_tests.explorer.loaded import FIRST, SECOND, Loaded, table_of, view_of

_OWNERS = ("owner", "party", "tracker")
"""What the tables have and the documents do not."""


@pytest.fixture(scope="module", params=BOTH)
def store(request: pytest.FixtureRequest, loaded: Loaded) -> Store:
    return loaded.store(request.param)


def choices(rows: Sequence[Row]) -> Iterator[list[tuple[str, str]]]:
    """Make none, one and three filters: of each dimension values, what is none, and opposites."""
    yield []
    for dimension in DIMENSIONS:
        if dimension in _OWNERS:
            continue
        values = sorted({value for row in rows if (value := text(row, dimension)) is not None})
        if values:
            yield [(dimension, f"is:{values[0]}")]
            yield [(dimension, f"not:{values[-1]}")]
            yield [(dimension, f"is:{values[0]}"), (dimension, f"is:{values[-1]}")]
            yield [
                (dimension, f"is:{values[len(values) // 2]}"),
                ("transport", "is:TCP"),
                ("country", "not-none"),
            ]
        yield [(dimension, "is-none")]
        yield [(dimension, "not-none")]
    yield [("protocol", "is:tls"), ("remote", "not-none"), ("name", "not:www.netflix.com")]


def test_tables_and_totals_are_those_of_plain_python(loaded: Loaded, store: Store):
    rows = flows_of(loaded, FIRST)
    seconds = sorted({second(row) for row in rows})
    stretches = [(None, None), (seconds[1], seconds[-2]), (seconds[len(seconds) // 2], None)]
    for filters in choices(rows):
        for since, until in stretches:
            chosen = selected(rows, filters, since, until)
            limits = [("since", since), ("until", until)]
            query = urlencode(
                [("e", FIRST), *filters, *((name, value) for name, value in limits if value)]
            )
            seen = view_of(store, query)
            totals = seen["totals"]
            assert shown(totals) == sums(chosen), query
            assert totals["remotes"] == len({row["remote"] for row in chosen} - {None})
            assert totals["countries"] == len({row["geo_country"] for row in chosen} - {None})
            for table in seen["tables"]:
                dimension = table["dimension"]
                if dimension in _OWNERS:
                    continue
                expected = expected_table(chosen, dimension)
                assert table["count"] == len(expected.keys() - {None}), (query, dimension)
                found = {row["value"]: row for row in table["rows"] if row["kind"] == "value"}
                for value, row in found.items():
                    assert shown(row) == expected[value], (query, dimension, value)
                least = min((row["bytes"] for row in found.values()), default=0)
                hidden = [expected[each] for each in expected.keys() - found.keys() - {None}]
                assert all(sent + received <= least for sent, received, *_ in hidden)
                rest = {row["kind"]: shown(row) for row in table["rows"] if row["kind"] != "value"}
                others = tuple(map(sum, zip(*hidden, strict=True)))
                assert rest.get("others", ()) == others, (query, dimension)
                assert rest.get("none") == expected.get(None), (query, dimension)


def test_two_experiments_together_are_the_sum_of_both(loaded: Loaded, store: Store):
    rows = [*flows_of(loaded, FIRST), *flows_of(loaded, SECOND)]
    for filters in ([], [("name", "is:www.netflix.com")], [("experiment", f"not:{FIRST}")]):
        seen = view_of(store, urlencode([("e", FIRST), ("e", SECOND), *filters]))
        chosen = selected(rows, filters)
        assert shown(seen["totals"]) == sums(chosen)
        for table in seen["tables"]:
            if table["dimension"] not in _OWNERS:
                expected = expected_table(chosen, table["dimension"])
                for row in table["rows"]:
                    if row["kind"] == "value":
                        assert shown(row) == expected[row["value"]]


def test_a_comparison_has_both_and_their_difference(loaded: Loaded, store: Store):
    a, b = flows_of(loaded, FIRST), flows_of(loaded, SECOND)
    found = table_of(
        store, urlencode({"e": FIRST, "vs": SECOND, "dimension": "name", "limit": 1000})
    )
    first, second_ = expected_table(a, "name"), expected_table(b, "name")
    nothing = (0, 0, 0, 0)
    values = {row["value"]: row for row in found["rows"]}
    assert values.keys() == first.keys() | second_.keys()
    for value, row in values.items():
        assert shown(row) == first.get(value, nothing)
        assert shown(row["vs"]) == second_.get(value, nothing)
    differences = [
        abs(row["vs"]["bytes"] - row["bytes"]) for row in found["rows"] if row["kind"] == "value"
    ]
    assert differences == sorted(differences, reverse=True)


@pytest.mark.parametrize("measure", ["bytes", "packets", "conversations"])
@pytest.mark.parametrize("axis", ["time", "start", "joined"])
@pytest.mark.parametrize("by", ["app", "name", "protocol", "capture"])
def test_a_timeline_adds_up_what_each_step_has(
    loaded: Loaded, store: Store, measure: str, axis: str, by: str
):
    rows = flows_of(loaded, FIRST)
    for filters in ([], [("transport", "is:TCP")]):
        asked = [("e", FIRST), ("measure", measure), ("axis", axis), ("by", by), *filters]
        line = view_of(store, urlencode(asked))["timeline"]
        step = line["step_s"]
        expected = steps_of(line, selected(rows, filters), by, placed(line, rows))
        assert len(line["series"]) == len({series for series, _ in expected})
        for each in line["series"]:
            series = each["kind"], each["value"]
            amounts = [amount(expected[series, at], measure, step) for at in range(len(line["x"]))]
            assert each["points"] == pytest.approx(amounts, abs=0.001), asked


def steps_of(
    line: Row, rows: Sequence[Row], by: str, place: Callable[[Row], int]
) -> dict[tuple[tuple[str, str | None], int], list[Row]]:
    """Return the flows of each series and step of a timeline."""
    named = {each["value"] for each in line["series"] if each["kind"] == "value"}
    found = defaultdict[tuple[tuple[str, str | None], int], list[Row]](list)
    for row in rows:
        value = text(row, by)
        kind = "none" if value is None else "value" if value in named else "others"
        series = kind, value if kind == "value" else None
        found[series, (place(row) - line["x"][0]) // line["step_s"]].append(row)
    return found


def placed(line: Row, rows: Sequence[Row]):
    """Return what says where a flow lies on the axis of a timeline."""
    if line["axis"] == "time":
        return second
    if line["axis"] == "start":
        firsts: dict[str, int] = {}
        for row in rows:
            firsts[row["capture"]] = min(firsts.get(row["capture"], second(row)), second(row))
        return lambda row: second(row) - firsts[row["capture"]]

    def joined(row: Row) -> int:
        (at,) = [
            segment["at_s"] + second(row) - segment["start"] // 10**6
            for segment in line["segments"]
            if 0 <= second(row) - segment["start"] // 10**6 < segment["length_s"]
        ]
        return at

    return joined


def amount(rows: Sequence[Row], measure: str, step: int) -> float:
    sent, received, packets, conversations = sums(rows)
    if measure == "conversations":
        return conversations
    return (sent + received if measure == "bytes" else packets) / step


def test_months_without_traffic_do_not_flatten_the_timeline(loaded: Loaded, store: Store):
    line = view_of(store, urlencode({"e": FIRST}))["timeline"]

    assert line["axis"] == "joined"
    seconds = {second(row) for row in flows_of(loaded, FIRST)}
    assert sum(segment["length_s"] for segment in line["segments"]) < len(seconds) * 10
    assert len(line["segments"]) == 2
    assert line["segments"][1]["capture"] == f"{FIRST}/later.pcap"


def test_the_span_is_that_of_the_packets(loaded: Loaded, store: Store):
    span = view_of(store, urlencode({"e": FIRST, "name": "is:www.netflix.com"}))["span"]
    rows = flows_of(loaded, FIRST)

    def microseconds(time: datetime) -> int:
        return round(time.replace(tzinfo=UTC).timestamp() * 10**6)

    assert span["first"] == min(microseconds(row["first_ts"]) for row in rows)
    assert span["last"] == max(microseconds(row["last_ts"]) for row in rows)
