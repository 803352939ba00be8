"""The tables in QuestDB. `backends/questdb/ddl.py` creates and updates them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mt_pipeline.schema.captures import CAPTURE_COLUMNS
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS

HIDDEN = {"load": "LONG", "gone": "BOOLEAN"}
"""Columns that no view shows.

`load` is the load that made the row. `gone` is true if the last load of the capture no longer has
the row.
"""


@dataclass(frozen=True)
class Table:
    """A table in QuestDB.

    Attributes:
        name: name of the table.
        columns: QuestDB types of the columns for readers, by name.
        keys: columns that identify a row; the first is the designated timestamp.
        views: prefix of the names of its views, one for each experiment; empty if it has none.
        hidden: QuestDB types of the columns that no view shows, by name.
        indexed: columns with an index.
        partition_by: unit of time of a partition.
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
        """QuestDB types of all columns, by name."""
        return {**self.columns, **self.hidden}

    @property
    def symbols(self) -> list[str]:
        """Names of the columns of type SYMBOL."""
        return [name for name, kind in self.columns.items() if kind == "SYMBOL"]

    @property
    def beside(self) -> str:
        """Name of the table with its rows while partitions are rewritten.

        No view has this name: names of views begin with `packets_` or `flows_`.
        """
        return f"beside_{self.name}"

    def view(self, experiment: str) -> str:
        """Return the name of an experiment's view."""
        return f"{self.views}_{experiment}"


PACKETS = Table(
    "captured_packets",
    {column.name: column.type for column in COLUMNS},
    keys=("ts", "capture", "frame_number"),
    views="packets",
    hidden=HIDDEN,
    indexed=("tls_sni",),  # as in MT_ProcessPKTs
)
"""Packets of all experiments.

A table this wide keeps 145 files open, so QuestDB suspends the 68th if each experiment has its own.
"""

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
"""Verdicts on captures: a copy of the ledger's that can be queried."""
