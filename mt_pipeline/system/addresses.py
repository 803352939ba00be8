"""Which texts are addresses of servers, as settings have them."""

import re
from urllib.parse import urlsplit


def is_address(text: str, *, path: bool = True) -> bool:
    """Return whether a text is an address that may go into messages, requests and links.

    That is without a password, and without a query: paths are appended to it, and it may have a
    key.

    Args:
        text: the address.
        path: whether it may have a path itself.
    """
    try:
        parts = urlsplit(text)
        named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # its port is no number, or its brackets do not match
        return False
    # What urlsplit removes, browsers and servers would see.
    plain = text.isprintable() and not re.search(r"[\s@?#\"<>\\]", text)
    return bool(named and plain and (path or not parts.path))
