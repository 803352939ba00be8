"""SQL of the sums of typed packets, with a row per second and conversation.

`tables.py` runs it block by block. The column `file` tells captures apart.
"""

from collections.abc import Iterable

PARTS_OF_AN_END = ("address", "port", "hardware")
"""What identifies an end, without `_src` and `_dst`.

`hardware` is the hardware address of packets without IP. All others may take other routers there
and back, so their hardware addresses are attributes: `eth`.
"""

ATTRIBUTES = ("eth",)
"""What describes an end, without `_src` and `_dst`: the first value that is not NULL."""

KEY = (
    *(f"{end}_{part}" for end in "ab" for part in PARTS_OF_AN_END),
    "ip_proto",
    "stream_index",
    "apart",
)
"""Columns that identify a conversation.

They are its ends, of which `a` is the smaller one, its IP protocol and its stream. `apart` is the
protocol of packets without a stream.
"""


def chosen(parts: Iterable[str], condition: str, if_true: str, if_false: str, name: str) -> str:
    """Build the SQL that chooses between two ends or directions, part by part.

    Args:
        parts: such as PARTS_OF_AN_END; each replaces `{}` in the patterns.
        condition: SQL of a truth value.
        if_true: pattern of the column to take if the condition is true.
        if_false: pattern of the column to take otherwise.
        name: pattern of the name of the result.
    """
    columns = []
    for part in parts:
        values = f"THEN {if_true.format(part)} ELSE {if_false.format(part)}"
        columns.append(f"CASE WHEN {condition} {values} END AS {name.format(part)}")
    return ", ".join(columns)


def latest(value: str, order: str = "frame_number") -> str:
    """Build the SQL of the value with the highest order that is not NULL."""
    return f"arg_max({value}, {order}) FILTER (WHERE {value} IS NOT NULL)"


def _earliest(value: str) -> str:
    return f"arg_min({value}, frame_number) FILTER (WHERE {value} IS NOT NULL)"


def _last_number(value: str) -> str:
    return f"max(frame_number) FILTER (WHERE {value} IS NOT NULL)"


def _is_greater(part: str, missing: str) -> str:
    source, destination = f"{part}_src", f"{part}_dst"
    return f"coalesce({source}, {missing}) > coalesce({destination}, {missing})"


def _hardware(end: str) -> str:
    has_no_ip = "address_src IS NULL AND address_dst IS NULL"
    return f"CASE WHEN {has_no_ip} THEN eth_{end} END AS hardware_{end}"


def _differs(part: str) -> str:
    return f"{part}_src IS DISTINCT FROM {part}_dst"


def _bytes(condition: str) -> str:
    return f"coalesce(sum(frame_len) FILTER ({condition}), 0)::BIGINT"


_COLUMNS = (*PARTS_OF_AN_END, *ATTRIBUTES)
_END_A = chosen(_COLUMNS, "turned", "{}_dst", "{}_src", "a_{}")
_END_B = chosen(_COLUMNS, "turned", "{}_src", "{}_dst", "b_{}")
_TIMES = "min(ts) AS first_ts, max(ts) AS last_ts"
_FIRST = "min(frame_number) AS first_frame, arg_min(turned, frame_number) AS turned"

FIN, SYN, RST, SYN_ACK, LATER = 1, 2, 4, 32, 64
"""What segments of TCP say of their connection, as bits of `tcp_ab` and `tcp_ba`.

LATER is a segment after the handshake that is no RST.
"""

_ACK = 16
_IS_SYN = f"tcp_flags & {SYN | _ACK} = {SYN}"
_IS_SYN_ACK = f"tcp_flags & {SYN | _ACK} = {SYN | _ACK}"
_SAID = (
    f"tcp_flags & {FIN | RST} | CASE WHEN {_IS_SYN} THEN {SYN} "
    f"WHEN {_IS_SYN_ACK} THEN {SYN_ACK} WHEN tcp_flags & {SYN | RST} = 0 THEN {LATER} ELSE 0 END"
)
_CONNECTION = f"""
        bit_or({_SAID}) FILTER (NOT turned) AS tcp_ab, bit_or({_SAID}) FILTER (turned) AS tcp_ba,
        min(ts) FILTER ({_IS_SYN}) AS syn_ts, min(ts) FILTER ({_IS_SYN_ACK}) AS syn_ack_ts,
        count(tcp_retransmission) AS retransmissions"""

# DuckDB's own hash would take a sixth off the time of all sums. But who sends packets could have
# two conversations share it.
_HASH = f"md5_number_lower(row(file, {', '.join(KEY)})::VARCHAR)"

# End a is the smaller one, so both directions share a key; a turned packet went from b to a.
# A stream may carry several names: the last one counts, so its packet number is kept. Without a
# stream, a name belongs to its packet alone, and the first of a second counts.
# The version of the files is a hash of this text: any change of it makes users recompute them.
SUMS = f"""
WITH parts AS (
    SELECT *, row_number() OVER () - 1 AS position, {_hardware("src")}, {_hardware("dst")}
    FROM block),
directed AS (
    SELECT *, CASE WHEN stream_index IS NULL THEN protocol END AS apart, CASE
        WHEN {_differs("address")} THEN {_is_greater("address", "''")}
        WHEN {_differs("port")} THEN {_is_greater("port", "-1")}
        ELSE {_is_greater("hardware", "''")} END AS turned
    FROM parts),
met AS (
    SELECT *, {_END_A}, {_END_B}
    FROM directed),
counted AS (
    SELECT file, epoch_us(ts) // 1000000 AS second, skipped, is_tcp, {", ".join(KEY)},
        count(*) FILTER (NOT turned) AS packets_ab, {_bytes("NOT turned")} AS bytes_ab,
        count(*) FILTER (turned) AS packets_ba, {_bytes("turned")} AS bytes_ba,
        {_TIMES}, {_FIRST}, {_earliest("a_eth")} AS a_eth, {_earliest("b_eth")} AS b_eth,
        {latest("said_sni")} AS sni, {_last_number("said_sni")} AS sni_number,
        {latest("said_alpn")} AS alpn, {_last_number("said_alpn")} AS alpn_number,
        {_earliest("said_sni")} AS first_sni, {_earliest("said_alpn")} AS first_alpn,
        {_earliest("dns_name")} AS dns_name, {_earliest("http_host")} AS http_host,
        {_earliest("said_ja4")} AS ja4, {_earliest("tls_version")} AS tls_version,
        bit_or(said_method) AS methods,
        {_CONNECTION.strip()},
        list(position) AS positions
    FROM met GROUP BY ALL)
SELECT *, {_HASH} AS key FROM counted
"""
"""SQL of the sums of a block of packets, with `numbering.FOR_NUMBERS`."""
