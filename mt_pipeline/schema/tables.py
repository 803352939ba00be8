"""The tables of ours, as far as QuestDB must know them. How they are made and kept up to date is `schema.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mt_pipeline.schema.captures import CAPTURE_COLUMNS
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS

HIDDEN = {"load": "LONG", "gone": "BOOLEAN"}
"""Columns that no view shows: the load that made the row, and whether the capture's last load no longer has it."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: of the table itself.
        columns: QuestDB's types of the columns for readers, by name.
        keys: rows that agree in these replace each other; the first is the designated time.
        views: what the names of its views begin with, one for each experiment; empty if it has none.
        hidden: types of the columns that no view shows.
        indexed: columns with an index.
        partition_by: the unit of time that it is cut into.
    """

    name: str
    columns: Mapping[str, str]
    keys: tuple[str, ...]
    views: str = ""
    hidden: Mapping[str, str] = field(default_factory=dict)
    indexed: tuple[str, ...] = ()
    partition_by: str = "MONTH"

    @property
    def types(self) -> dict[str, str]:
        """Types of all columns."""
        return {**self.columns, **self.hidden}

    @property
    def symbols(self) -> list[str]:
        """Names of the columns of type SYMBOL."""
        return [name for name, kind in self.columns.items() if kind == "SYMBOL"]

    @property
    def beside(self) -> str:
        """Name the table that has rows of it while partitions are rewritten; never the name of a view, which begins otherwise."""
        return f"beside_{self.name}"

    def view(self, experiment: str) -> str:
        """Name the view of an experiment."""
        return f"{self.views}_{experiment}"


PACKETS = Table(
    "captured_packets",
    {column.name: column.type for column in COLUMNS},
    keys=("ts", "capture", "frame_number"),
    views="packets",
    hidden=HIDDEN,
    indexed=("tls_sni",),  # as the original has it
)
"""ONE table for all experiments: a wide table holds 145 files open, so a table per experiment ends at the 68th."""

FLOWS = Table(
    "flows",
    {column.name: column.type for column in FLOW_COLUMNS},
    keys=("ts", "capture", "conversation"),
    views="flows",
    hidden=HIDDEN,
)
"""Packets and bytes of each conversation in each second."""

CAPTURES = Table(
    "captures",
    {column.name: column.type for column in CAPTURE_COLUMNS},
    keys=("ts", "capture"),
    partition_by="YEAR",
)
"""What became of captures: a copy of the ledger's verdicts that can be queried. It has few rows, in the order of time."""
