"""A column of packets_<experiment>, and what computes it. The table of all is in `packets.py`.

The sources:

- `Origin.PACKET`: DuckDB SQL over `p`, a document with its fields as lists of text
  (`p.tcp_stream[1]`, absent = NULL) and the layer chosen for it (`packets/layers.py`).
- `Origin.CONVERSATION`: the conversation of the packet (`packets/numbering.py`).
- `Origin.STREAM`: DuckDB SQL over `p`, a typed packet, and `names`, the names of its stream
  (`packets/conversations.py`).
- `Origin.ANSWER`: the endpoint of the packet, `src`, `dst` or `sni`, and the field of its answer
  (`rows/packets.py`).
- `Origin.CAPTURE`: a value that is the same for all rows of a capture.
- `Origin.DEVICE`: the end of the packet, `src` or `dst`, to look up among the devices
  (`devices/lookup.py`).
"""

from dataclasses import dataclass
from enum import Enum, auto

UNKNOWN = "Unknown"
"""Value of a text column of MT_ProcessPKTs where nothing is known. Our own columns have NULL."""


class Origin(Enum):
    """What computes a column."""

    PACKET = auto()
    CONVERSATION = auto()
    STREAM = auto()
    ANSWER = auto()
    CAPTURE = auto()
    DEVICE = auto()


@dataclass(frozen=True)
class Column:
    """A column of packets_<experiment>.

    Attributes:
        name: its name in the table.
        type: its QuestDB type.
        meaning: a phrase for the documentation.
        origin: what computes it.
        source: how; see above.
    """

    name: str
    type: str
    meaning: str
    origin: Origin
    source: str


IN_PACKETS = (Origin.PACKET, Origin.CONVERSATION, Origin.STREAM)
"""Origins of what the packets of a capture say by themselves."""


def packet(name: str, kind: str, meaning: str, source: str) -> Column:
    """Make a column that a packet says by itself."""
    return Column(name, kind, meaning, Origin.PACKET, source)


def stream(name: str, kind: str, meaning: str, source: str) -> Column:
    """Make a column with the names of a stream."""
    return Column(name, kind, meaning, Origin.STREAM, source)


def answer(name: str, kind: str, meaning: str, source: str) -> Column:
    """Make a column of the answer for an endpoint."""
    return Column(name, kind, meaning, Origin.ANSWER, source)


def capture(name: str, meaning: str) -> Column:
    """Make a column that all rows of a capture have."""
    return Column(name, "SYMBOL", meaning, Origin.CAPTURE, name)


def device(end: str, whose: str) -> Column:
    """Make the column of the device at an end of a packet."""
    return Column(
        f"device_{end}",
        "SYMBOL",
        f"device that is the {whose}, of your inventory or by its own words; NULL where not known",
        Origin.DEVICE,
        end,
    )


def known(sql: str) -> str:
    """Replace NULL and empty text by UNKNOWN, as MT_ProcessPKTs does."""
    return f"coalesce(nullif({sql}, ''), '{UNKNOWN}')"


def hardware(ethernet: str, other: str) -> str:
    """Select a hardware address of the innermost link layer, Ethernet or another one."""
    return f"coalesce({other}[p.link_at], {ethernet}[p.eth_at])"


def own_number(text: str) -> str:
    """Select a number that this packet has, and no packet that it quotes."""
    return f"CASE WHEN NOT p.quotes THEN whole_number({text}) END"


def finding(name: str) -> str:
    """Select 1 if tshark found something out about a segment of TCP."""
    return f"CASE WHEN p.tcp_at IS NOT NULL AND p.{name} IS NOT NULL THEN 1 END"
