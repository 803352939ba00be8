"""What the packets of a conversation say of it as a whole: its state, its handshake, TLS, HTTP.

The sums of `packets/sums.py` have it by second; `flows.py` adds them up by conversation.
"""

from mt_pipeline.packets import http_methods
from mt_pipeline.packets.sums import FIN, LATER, RST, SYN, SYN_ACK

CONNECTION = """
        bit_or(tcp_ab) AS tcp_ab, bit_or(tcp_ba) AS tcp_ba,
        min(syn_ts) AS syn_ts, min(syn_ack_ts) AS syn_ack_ts,
        sum(packets_ab) = 0 OR sum(packets_ba) = 0 AS is_one_way,
        arg_min(ja4, first_frame) FILTER (ja4 IS NOT NULL) AS ja4,
        arg_min(tls_version, first_frame) FILTER (tls_version IS NOT NULL) AS server_version,
        bit_or(methods) AS methods
""".strip()
"""Columns of the sums of a conversation that the others are made of."""

_SAID = "coalesce(tcp_ab, 0) | coalesce(tcp_ba, 0)"


def _has(flag: int) -> str:
    return f"({_SAID}) & {flag} > 0"


TCP_STATE = f"""
    CASE WHEN tcp_ab IS NULL AND tcp_ba IS NULL THEN NULL
        WHEN {_has(SYN)} AND NOT {_has(LATER)} AND is_one_way THEN 'unanswered'
        WHEN NOT {_has(SYN_ACK)} AND (tcp_ab & {SYN} > 0 AND tcp_ba & {RST} > 0
            OR tcp_ba & {SYN} > 0 AND tcp_ab & {RST} > 0) THEN 'refused'
        WHEN {_has(RST)} THEN 'reset'
        WHEN tcp_ab & tcp_ba & {FIN} > 0 THEN 'closed'
        WHEN {_has(SYN | SYN_ACK)} THEN 'established'
        ELSE 'midstream' END""".strip()
"""SQL of the state of a connection; NULL for all but TCP."""

HANDSHAKE_MS = "CASE WHEN syn_ack_ts >= syn_ts THEN epoch_us(syn_ack_ts - syn_ts) / 1000 END"
"""SQL of the milliseconds from SYN to SYN-ACK; NULL if the capture lacks one of them."""

TLS_VERSION = """
    CASE server_version WHEN 772 THEN 'TLSv1.3' WHEN 771 THEN 'TLSv1.2' WHEN 770 THEN 'TLSv1.1'
        WHEN 769 THEN 'TLSv1.0' WHEN 768 THEN 'SSLv3' END""".strip()
"""SQL of the name of the version of TLS; NULL for drafts and what nobody knows."""

HTTP_METHOD = http_methods.names("methods")
"""SQL of the methods of HTTP that were asked with; NULL if there are none."""
