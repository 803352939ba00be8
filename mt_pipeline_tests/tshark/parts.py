"""Shared by tests of tshark and packets: tshark, documents as objects, an endless capture."""

import functools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow as pa

from mt_pipeline.tshark import documents
from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.packet_count import Counted, counting
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.files import timed, write_pcap

NO_FORKS = 'case "$*" in *forkserver.lua*) exit 1 ;; esac'
"""First line of a script that is taken for tshark: a fork of the real one would go its own way."""

Document = dict[str, dict[str, list[str]]]


@functools.cache
def tshark() -> Tshark:
    """Find tshark once for all tests."""
    return Tshark.find()


def documents_of(capture: Path) -> Path:
    """Write the documents of a capture next to it."""
    output = capture.with_name(capture.name + documents.SUFFIX)
    documents.write(tshark(), capture, output)
    return output


def read_all(path: Path) -> list[Document]:
    """Read documents without code of ours: zstd, a JSON object a line, every line complete."""
    text = pa.input_stream(path, compression="zstd").read().decode()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def write_by_hand(path: Path, packets: Iterable[dict[str, str | list[str]]]) -> Path:
    """Write documents without tshark, one for each packet.

    A packet has its fields by key; fields of every frame are added, empty values are removed.
    """
    lines = []
    for number, packet in enumerate(packets, start=1):
        fields = {
            "frame_number": str(number),
            "frame_time_epoch": "1700000000.000000000",
            "frame_len": "100",
            "frame_protocols": "eth",
            **packet,
        }
        layers = {
            key: [value] if isinstance(value, str) else value
            for key, value in fields.items()
            if value
        }
        lines.append(json.dumps({"timestamp": "1700000000000", "layers": layers}) + "\n")
    with pa.output_stream(path, compression="zstd") as stream:
        stream.write("".join(lines).encode())
    return path


def readers(pid: int | None = None) -> list[psutil.Process]:
    """Return each tshark that reads a capture for this process, or another, but none that forks."""
    children = psutil.Process(pid).children(recursive=True)
    tsharks = [child for child in children if child.name() == "tshark"]
    parents = {child.ppid() for child in tsharks}
    return [child for child in tsharks if child.pid not in parents]


def counted(capture: Path) -> Counted:
    """Count the packets of a capture."""
    with counting(capture) as numbers:
        return numbers()


@contextmanager
def endless_capture(path: Path) -> Iterator[Path]:
    """Yield a capture whose beginning tshark reads, and then waits for more until this ends."""
    frames = [
        frame
        for port in range(30)
        for frame in traffic.tls_session(client_port=20_000 + port, data_packets=1)
    ]
    beginning = write_pcap(path.with_suffix(".beginning"), timed(frames)).read_bytes()
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR)  # neither waits for a reader, nor does the reader see an end
    try:
        os.write(pipe, beginning[:60_000])  # what a pipe takes without a reader
        yield path
    finally:
        os.close(pipe)


def output_of(
    capture: Path, display_filter: str = "", *, program: Tshark | None = None
) -> list[bytes]:
    """Return the lines that tshark prints for a capture."""
    with (program or tshark()).lines(capture, display_filter) as stream:
        return stream.output.readlines()
