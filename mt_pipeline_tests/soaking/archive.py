"""Writes an archive of small captures, and checks that QuestDB stores exactly their packets."""

from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline_tests.building.files import START_NS, timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session

_PACKETS_QUERY = """
SELECT capture, count(), count_distinct(frame_number), sum(frame_len::LONG) FROM captured_packets
WHERE NOT gone AND experiment IN ({}) GROUP BY capture
"""
_FLOWS_QUERY = """
SELECT capture, sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows
WHERE NOT gone AND experiment IN ({}) GROUP BY capture
"""


@dataclass(frozen=True)
class Written:
    """The packets of a capture, and their bytes."""

    packets: int
    bytes: int


def write(inbox: Path, experiment: str, count: int, *, more: int = 0) -> dict[str, Written]:
    """Write captures of different lengths, a minute apart, and move each into the inbox at once.

    Args:
        inbox: where to.
        experiment: the folder.
        count: how many.
        more: how many more DNS queries with their responses each capture has.

    Returns:
        The contents of each capture by its key.
    """
    written = {}
    inbox.parent.mkdir(parents=True, exist_ok=True)
    temporary = inbox.parent / "built.pcap"
    for number in range(count):
        frames = [
            *tls_session(f"host-{number}.example.com"),
            *dns(f"host-{number}.example.com") * (number % 7 + more),
        ]
        write_pcap(temporary, timed(frames, start_ns=START_NS + number * 60_000_000_000))
        path = inbox / experiment / f"{number:05}.pcap"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(path)
        written[f"{experiment}/{path.name}"] = Written(len(frames), sum(map(len, frames)))
    return written


def differences(database: Database, expected: dict[str, Written]) -> list[str]:
    """Describe each capture that QuestDB does not store exactly once, in rows and in flows."""
    experiments = ", ".join(sorted({f"'{key.partition('/')[0]}'" for key in expected}))
    with database.connect() as connection:
        rows, flows = (
            {
                key: numbers
                for key, *numbers in connection.execute(query.format(experiments)).fetchall()
            }
            for query in (_PACKETS_QUERY, _FLOWS_QUERY)
        )
    expected_rows = {
        key: [each.packets, each.packets, each.bytes] for key, each in expected.items()
    }
    expected_flows = {key: [each.packets, each.bytes] for key, each in expected.items()}
    wrong = [
        f"{key}: {rows.get(key)} rows, distinct, bytes, not {expected_rows.get(key)}"
        for key in sorted(rows | expected_rows)
        if rows.get(key) != expected_rows.get(key)
    ]
    return wrong + [
        f"{key}: flows {flows.get(key)}, not {expected_flows.get(key)}"
        for key in sorted(flows | expected_flows)
        if flows.get(key) != expected_flows.get(key)
    ]
