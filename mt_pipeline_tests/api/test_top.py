"""Sums of flows by some columns are those of plain Python, from both back ends."""

from collections import defaultdict

import pytest

from mt_pipeline.api.ranking import MEASURES
from mt_pipeline.api.session import Session
from mt_pipeline.api.top import top
from mt_pipeline.api.where import WhereError
from mt_pipeline_tests.api.parts import BOTH, load_both, sessions
from mt_pipeline_tests.pipelines import Lab

EXPERIMENT = "kitchen"


@pytest.fixture(scope="module")
def opened(lab: Lab) -> dict[str, Session]:
    load_both(lab, EXPERIMENT)
    return sessions(lab)


@pytest.mark.parametrize("where", [None, "ip_proto = TCP and not tls_sni = (none)"])
@pytest.mark.parametrize(
    "by", [("tls_sni",), ("local", "remote", "port_remote"), ("protocol", "ip_proto")]
)
@pytest.mark.parametrize("back_end", BOTH)
def test_sums_are_those_of_plain_python(
    opened: dict[str, Session], back_end: str, by: tuple[str, ...], where: str | None
):
    session = opened[back_end]
    groups = defaultdict[tuple[object, ...], list[dict[str, object]]](list)
    for flow in session.flows(EXPERIMENT, where=where).arrow().to_pylist():
        groups[tuple(flow[name] for name in by)].append(flow)

    found = top(session, EXPERIMENT, by, where=where, distinct="capture", most=10_000)

    rows = {tuple(row[name] for name in by): row for row in found.table.to_pylist()}
    assert {
        key: [
            row[name] for name in ("packets", "bytes_out", "bytes_in", "first", "last", "distinct")
        ]
        for key, row in rows.items()
    } == {
        key: [
            sum(flow["packets_out"] + flow["packets_in"] for flow in flows),
            sum(flow["bytes_out"] for flow in flows),
            sum(flow["bytes_in"] for flow in flows),
            min(flow["first_ts"] for flow in flows),
            max(flow["last_ts"] for flow in flows),
            len({flow["capture"] for flow in flows}),
        ]
        for key, flows in groups.items()
    }
    assert not found.more
    assert found.bytes == sum(row["bytes"] for row in rows.values())
    assert found.packets == sum(row["packets"] for row in rows.values())


@pytest.mark.parametrize("sort", [*MEASURES, "distinct"])
def test_both_back_ends_give_the_same_first_ones(opened: dict[str, Session], sort: str):
    for most in (1, 3, 20):
        first, second = (
            top(
                session,
                EXPERIMENT,
                ["tls_sni", "port_remote"],
                sort=sort,
                distinct="capture",
                most=most,
            )
            for session in opened.values()
        )
        assert first == second
        values = first.table[sort].to_pylist()
        assert (values, len(values)) == (sorted(values, reverse=True), most)
        assert first.more


@pytest.mark.parametrize("back_end", BOTH)
def test_nothing_matches(opened: dict[str, Session], back_end: str):
    found = top(opened[back_end], EXPERIMENT, ["local"], where="tls_sni = 'no such name'")
    assert (found.table.num_rows, found.packets, found.more) == (0, 0, False)


@pytest.mark.parametrize(
    ("by", "options", "said"),
    [
        ([], {}, "name one to 3 columns"),
        (["local", "remote", "protocol", "label"], {}, "name one to 3 columns"),
        (["locl"], {}, "did you mean 'local'"),
        (["first_ts"], {}, "first_ts is a time or a measure"),
        (["local"], {"distinct": "geo_lat"}, "geo_lat is a time or a measure"),
        (["local"], {"sort": "byts"}, "did you mean 'bytes'"),
        (["local"], {"sort": "distinct"}, "nothing is sorted by 'distinct'"),
    ],
)
def test_what_cannot_be_is_refused(
    opened: dict[str, Session], by: list[str], options: dict[str, str], said: str
):
    with pytest.raises(WhereError, match=said):
        top(opened["questdb"], EXPERIMENT, by, **options)
