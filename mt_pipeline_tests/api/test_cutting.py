"""Packets are cut as they were captured, as many as the view says; else nothing is written."""

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mt_pipeline.api.cutting import NothingToCutError, RefusedError
from mt_pipeline.api.session import ExpiredError, Session
from mt_pipeline.api.where import col
from mt_pipeline_tests.api.parts import BOTH, HOSTILE, load_both, sessions
from mt_pipeline_tests.building.originals import Original, originals
from mt_pipeline_tests.frames.parts import parse, tshark_fields
from mt_pipeline_tests.pipelines import Lab, files_below

EXPERIMENT = "cut"


@pytest.fixture(scope="module")
def opened(lab: Lab) -> dict[str, Session]:
    load_both(lab, EXPERIMENT)
    return sessions(lab)


def rows_of(session: Session, where: object) -> list[tuple[str, int, int]]:
    rows = session.packets(
        EXPERIMENT, where=where, columns=["capture", "frame_number", "frame_len"]
    )
    return [tuple(row.values()) for row in rows.arrow().to_pylist()]


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(
    "where",
    [
        None,
        "protocol in (tls, quic) or dns_name contains 'example'",
        col("tls_sni").isin(HOSTILE[:7]),
        "not tls_sni = (none)",
    ],
)
def test_a_cut_has_the_packets_of_the_view(
    lab: Lab, opened: dict[str, Session], tmp_path: Path, backend: str, where: object
):
    session, output = opened[backend], tmp_path / "cut.pcapng"
    expected = rows_of(session, where)

    (written,) = session.cut(EXPERIMENT, output, where=where)

    read = parse(output)
    assert written.packets == len(expected) == len(read.frames) > 0
    assert [(frame.comments[0], frame.frame.wire_length) for frame in read.frames] == [
        (f"{key}, frame {number}", length) for key, number, length in expected
    ]
    for key in {key for key, *_ in expected}:
        numbers = {number for of, number, _ in expected if of == key}
        original = tshark_fields(
            lab.inbox / key, "frame.number", "frame.time_epoch", "frame.cap_len"
        )
        cut = [
            (str(frame.frame.time_ns), str(len(frame.frame.data)))
            for frame in read.frames
            if frame.comments[0].startswith(f"{key}, ")
        ]
        chosen = [
            (time.replace(".", ""), length)
            for number, time, length in original
            if int(number) in numbers
        ]
        assert sorted(cut) == sorted(chosen)


@pytest.fixture(scope="module")
def kinds(lab: Lab) -> Mapping[str, Original]:
    """Load captures of every kind into both; return their frames by the comments of a cut."""
    found = originals(lab.inbox / "kinds")
    keys = [f"kinds/{name}" for name in found]
    assert lab.run(*keys, workspace=lab.workspace(backends=BOTH)).success
    return {
        f"kinds/{name}, frame {number}": frame
        for name, frames in found.items()
        for number, frame in enumerate(frames, 1)
    }


def test_captures_of_every_kind_are_cut_by_their_rows(
    lab: Lab, kinds: Mapping[str, Original], tmp_path: Path
):
    """The rows know microseconds; what is cut has the nanoseconds of the captures."""
    (written,) = sessions(lab)["questdb"].cut("kinds", tmp_path / "all.pcapng")

    assert written.captures == len({comment.partition(", ")[0] for comment in kinds})
    read = parse(written.path).frames
    assert {frame.comments[0]: frame.frame for frame in read} == kinds
    assert [frame.frame.time_ns for frame in read] == sorted(
        frame.time_ns for frame in kinds.values()
    )


def test_random_conditions_cut_as_many_packets_as_the_view_says_each_as_it_was_captured(
    lab: Lab, kinds: Mapping[str, Original], tmp_path: Path
):
    """CUTS=1000 in the environment runs a thousand."""
    opened = sessions(lab)
    rows = opened["parquet"].packets("kinds").arrow().to_pylist()
    chance, output = random.Random(3), tmp_path / "cut.pcapng"  # noqa: S311
    for round_ in range(int(os.environ.get("CUTS", "6"))):
        row = chance.choice(rows)
        where = chance.choice(
            [
                col("protocol") == row["protocol"],
                col("frame_number").isin(chance.sample(range(1, 41), 5)),
                (col("frame_len") > row["frame_len"]) & (col("capture") != row["capture"]),
                col("tls_sni").contains(str(row["tls_sni"])[:5]) | (col("eth_src") == None),  # noqa: E711
                ~(col("ts") < row["ts"]) & col("ip_proto").isin([row["ip_proto"], None]),
            ]
        )
        session = opened[BOTH[round_ % 2]]
        view = session.packets("kinds", where=where, columns=["capture", "frame_number"])
        expected = [
            f"{found['capture']}, frame {found['frame_number']}"
            for found in view.arrow().to_pylist()
        ]
        if not expected:
            with pytest.raises(NothingToCutError):
                session.cut("kinds", output, where=where, replace=True)
            continue

        (written,) = session.cut("kinds", output, where=where, replace=True)

        read = parse(output).frames
        assert written.packets == len(read) == len(expected), str(where)
        assert {frame.comments[0] for frame in read} == set(expected), str(where)
        assert all(kinds[frame.comments[0]] == frame.frame for frame in read), str(where)


def test_a_file_for_each_capture(opened: dict[str, Session], tmp_path: Path):
    session = opened["questdb"]
    expected = rows_of(session, "protocol = tls")

    files = session.cut(EXPERIMENT, tmp_path / "each", where="protocol = tls", each=True)

    assert len(files) == len({key for key, *_ in expected}) > 1
    comments = [frame.comments[0] for file in files for frame in parse(file.path).frames]
    assert sorted(comments) == sorted(f"{key}, frame {number}" for key, number, _ in expected)
    assert files_below(tmp_path) == sorted(str(file.path.relative_to(tmp_path)) for file in files)


def gone(path: Path) -> str:
    path.unlink()
    return "is not in the inbox any more"


def other_bytes(path: Path) -> str:
    """Of the same size and with the same time of change."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return "has changed since it was loaded"


def grown(path: Path) -> str:
    path.write_bytes(path.read_bytes() + bytes(16))
    return "has changed since it was loaded"


@pytest.mark.parametrize("spoil", [gone, other_bytes, grown])
def test_a_capture_that_is_not_as_it_was_is_refused_by_name_before_anything_is_written(
    lab: Lab, tmp_path: Path, spoil: Callable[[Path], str]
):
    name = spoil.__name__
    keys = [f"{name}/a.pcap", f"{name}/b.pcap"]
    for key in keys:
        lab.put(key)
    assert lab.run(*keys, workspace=lab.workspace(backends=BOTH)).success
    reason = spoil(lab.inbox / keys[1])

    for each in (False, True):
        with pytest.raises(RefusedError, match=f"nothing is cut: {keys[1]} {reason}"):
            sessions(lab)["questdb"].cut(name, tmp_path / "out.pcapng", each=each)

    assert files_below(tmp_path) == []


def test_a_capture_that_was_copied_back_is_cut_though_its_time_differs(lab: Lab, tmp_path: Path):
    lab.put("touched/a.pcap")
    assert lab.run("touched/a.pcap").success
    os.utime(lab.inbox / "touched/a.pcap", ns=(1, 1))

    (written,) = sessions(lab)["questdb"].cut("touched", tmp_path / "a.pcapng")

    assert written.packets == 2


def test_expired_packets_are_said_to_have_expired(lab: Lab, tmp_path: Path):
    lab.put("expired/a.pcap")
    assert lab.run("expired/a.pcap").success
    lab.workspace().ledger.expire_packets("expired/a.pcap")

    with pytest.raises(ExpiredError, match="the packets of expired have expired"):
        sessions(lab)["questdb"].cut("expired", tmp_path / "a.pcapng")


def test_nothing_chosen_and_a_file_that_exists(opened: dict[str, Session], tmp_path: Path):
    session, output = opened["parquet"], tmp_path / "a.pcapng"
    with pytest.raises(NothingToCutError):
        session.cut(EXPERIMENT, output, where="protocol = nothing")
    assert not output.exists()

    output.write_text("mine")
    with pytest.raises(FileExistsError):
        session.cut(EXPERIMENT, output)
    assert output.read_text() == "mine"
    session.cut(EXPERIMENT, output, replace=True)
    assert parse(output).frames
