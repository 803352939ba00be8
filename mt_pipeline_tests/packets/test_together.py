"""Small captures that are typed together have the files that each has by itself."""

from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_pipeline.packets import endpoints, together
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.tshark import documents
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.packets.parts import said_in
from mt_pipeline_tests.tshark.parts import tshark


def captures(folder: Path) -> list[Path]:
    """Write captures whose streams, names and devices another one has, too."""
    frames = {
        "first": [*traffic.dns(), *traffic.tls_session("one.example.com")],
        "second": [*traffic.dns(), *traffic.tls_session("two.example.com")],
        "third": [*traffic.tls_session(None, alpn=()), *traffic.quic_session("one.example.com")],
    }
    written = [write_pcap(folder / name, timed(frames[name])) for name in frames]
    return [written[0], everything(folder / "everything"), *written[1:]]


def waiting(capture: Path, folder: Path) -> together.Small:
    kept = together.Waiting(no_conversations, few=100_000)
    documents.write(tshark(), capture, folder / "documents", listener=kept)
    return small(kept.documents(), folder)


def small(kept: pa.Table | None, folder: Path) -> together.Small:
    assert kept is not None
    folder.mkdir(exist_ok=True)
    return together.Small(
        documents=kept,
        packets=folder / "packets",
        sums=folder / "sums",
        said=said_in(folder),
        names=folder / "names",
        endpoints=folder / "endpoints",
    )


def no_conversations() -> None:
    pytest.fail("so few packets are kept")


def alone(of: together.Small, folder: Path) -> together.Small:
    by_itself = small(of.documents, folder)
    with conversations(by_itself.endpoints) as found:
        found.add(of.documents)
        found.write_packets(by_itself.packets, by_itself.sums, by_itself.said)
        found.write_names(by_itself.names)
        endpoints.write(found, by_itself.endpoints)
    return by_itself


def content(written: together.Small) -> dict[str, object]:
    """Return what the files have; of sums and names, the order does not count."""
    ordered = [written.packets, *astuple(written.said), written.endpoints]
    return {
        **{path.name: pq.read_table(path).to_pydict() for path in ordered},
        **{path.name: rows(pq.read_table(path)) for path in (written.sums, written.names)},
        "summary": endpoints.summary(written.endpoints),
        "columns": [pq.read_schema(path).names for path in (*ordered, written.sums)],
    }


def rows(table: pa.Table) -> Iterable[str]:
    return sorted(map(repr, table.to_pylist()))


def test_each_capture_has_what_it_has_by_itself(tmp_path: Path):
    made = [waiting(capture, tmp_path / f"{capture.name} shared") for capture in captures(tmp_path)]

    together.write(made)

    for capture in made:
        by_itself = alone(capture, capture.packets.parent.with_suffix(".alone"))
        assert content(capture) == content(by_itself)
    assert len({str(content(capture)) for capture in made}) == len(made)


def test_more_packets_than_few_are_typed_as_they_come(tmp_path: Path):
    capture = write_pcap(tmp_path / "x.pcap", timed([*traffic.tls_session("a.example.com")]))
    kept = together.Waiting(no_conversations, few=100_000)
    count = documents.write(tshark(), capture, tmp_path / "documents", listener=kept)
    block = kept.documents()
    assert block is not None
    for few, typed in ((count, 0), (count - 1, count), (1, count)):
        with conversations(tmp_path / f"{few}") as found:
            typing = together.Waiting(lambda found=found: found, few=few)
            for start in range(0, count, 3):
                typing.add(block.slice(start, 3))
            waits = typing.documents()
            assert (waits and waits.num_rows) == (None if typed else count)
            counted = found.connection.sql("SELECT sum(packets)::INT FROM conversations").fetchall()
            assert counted == [(typed or None,)]
