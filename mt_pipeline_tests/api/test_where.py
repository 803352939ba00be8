"""Conditions as text and as Python: what is understood, and what is refused with a hint."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mt_pipeline.api.values import check, time_of
from mt_pipeline.api.where import NONE, All, AnyOf, Comparison, Not, Where, WhereError, col
from mt_pipeline.api.where_sql import DUCKDB, QUESTDB, condition
from mt_pipeline.api.where_text import parse
from mt_pipeline.schema.tables import FLOWS, PACKETS
from mt_pipeline_tests.api.parts import HOSTILE

A, B, C = (Comparison(name, "=", ("x",)) for name in "abc")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = x", A),
        ("a == 'x'", A),
        ('a="x"', A),
        ("a = x and b = x or c = x", AnyOf((All((A, B)), C))),
        ("a = x and (b = x or c = x)", All((A, AnyOf((B, C))))),
        ("not a = x and b = x", All((Not(A), B))),
        ("NOT (a = x OR b = x)", Not(AnyOf((A, B)))),
        ("not not a = x", A),
        ("a != x", Not(A)),
        ("a <> x", Not(A)),
        ("a in (x, 'y z', (none))", Comparison("a", "in", ("x", "y z", NONE))),
        ("a not in (x)", Not(Comparison("a", "in", ("x",)))),
        ("a = (none)", Comparison("a", "=", (NONE,))),
        ("a = '(none)'", Comparison("a", "=", ("(none)",))),
        ("a contains 'it''s'", Comparison("a", "contains", ("it's",))),
        ('a startswith "say ""hi"""', Comparison("a", "startswith", ('say "hi"',))),
        ("ts >= 2026-03-01T10:00:00+01:00", Comparison("ts", ">=", ("2026-03-01T10:00:00+01:00",))),
        ("a = and", Comparison("a", "=", ("and",))),
        ("a = 'and'", Comparison("a", "=", ("and",))),
    ],
)
def test_a_text_is_read_as_one_would(text: str, where: Where):
    assert parse(text) == where


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs a column:"),
        ("a", "needs an operator after 'a'"),
        ("a =", "needs a value after 'a ='"),
        ("a = x b", "needs `and` or `or` after 'a = x'"),
        ("(a = x", r"needs `\)` after"),
        ("a in x", r"needs `\(` after"),
        ("a in ()", "needs a value after"),
        ("a = 'x", "close each quote"),
        ("and = x", "needs a column"),
        ("1 = 1; DROP TABLE flows", "needs `and` or `or` after"),
        ("(" * 1000 + "a = x", "nested more than"),
        ("not " * 1000 + "a = x", "nested more than"),
        ("a = " + "x" * 200_000, "more than 100,000 characters"),
    ],
)
def test_what_is_not_understood_is_said_with_the_place(text: str, reason: str):
    with pytest.raises(WhereError, match=reason):
        parse(text)


def test_python_and_text_make_the_same():
    made = (col("app_tag") == "x") & ~col("tls_sni").isin(["a", None]) | (col("port_local") < 5)

    assert made == AnyOf(
        (
            All(
                (
                    Comparison("app_tag", "=", ("x",)),
                    Not(Comparison("tls_sni", "in", ("a", NONE))),
                )
            ),
            Comparison("port_local", "<", (5,)),
        )
    )
    assert str(made) == "(app_tag = 'x' and not (tls_sni in ('a', (none)))) or port_local < 5"
    assert check(parse(str(made)), FLOWS) == check(made, FLOWS)


@pytest.mark.parametrize("name", [*HOSTILE, "a\\b", "and", "not", ")", "", "🙂'"])
def test_the_text_of_a_condition_is_read_back_whatever_its_value(name: str):
    where = (col("tls_sni") == name) | ~col("tls_sni").isin([name, None])

    assert parse(str(where)) == where


@pytest.mark.parametrize("dialect", [QUESTDB, DUCKDB])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_value_is_ever_in_the_sql(dialect: object, name: str):
    where = (col("tls_sni") == name) & ~col("remote").contains(name) | col("tls_sni").isin(
        [name, "y"]
    )

    made = condition(check(where, FLOWS), FLOWS, dialect)

    assert name not in made.text
    assert made.values == (name, name, name, "y")
    assert made.text.count(dialect.placeholder) == 4


def test_python_s_own_and_or_and_not_are_refused():
    """`a and b` would silently be b alone."""
    with pytest.raises(TypeError, match="combine conditions by &"):
        bool(col("a") == 1)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (col("tls_snii") == "x", "packets have no column 'tls_snii'; did you mean 'tls_sni'?"),
        (col("port_src") == "x", "port_src is a whole number of its size: 'x' is none"),
        (col("port_src") == 2**31, "port_src is a whole number"),
        (col("port_src") == 1.5, "port_src is a whole number"),
        (col("port_src") == True, "port_src is a whole number"),  # noqa: E712
        (col("ip_src_netify_geo_lon") == float("nan"), "is a number: nan is none"),
        (col("tls_sni") == 5, "tls_sni is text: write 5 in quotes"),
        (col("tls_sni") < "x", "tls_sni is text: < is for numbers and times"),
        (col("port_src").contains("x"), "port_src is no text: contains is for text"),
        (col("tls_sni").contains(""), "needs a text that is not empty"),
        (col("tls_sni") == "a\0b", "can be in no text"),
        (col("tls_sni") == "a\udc80b", "can be in no text"),
        (col("ip_src") == "fe80::1", "is an IPv4 address: 'fe80::1' is none; IPv6 is in ipv6_src"),
        (col("ts") < "yesterday", "ts is no time: 'yesterday'"),
        (col("port_src") < None, "nothing is < "),
        (col("tls_sni").isin(["x"] * 10_001), "more than 10,000 values"),
        ("tls_sni = 'x'", "is no condition"),
    ],
)
def test_what_a_column_cannot_be_asked_is_refused(where: Where, reason: str):
    with pytest.raises(WhereError) as refused:
        check(where, PACKETS)
    assert reason in str(refused.value)


def test_a_tree_that_python_nested_too_deeply_is_refused():
    where = A
    for _ in range(5000):
        where = Not(All((where, B)))
    with pytest.raises(WhereError, match="nested more than"):
        check(where, FLOWS)


def test_times_are_utc_unless_they_have_a_zone():
    noon = datetime(2026, 3, 1, 12)

    assert time_of("2026-03-01T12:00", "since") == noon
    assert time_of("2026-03-01", "since") == datetime(2026, 3, 1)
    assert time_of(noon.date(), "since") == datetime(2026, 3, 1)
    assert time_of(noon.replace(tzinfo=UTC), "since") == noon
    assert time_of(noon.replace(tzinfo=timezone(timedelta(hours=2))), "x") == datetime(
        2026, 3, 1, 10
    )
