"""Both back ends answer every question in the same way, and as plain Python does."""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from mt_pipeline.api import questdb, questdb_bulk
from mt_pipeline.api.question import Sum
from mt_pipeline.api.session import Session
from mt_pipeline.api.values import check
from mt_pipeline.api.where import NONE, Comparison, Where, col
from mt_pipeline.api.where_text import parse
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table
from mt_pipeline_tests.api.oracle import holds
from mt_pipeline_tests.api.parts import HOSTILE, load_both, sessions
from mt_pipeline_tests.pipelines import Lab

EXPERIMENT = "asked"
TABLES = {"packets": PACKETS, "flows": FLOWS}


@pytest.fixture(scope="module")
def opened(lab: Lab) -> dict[str, Session]:
    load_both(lab, EXPERIMENT)
    return sessions(lab)


@pytest.fixture(params=["by rows", "by file"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have QuestDB answer by PostgreSQL's protocol, or by a Parquet file over HTTP."""
    monkeypatch.setattr(questdb, "FEW", 0 if request.param == "by file" else 10**9)
    if request.param == "by file":
        monkeypatch.setattr("mt_pipeline.api.questdb_bulk._BY_ROW", 1e9)
        monkeypatch.setattr("mt_pipeline.api.questdb_bulk.SLICE_ROWS", 50)


def ask(opened: dict[str, Session], what: str, **asked: object) -> pa.Table:
    """Ask both; return the answer, which is the same."""
    answers = [getattr(session, what)(EXPERIMENT, **asked).arrow() for session in opened.values()]
    first, second = answers
    assert first.schema == second.schema
    assert first.num_rows == second.num_rows
    for name in first.schema.names:
        assert first[name].to_pylist() == second[name].to_pylist(), name
    return first


@pytest.mark.parametrize("what", TABLES)
@pytest.mark.usefixtures("_way")
def test_all_rows_and_columns_are_the_same_and_in_order(opened: dict[str, Session], what: str):
    table = ask(opened, what)

    assert table.num_rows > 100
    assert table.schema.names == list(TABLES[what].columns)
    keys = [tuple(row.values()) for row in table.select(TABLES[what].keys).to_pylist()]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert table.schema.field("ts").type == pa.timestamp("us", "UTC")
    assert set(HOSTILE) <= set(table["tls_sni"].to_pylist())


def conditions(table: Table, rows: Sequence[dict[str, object]], seed: int) -> Iterator[Where]:
    """Make conditions on every column, with values that it has and others, and combine them."""
    chance = random.Random(seed)  # noqa: S311
    single = list[Where]()
    for name, kind in table.columns.items():
        known = [row[name] for row in rows if row[name] is not None]
        value = chance.choice(known) if known else {"INT": 1, "DOUBLE": 1.5}.get(kind, "x")
        other = chance.choice(known) if known else value
        column = col(name)
        single += [column == value, column != value, column.isin([value, None]), column == None]  # noqa: E711
        single += [~column.isin([other, value])]
        if kind in ("SYMBOL", "VARCHAR", "IPV4"):
            text = str(value)
            start = chance.randrange(len(text))
            part = text[start : start + chance.randint(1, 5)]
            single += [column.contains(part), ~column.contains(part)]
            single += [column.startswith(text[:3]), ~column.endswith(text[-3:])]
        else:
            single += [column < value, ~(column < value), column >= value, ~(column > value)]
            single += [column <= value]
    yield from chance.sample(single, 20)
    for _ in range(8):
        a, b, c = chance.sample(single, 3)
        yield chance.choice([a & b, a | b, ~(a & b) | c, ~(a | b) & c, a & ~b & c])


@pytest.mark.parametrize("what", TABLES)
@pytest.mark.usefixtures("_way")
def test_every_condition_means_what_it_means_in_plain_python(opened: dict[str, Session], what: str):
    table = TABLES[what]
    all_rows = getattr(opened["parquet"], what)(EXPERIMENT).arrow().to_pylist()
    key = list(table.keys)
    for where in conditions(table, all_rows, seed=7):
        typed = check(where, table)
        expected = [
            tuple(row[name] for name in key)
            for row in all_rows
            if holds(typed, row, packets=table is PACKETS)
        ]
        found = ask(opened, what, where=where, columns=key)
        assert [tuple(row.values()) for row in found.to_pylist()] == expected, str(where)
        read = parse(str(where))
        again = opened["parquet"].question(table, EXPERIMENT, where=read)
        assert str(again.where) == str(typed), str(where)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("_way")
def test_a_hostile_name_is_a_value_and_nothing_else(opened: dict[str, Session], name: str):
    quoted = name.replace("'", "''")
    found = ask(opened, "flows", where=f"tls_sni = '{quoted}'", columns=["tls_sni", "ts"])

    assert set(found["tls_sni"].to_pylist()) == {name}
    assert ask(opened, "flows", where=col("tls_sni") == name, columns=["tls_sni", "ts"]) == found


@pytest.mark.usefixtures("_way")
def test_times_limit_the_answer_and_what_lies_outside_is_not_there(opened: dict[str, Session]):
    times = ask(opened, "packets", columns=["ts"])["ts"].to_pylist()
    since, until = times[len(times) // 3], times[-3]

    found = ask(opened, "packets", columns=["ts"], since=since, until=until)["ts"].to_pylist()

    assert found == [time for time in times if since <= time < until]
    assert len({time.date() for time in found}) > 2
    text = since.replace(tzinfo=None).isoformat()
    assert (
        ask(opened, "packets", columns=["ts"], since=text, until=until)["ts"].to_pylist() == found
    )
    late = datetime(2100, 1, 1)
    assert ask(opened, "flows", since=late, until=late + timedelta(days=1)).num_rows == 0


@pytest.mark.parametrize("what", TABLES)
def test_sums_by_any_column_are_those_of_the_rows(opened: dict[str, Session], what: str):
    table = TABLES[what]
    for where in (None, col("protocol").isin(["tls", None]) & ~col("tls_sni").contains("e")):
        rows = ask(opened, what, where=where).to_pylist()
        for by in table.columns:
            if table.columns[by] in ("DOUBLE", "TIMESTAMP"):
                continue
            expected = defaultdict[object, list[int]](lambda: [0, 0])
            for row in rows:
                unknown = row[by] == "Unknown" and not holds(
                    ~Comparison(by, "in", (NONE,)), row, packets=table is PACKETS
                )
                sums = expected[None if unknown else row[by]]
                out = what == "flows"
                sums[0] += row["packets_out"] + row["packets_in"] if out else 1
                sums[1] += row["bytes_out"] + row["bytes_in"] if out else row["frame_len"]
            for name, session in opened.items():
                question = session.question(table, EXPERIMENT, where=where)
                found = session.source(EXPERIMENT).sums(question, by)
                assert found == {value: Sum(*both) for value, both in expected.items()}, (name, by)


def test_counts_by_capture_are_those_of_the_rows(opened: dict[str, Session]):
    where = col("protocol") == "tls"
    rows = ask(opened, "packets", where=where).to_pylist()

    for session in opened.values():
        question = session.question(PACKETS, EXPERIMENT, where=where)
        counts = session.source(EXPERIMENT).counts(question)
        assert sum(counts.values()) == len(rows)
        assert set(counts) == {row["capture"] for row in rows}


@pytest.mark.parametrize("failing", [1, 3])
def test_rows_come_one_by_one_where_the_server_gives_no_file(
    opened: dict[str, Session], monkeypatch: pytest.MonkeyPatch, failing: int
):
    """As with a password of HTTP that is another, or while `compact` moves rows."""
    calls = itertools.count(1)
    download = questdb_bulk._download
    monkeypatch.setattr(questdb, "FEW", 0)
    monkeypatch.setattr(questdb_bulk, "_BY_ROW", 1e9)
    monkeypatch.setattr(questdb_bulk, "SLICE_ROWS", 50)
    monkeypatch.setattr(
        questdb_bulk, "_download", lambda *some: next(calls) < failing and download(*some)
    )

    assert ask(opened, "packets").num_rows > 100
    assert next(calls) == failing + 1
