"""The files that the rows of a capture are made of, and what can be told from them at once."""

from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.packets import typed
from mt_pipeline.packets.said import SaidFiles


@dataclass(frozen=True)
class Sources:
    """Files that the rows of a capture are made of, all of them Parquet.

    Attributes:
        packets: typed packets.
        sums: their sums by second and conversation.
        said: what the packets say of names and devices.
        names: the names of each stream.
        answers: a row for every public endpoint of these packets.
        inspections: what nDPI found in each conversation; None if it was not asked.
    """

    packets: Path
    sums: Path
    said: SaidFiles
    names: Path
    answers: Path
    inspections: Path | None = None


def months(sources: Sources) -> frozenset[str]:
    """Return the months of all packets that can be stored, such as `2023-11`."""
    query = """SELECT strftime(month, '%Y-%m') FROM (
        SELECT DISTINCT date_trunc('month', ts) AS month FROM read_parquet(?)
        WHERE skipped IS NULL)"""
    with typed.connection(sources.packets) as connection:
        result = connection.execute(query, [str(sources.packets)]).fetchall()
    return frozenset(month for (month,) in result)


def skipped(sources: Sources) -> dict[str, int]:
    """Count the packets that cannot be stored, by reason."""
    query = "SELECT skipped, count(*) FROM read_parquet(?) WHERE skipped IS NOT NULL GROUP BY 1"
    with typed.connection(sources.packets) as connection:
        return dict(connection.execute(query, [str(sources.packets)]).fetchall())
