"""An archive of small captures whose every packet is known, and the question whether QuestDB holds exactly these."""

from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline_tests.building.files import START_NS, timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session

_HELD = """
SELECT capture, count(), count_distinct(frame_number), sum(frame_len::LONG) FROM captured_packets
WHERE NOT gone AND experiment IN ({}) GROUP BY capture
"""
_FLOWS = "SELECT capture, sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows WHERE NOT gone AND experiment IN ({}) GROUP BY capture"


@dataclass(frozen=True)
class Written:
    """What a capture has: packets, and their bytes."""

    packets: int
    bytes: int


def write(inbox: Path, experiment: str, count: int, *, more: int = 0) -> dict[str, Written]:
    """Write captures of different lengths, a minute apart, into a folder of the inbox, each moved in whole.

    Args:
        inbox: where to.
        experiment: the folder.
        count: how many.
        more: makes them longer, by a question and its answer each.

    Returns:
        What the capture of each key has.
    """
    written = {}
    inbox.parent.mkdir(parents=True, exist_ok=True)
    beside = inbox.parent / "built.pcap"
    for number in range(count):
        frames = [
            *tls_session(f"host-{number}.example.com"),
            *dns(f"host-{number}.example.com") * (number % 7 + more),
        ]
        write_pcap(beside, timed(frames, start_ns=START_NS + number * 60_000_000_000))
        path = inbox / experiment / f"{number:05}.pcap"
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.rename(path)
        written[f"{experiment}/{path.name}"] = Written(len(frames), sum(map(len, frames)))
    return written


def differences(database: Database, expected: dict[str, Written]) -> list[str]:
    """Name each capture of which QuestDB does not hold every packet just once, and the same in its flows."""
    experiments = ", ".join(sorted({f"'{key.partition('/')[0]}'" for key in expected}))
    with database.connect() as connection:
        held = {
            key: numbers
            for key, *numbers in connection.execute(_HELD.format(experiments)).fetchall()
        }
        flows = {
            key: numbers
            for key, *numbers in connection.execute(_FLOWS.format(experiments)).fetchall()
        }
    wanted = {key: [one.packets, one.packets, one.bytes] for key, one in expected.items()}
    counted = {key: [one.packets, one.bytes] for key, one in expected.items()}
    wrong = [
        f"{key}: {held.get(key)} rows, distinct, bytes, not {wanted.get(key)}"
        for key in sorted(held | wanted)
        if held.get(key) != wanted.get(key)
    ]
    return wrong + [
        f"{key}: flows {flows.get(key)}, not {counted.get(key)}"
        for key in sorted(flows | counted)
        if flows.get(key) != counted.get(key)
    ]
