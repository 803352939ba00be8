"""Sums by a column that follows from another are those of its own codes."""

import numpy as np
import pyarrow as pa
import pytest

from mt_pipeline.api.columns import schema_of
from mt_pipeline.explorer.frame import Frame
from mt_pipeline.explorer.reading import READ, named, read
from mt_pipeline.explorer.selection import select
from mt_pipeline.explorer.state import Filter, View
from mt_pipeline.schema.tables import FLOWS

SECOND = 1_700_000_000
CONVERSATIONS = 400
FLOWS_OF_ALL = 3_000
VIEWS = {
    "all": View(("x",)),
    "filtered": View(("x",), (Filter("app", False, "app0"), Filter("country", True, "land1"))),
    "in time": View(("x",), since=SECOND + 50, until=SECOND + 90),
}


def made(*, wavers: bool) -> Frame:
    """Make flows at random; names have a domain each, and most of all an application."""
    random = np.random.default_rng(1)
    rows = []
    for second in sorted(random.integers(0, 200, FLOWS_OF_ALL).tolist()):
        number = int(random.integers(CONVERSATIONS))
        name = number % 40
        app = name % 5 if number % 39 else 7
        moment = (SECOND + second) * 10**6
        rows.append(
            {
                **dict.fromkeys(("ts", "first_ts", "last_ts"), moment),
                "capture": f"x/{number % 3}.pcap",
                "conversation": number,
                "remote_name": f"name{name + 50 * (wavers and second > 100)}",
                "remote_domain": f"domain{name % 20}",
                "geo_country": None if name % 4 == 0 else f"land{name % 4}",
                "app_tag": f"app{app}",
                "packets_out": int(random.integers(5)),
                "packets_in": 1,
                "bytes_out": int(random.integers(1_000)),
                "bytes_in": int(random.integers(1_000)),
            }
        )
    batches = pa.Table.from_pylist(rows, schema=schema_of(FLOWS, READ)).to_batches()
    return named(read(batches, lambda _: True), "x")


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("wavers", [False, True], ids=["one name each", "names change"])
def test_sums_of_what_follows_are_those_of_its_codes(view: View, wavers: bool):
    frame = made(wavers=wavers)
    assert frame.follows["remote_domain"].name == "remote_name"
    assert "app_tag" not in frame.follows
    assert (frame.names is not None) is wavers

    selection = select(frame, view)
    for name, column in frame.columns.items():
        codes = column.codes[selection.conversations]
        direct = selection.by_codes(codes, len(column.values))
        for what, sums in vars(selection.by(name)).items():
            np.testing.assert_array_equal(sums, getattr(direct, what), f"{name}, {what}")
