"""What is downloaded is what the view shows: flows, and the very packets."""

import io
import random
import threading
from collections import Counter
from datetime import UTC
from pathlib import Path
from urllib.parse import urlencode

import pyarrow.csv
import pyarrow.parquet
import pytest

from mt_pipeline.api.cutting import NothingToCutError, RefusedError
from mt_pipeline.explorer import chosen, packets
from mt_pipeline.explorer.asked import see
from mt_pipeline.explorer.errors import AskedWrongError, UnknownError
from mt_pipeline.explorer.files import GivenUp
from mt_pipeline.explorer.state import parse
from mt_pipeline.explorer.store import Store
from mt_pipeline_tests.explorer.conftest import BOTH
from mt_pipeline_tests.explorer.counting import Row, flows_of, second, selected, sums, text
from mt_pipeline_tests.explorer.loaded import FIRST, ODD, SECOND, Loaded, file_of, table_of, view_of
from mt_pipeline_tests.explorer.naming import HOSTILE, LABELS
from mt_pipeline_tests.frames.parts import parse as parse_pcapng
from mt_pipeline_tests.pipelines import PACKETS

TCP = [("transport", "is:TCP")]
NO_WAY = threading.Event()


@pytest.fixture(scope="module", params=BOTH)
def store(request: pytest.FixtureRequest, loaded: Loaded) -> Store:
    return loaded.store(request.param)


@pytest.fixture(params=["named", "chosen here"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have conversations named in a condition, or all packets read and chosen."""
    monkeypatch.setattr(chosen, "_FEW", 10**9 if request.param == "named" else 0)


def packets_of(loaded: Loaded, rows: list[Row]) -> list[tuple[str, int]]:
    """Return the packets of flows: those of their conversation within their second."""
    flows = {(row["capture"], row["conversation"], second(row)) for row in rows}
    return sorted(
        (packet["capture"], packet["frame_number"])
        for packet in loaded.reference.packets
        if (packet["capture"], packet["conversation"], second(packet)) in flows
    )


def some_views(loaded: Loaded, count: int) -> list[tuple[list[tuple[str, str]], int | None]]:
    """Choose filters on any dimensions, and times, by chance."""
    chance = random.Random(3)  # noqa: S311
    rows = flows_of(loaded, FIRST)
    seconds = sorted({second(row) for row in rows})
    views: list[tuple[list[tuple[str, str]], int | None]] = [([], None), (TCP, None)]
    for _ in range(count):
        row = chance.choice(rows)
        filters = []
        for dimension in chance.sample(["name", "remote", "protocol", "port", "country"], 2):
            value = text(row, dimension)
            filters.append((dimension, "is-none" if value is None else f"is:{value}"))
        views.append((filters[: chance.randint(1, 2)], chance.choice([None, *seconds])))
    return views


@pytest.mark.usefixtures("_way")
def test_a_pcapng_has_exactly_the_packets_of_the_view(loaded: Loaded, store: Store):
    lengths = {
        (packet["capture"], packet["frame_number"]): packet["frame_len"]
        for packet in loaded.reference.packets
    }
    for filters, since in some_views(loaded, 25):
        query = [("e", FIRST), *filters, *([("since", str(since))] if since else [])]
        rows = selected(flows_of(loaded, FIRST), filters, since)
        expected = packets_of(loaded, rows)
        said = view_of(store, urlencode(query))["totals"]["packets"]
        checked = loaded.files(store).check(see(store, parse(urlencode(query)).view))
        assert said == checked["packets"] == sums(rows)[2] == len(expected)
        assert checked["captures"] == len({key for key, _ in expected})
        if not expected:
            assert checked["problem"]
            with pytest.raises(NothingToCutError, match="no packet of explored is chosen"):
                file_of(loaded, store, "packets.pcapng", urlencode(query))
            continue
        assert checked["problem"] is None
        content = file_of(loaded, store, "packets.pcapng", urlencode(query))
        path = loaded.lab.data / "downloaded.pcapng"
        path.write_bytes(content)
        found = sorted(
            (key, int(number))
            for frame in parse_pcapng(path).frames
            for key, _, number in [frame.comments[0].rpartition(", frame ")]
        )
        assert found == expected, query
        assert sum(frame.frame.wire_length for frame in parse_pcapng(path).frames) == sum(
            lengths[each] for each in expected
        )


@pytest.mark.usefixtures("_way")
def test_tables_of_packets_are_those_of_the_pcapng(loaded: Loaded, store: Store):
    query = urlencode([("e", FIRST), ("e", SECOND), *TCP])
    rows = selected([*flows_of(loaded, FIRST), *flows_of(loaded, SECOND)], TCP)
    expected = packets_of(loaded, rows)
    parquet = pyarrow.parquet.read_table(
        io.BytesIO(file_of(loaded, store, "packets.parquet", query))
    )
    csv = pyarrow.csv.read_csv(io.BytesIO(file_of(loaded, store, "packets.csv", query)))

    for table in (parquet, csv):
        found = zip(table["capture"].to_pylist(), table["frame_number"].to_pylist(), strict=True)
        assert sorted(found) == expected
    assert b'"experiments"' in parquet.schema.metadata[b"mt_pipeline"]


@pytest.mark.parametrize("conversation", range(3))
def test_one_conversation_can_be_had(loaded: Loaded, store: Store, conversation: int):
    rows = flows_of(loaded, FIRST)
    keys = sorted({(row["capture"], row["conversation"]) for row in rows})
    key, number = keys[len(keys) // 3 * conversation]
    own = [row for row in rows if (row["capture"], row["conversation"]) == (key, number)]
    query = urlencode({"e": FIRST, "capture": f"is:{key}", "conversation": number})

    flows = pyarrow.parquet.read_table(io.BytesIO(file_of(loaded, store, "flows.parquet", query)))
    assert flows.num_rows == len(own)
    found = pyarrow.parquet.read_table(io.BytesIO(file_of(loaded, store, "packets.parquet", query)))
    assert found["frame_number"].to_pylist() == [each for _, each in packets_of(loaded, own)]


@pytest.mark.parametrize("label", LABELS)
def test_a_hostile_text_is_shown_filtered_by_and_downloaded(
    loaded: Loaded, store: Store, label: str
):
    key = f"{ODD}/{label}/a.pcap"
    everything = table_of(store, urlencode({"e": ODD, "dimension": "label"}))
    assert [row["packets"] for row in everything["rows"] if row["value"] == label] == [PACKETS]
    assert len(everything["rows"]) == len(LABELS)
    for filters in ({"label": f"is:{label}"}, {"capture": f"is:{key}"}):
        query = urlencode({"e": ODD, **filters})
        seen = view_of(store, query)
        assert seen["totals"]["packets"] == PACKETS
        (table,) = [table for table in seen["tables"] if table["dimension"] == "label"]
        assert [(row["kind"], row["value"]) for row in table["rows"]] == [("value", label)]
        parquet = pyarrow.parquet.read_table(
            io.BytesIO(file_of(loaded, store, "flows.parquet", query))
        )
        assert set(parquet["label"].to_pylist()) == {label}
        path = loaded.lab.data / "hostile.pcapng"
        path.write_bytes(file_of(loaded, store, "packets.pcapng", query))
        assert {frame.comments[0] for frame in parse_pcapng(path).frames} == {
            f"{key}, frame {number + 1}" for number in range(PACKETS)
        }
    rest = view_of(store, urlencode({"e": ODD, "label": f"not:{label}"}))
    assert rest["totals"]["packets"] == PACKETS * (len(LABELS) - 1)


def test_no_cell_of_a_csv_is_a_formula(loaded: Loaded, store: Store):
    content = file_of(loaded, store, "flows.csv", urlencode({"e": FIRST}))
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    table = pyarrow.csv.read_csv(io.BytesIO(content), parse_options=options)
    names = [name for name in table["tls_sni"].to_pylist() if name]

    assert {name for name in names if name[0] in "=+-@\t\r\n"} == set()
    assert {name.removeprefix("'") for name in names} >= {
        name for name in HOSTILE if name[0] in "=+-@"
    }


def test_a_capture_that_is_gone_or_changed_is_refused_by_name(loaded: Loaded, store: Store):
    path = loaded.lab.inbox / f"{SECOND}.pcap"
    content, query = path.read_bytes(), urlencode({"e": SECOND})
    view = see(store, parse(query).view)
    files = loaded.files(store)
    try:
        path.unlink()
        with pytest.raises(RefusedError, match=f"nothing is cut: .*{SECOND}.pcap"):
            file_of(loaded, store, "packets.pcapng", query)
        assert f"{SECOND}.pcap" in str(files.check(view)["problem"])
        path.write_bytes(content + b"more")
        with pytest.raises(RefusedError, match="has changed since it was loaded"):
            file_of(loaded, store, "packets.pcapng", query)
        assert "has changed since it was loaded" in str(files.check(view)["problem"])
        path.write_bytes(bytes(reversed(content)))
        with pytest.raises(RefusedError, match="has changed since it was loaded"):
            file_of(loaded, store, "packets.pcapng", query)
    finally:
        path.write_bytes(content)
    assert files.check(view)["problem"] is None
    assert [path for path in (loaded.lab.data / "tmp").iterdir() if "download" in path.name] == []


@pytest.mark.parametrize("name", ["flows.csv", "packets.parquet", "packets.pcapng"])
def test_what_nobody_waits_for_ends_and_leaves_nothing(loaded: Loaded, store: Store, name: str):
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(GivenUp):
        loaded.files(store).write(name, see(store, parse(f"e={FIRST}").view), given_up)

    assert [path for path in (loaded.lab.data / "tmp").iterdir() if "download" in path.name] == []


def test_a_file_that_is_sent_has_no_name(loaded: Loaded, store: Store):
    """Whatever ends this process, nothing stays behind."""
    files, view = loaded.files(store), see(store, parse(f"e={FIRST}").view)
    with files.write("packets.pcapng", view, NO_WAY) as file:
        assert not Path(file.name).exists()
        assert file.read(4) == b"\x0a\x0d\x0d\x0a"


def window_of(store: Store, **asked: object) -> Row:
    return packets.window(store.session, packets.parse(urlencode(asked)))


def test_a_conversation_is_read_window_by_window(loaded: Loaded, store: Store):
    counts = Counter(
        (packet["capture"], packet["conversation"])
        for packet in loaded.reference.packets
        if packet["capture"].startswith(f"{FIRST}/")
    )
    ((key, number), count), *_ = counts.most_common(1)
    expected = [
        packet
        for packet in loaded.reference.packets
        if (packet["capture"], packet["conversation"]) == (key, number)
    ]
    expected.sort(key=lambda packet: packet["frame_number"])
    of = {"experiment": FIRST, "capture": key, "conversation": number, "limit": 3}

    def numbers(window: Row) -> list[int]:
        place = window["columns"].index("frame_number")
        return [row[place] for row in window["rows"]]

    first = window = window_of(store, **of)
    forwards = list[int]()
    while True:
        assert window.get("count") == (None if forwards else count)
        forwards += numbers(window)
        if not window["more"]:
            break
        window = window_of(store, **of, after=forwards[-1])
    assert forwards == [packet["frame_number"] for packet in expected]
    times = [row[first["columns"].index("ts")] for row in first["rows"]]
    assert times[0] == round(expected[0]["ts"].replace(tzinfo=UTC).timestamp() * 10**6)
    protocol = {"TCP": "tcp", "UDP": "udp"}[expected[0]["ip_proto"]]
    assert first["filter"] == f"{protocol}.stream eq {expected[0]['stream_index']}"
    known = {
        name
        for name in first["columns"]
        if any(packet.get(name) not in (None, "Unknown") for packet in expected[:3])
    }
    assert {"ip_src", "port_src", "frame_len", "protocol"} <= known


@pytest.mark.parametrize(
    "query",
    [
        "experiment=x&capture=y",
        "experiment=x&capture=y&conversation=z",
        "experiment=x&capture=y&conversation=-1",
        "experiment=x&capture=y&conversation=1&where=1",
        f"experiment=x&capture=y&conversation={2**31}",
    ],
)
def test_a_window_that_cannot_be_understood_is_refused(query: str):
    with pytest.raises(AskedWrongError):
        packets.parse(query)


def test_there_is_no_such_conversation(store: Store):
    with pytest.raises(UnknownError, match="has no conversation 1"):
        window_of(store, experiment=FIRST, capture="no such capture", conversation=1)
