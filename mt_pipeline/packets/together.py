"""Small captures that are typed together, as each statement costs as much as thousands of packets.

Each has files of its own, with what they would have if it were by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from mt_pipeline.packets import endpoints, typed
from mt_pipeline.packets.conversations import Conversations
from mt_pipeline.packets.said import SaidFiles
from mt_pipeline.packets.tables import NAMES, Tables, by_file, in_file
from mt_pipeline.system.atomic import whole


class Waiting:
    """Keeps the documents of a capture while they are few, and types them otherwise.

    Args:
        begin: returns what types them.
        few: how many are kept at most.
    """

    keys = Conversations.keys

    def __init__(self, begin: Callable[[], Conversations], *, few: int) -> None:
        self._begin, self._few = begin, few
        self._blocks: list[pa.Table] = []
        self._conversations: Conversations | None = None

    def add(self, block: pa.Table) -> None:
        """Add a block of documents, with `keys` as columns of lists of text."""
        self._blocks.append(block)
        if self._conversations is None:
            if sum(kept.num_rows for kept in self._blocks) <= self._few:
                return
            self._conversations = self._begin()
        for kept in self._blocks:
            self._conversations.add(kept)
        self._blocks.clear()

    def documents(self) -> pa.Table | None:
        """Return all documents, in order; None if there are none, or too many to be kept."""
        return pa.concat_tables(self._blocks) if self._blocks else None


@dataclass(frozen=True)
class Small:
    """A small capture.

    Attributes:
        documents: of `Waiting`.
        packets: where the typed packets go.
        sums: where their sums go.
        said: where the statements of packets go.
        names: where the names of the streams go.
        endpoints: where the endpoints go.
    """

    documents: pa.Table
    packets: Path
    sums: Path
    said: SaidFiles
    names: Path
    endpoints: Path


def write(captures: Sequence[Small]) -> None:
    """Write the files of captures as `Conversations` and `endpoints.write` do.

    Args:
        captures: the captures. Of each, the endpoints are written last, and the packets before.
    """
    documents = [in_file(capture.documents, file) for file, capture in enumerate(captures)]
    with typed.connection(captures[0].endpoints) as connection:
        tables = Tables(connection)
        packets, sums = tables.fill(pa.concat_tables(documents).combine_chunks())
        said = (tables.lookups, tables.certificates, tables.announcements)
        ordered = [
            *(collected.by_file() for collected in said),
            sums.sort_by("file"),
            connection.sql(NAMES).order("file").to_arrow_table(),
            packets,
        ]
        parts = zip(*(by_file(table, len(captures)) for table in ordered), strict=True)
        found = endpoints.found(tables, len(captures))
    for capture, tables_of_one, ends in zip(captures, parts, found, strict=True):
        outputs = (*astuple(capture.said), capture.sums, capture.names, capture.packets)
        for table, output in zip(tables_of_one, outputs, strict=True):
            with whole(output) as partial:
                pyarrow.parquet.write_table(table, partial, compression="zstd")
        ends.write(capture.endpoints)
