"""What QuestDB holds of every capture, in two questions however many captures there are."""

from dataclasses import dataclass

from mt_pipeline.questdb.database import Database
from mt_pipeline.questdb.schema import ensure_table
from mt_pipeline.questdb.tables import FLOWS, PACKETS

_ROWS = "SELECT capture, count(), sum(frame_len::LONG) FROM captured_packets WHERE NOT gone GROUP BY capture"
_FLOWS = "SELECT capture, sum(packets_out + packets_in), sum(bytes_out + bytes_in) FROM flows WHERE NOT gone GROUP BY capture"


@dataclass(frozen=True)
class Held:
    """What QuestDB holds of a capture.

    Attributes:
        rows: rows of packets.
        bytes: their length on the wire.
        flow_packets: packets in its flows.
        flow_bytes: bytes in these.
    """

    rows: int = 0
    bytes: int = 0
    flow_packets: int = 0
    flow_bytes: int = 0


def held(database: Database) -> dict[str, Held]:
    """Count by capture key what can be read; a capture of which there is nothing is not in it.

    Raises:
        Unreachable: QuestDB does not answer.
        NameTaken: a table of the user's own has the name.
    """
    with database.connect() as connection:
        for table in (PACKETS, FLOWS):
            ensure_table(connection, table)
        rows = {key: numbers for key, *numbers in connection.execute(_ROWS).fetchall()}
        flows = {key: numbers for key, *numbers in connection.execute(_FLOWS).fetchall()}
    return {key: Held(*(number or 0 for number in (*rows.get(key, (0, 0)), *flows.get(key, (0, 0))))) for key in rows | flows}
