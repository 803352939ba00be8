"""The methods of HTTP: as a bit of a packet, and as the text of a conversation.

Whoever sends a packet may write anything as a method. Only those of METHODS count, so what a
conversation says of them is short.
"""

METHODS = """
ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE
MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI
PROPFIND PROPPATCH PUT REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE
UPDATEREDIRECTREF VERSION-CONTROL M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE
""".split()
"""Those of IANA's registry in its order, then those of UPnP. The place of one is its bit."""

_LIST = f"[{', '.join(repr(method) for method in METHODS)}]"


def bit(method: str) -> str:
    """Build the SQL of the bit of a method, NULL for what is none.

    Args:
        method: SQL of a text.
    """
    return f"1::BIGINT << (list_position({_LIST}, {method}) - 1)"


def names(bits: str) -> str:
    """Build the SQL of the names of methods in the order of METHODS, as `GET,POST`.

    Args:
        bits: SQL of their bits, added up; NULL stays NULL.
    """
    chosen = f"[m FOR m, i IN {_LIST} IF ({bits}) & (1::BIGINT << (i - 1)) > 0]"
    return f"CASE WHEN {bits} IS NOT NULL THEN array_to_string({chosen}, ',') END"
