"""The packets of one conversation, a window of them at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import pyarrow as pa

from mt_pipeline.api.session import Session
from mt_pipeline.api.where import col
from mt_pipeline.explorer.errors import AskedWrongError, UnknownError
from mt_pipeline.schema.packets import UNKNOWN
from mt_pipeline.schema.tables import PACKETS

_NAMES = ("experiment", "capture", "conversation", "after", "limit")
_MOST = 1_000
_LARGEST = 2**31 - 1
_NUMBER = "frame_number"
_ALWAYS = (_NUMBER, "ts", "frame_len")


@dataclass(frozen=True)
class Window:
    """Some packets of a conversation.

    Attributes:
        experiment: its name.
        capture: the capture key.
        conversation: number within the capture.
        after: they follow the frame of this number; None for the first ones.
        limit: how many at most.
    """

    experiment: str
    capture: str
    conversation: int
    after: int | None
    limit: int


def parse(query: str) -> Window:
    """Return what a query string asks.

    Raises:
        AskedWrongError: it cannot be understood.
    """
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := given.keys() - set(_NAMES):
        raise AskedWrongError(f"the address has {min(unknown)!r}, which nothing here is called")
    if missing := [name for name in _NAMES[:3] if name not in given]:
        raise AskedWrongError(f"the address needs {missing[0]}=")
    numbers = {name: _number(name, given[name]) for name in _NAMES[2:] if name in given}
    return Window(
        given["experiment"],
        given["capture"],
        numbers["conversation"],
        numbers.get("after"),
        min(max(numbers.get("limit", 200), 1), _MOST),
    )


def window(session: Session, asked: Window) -> Mapping[str, object]:
    """Return the packets by frame number, with the columns in which something is known.

    The first window also says how many packets the conversation has.

    Raises:
        UnknownError: there is no such conversation.
        ExpiredError: the packets were deleted.
    """
    of = (col("capture") == asked.capture) & (col("conversation") == asked.conversation)
    later = of & (col(_NUMBER) > (asked.after or 0))
    question = session.question(PACKETS, asked.experiment, where=later)
    source = session.source(question.experiment)
    table = pa.Table.from_batches(source.first(question, _NUMBER, asked.limit + 1), question.schema)
    found = table.slice(0, asked.limit)
    answer = {
        **_columns(found),
        "more": table.num_rows > asked.limit,
        "filter": _display_filter(found),
    }
    if asked.after is not None:
        return answer
    # To count five million costs as much as to read a window: it is done once.
    whole = session.question(PACKETS, asked.experiment, where=of)
    count = source.counts(whole).get(asked.capture, 0)
    if not count:
        raise UnknownError(
            f"{asked.capture} has no conversation {asked.conversation}: open the list anew"
        )
    return {**answer, "count": count}


def _columns(table: pa.Table) -> Mapping[str, object]:
    """Return the columns in which something is known, and their rows."""
    times = [name for name in table.schema.names if pa.types.is_timestamp(table[name].type)]
    columns: dict[str, Sequence[object]] = {
        name: (table[name].cast(pa.int64()) if name in times else table[name]).to_pylist()
        for name in table.schema.names
    }
    names = [
        name
        for name, values in columns.items()
        if name in _ALWAYS or any(value not in (None, UNKNOWN) for value in values)
    ]
    rows = zip(*(columns[name] for name in names), strict=True)
    return {"columns": names, "rows": [list(row) for row in rows]}


def _display_filter(table: pa.Table) -> str:
    """Return what shows these packets in Wireshark, in their capture."""
    if not table.num_rows:
        return ""
    first = table.slice(0, 1).to_pylist()[0]
    protocol = {"TCP": "tcp", "UDP": "udp"}.get(first["ip_proto"])
    if protocol and first["stream_index"] is not None:
        return f"{protocol}.stream eq {first['stream_index']}"
    for kind, names in _ENDS.items():
        ends = [first[name] for name in names]
        if all(end is not None for end in ends):
            both = " and ".join(f"{kind}.addr eq {end}" for end in ends)
            return f"{both} and {first['protocol']}" if _is_plain(first["protocol"]) else both
    return f"frame.number eq {first[_NUMBER]}"


_ENDS = {
    "ip": ("ip_src", "ip_dst"),
    "ipv6": ("ipv6_src", "ipv6_dst"),
    "eth": ("eth_src", "eth_dst"),
}


def _is_plain(protocol: object) -> bool:
    return isinstance(protocol, str) and protocol.isalnum() and protocol.isascii()


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or int(value) > _LARGEST:
        raise AskedWrongError(f"{name}={value!r} must be a whole number of at most {_LARGEST:,}")
    return int(value)
