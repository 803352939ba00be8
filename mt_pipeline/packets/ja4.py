"""JA4: a short text that says which TLS client wrote a hello.

Only JA4 itself, which is BSD-licensed:
https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md. The licence of the other
fingerprints of that family, JA4+, forbids much. tshark 4.2 has JA4 as a field; this is made of
fields that older releases have, too.
"""

import hashlib
import re
from collections.abc import Iterable

_VERSIONS = {
    "0x0304": "13",
    "0x0303": "12",
    "0x0302": "11",
    "0x0301": "10",
    "0x0300": "s3",
    "0x0002": "s2",
}
_UNKNOWN_VERSION = "00"
_SERVER_NAME, _ALPN = 0, 16
_NONE = "0" * 12
_GREASE = re.compile(r"0x(.a)\1")  # RFC 8701
_CUT = 2_047
"""Bytes of a column of tshark; the rest of a longer value is missing."""


def ja4(hello: str) -> str | None:
    """Return the JA4 of a hello; None if it is so long that tshark cuts its lists.

    Args:
        hello: `t` for TCP or `q` for QUIC, the text of JA3, the versions and the signature
            algorithms as tshark writes them, with commas, and the first ALPN; `|` between them.
            JA3 has decimal numbers without GREASE: version, ciphers, extensions …
    """
    transport, ja3, versions, algorithms, alpn = hello.split("|", 4)
    if max(len(ja3), len(algorithms)) >= _CUT:
        return None
    version, ciphers, extensions = (_numbers(part) for part in (f"{ja3},,".split(",")[:3]))
    offered = _values(versions) or [f"0x{number:04x}" for number in version]
    highest = max(offered, default="")
    first = (
        f"{transport}{_VERSIONS.get(highest, _UNKNOWN_VERSION)}"
        f"{'d' if _SERVER_NAME in extensions else 'i'}"
        f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}{_ends(alpn)}"
    )
    others = ",".join(_sorted(set(extensions) - {_SERVER_NAME, _ALPN}))
    signed = ",".join(text.removeprefix("0x") for text in _values(algorithms))
    of_extensions = f"{others}_{signed}" if signed else others
    return "_".join(
        (first, _hash(",".join(_sorted(ciphers))), _hash(of_extensions) if extensions else _NONE)
    )


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split("-") if number.isdecimal()]


def _values(text: str) -> list[str]:
    return [value for value in text.split(",") if value and not _GREASE.fullmatch(value)]


def _sorted(numbers: Iterable[int]) -> list[str]:
    return sorted(f"{number:04x}" for number in numbers)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else _NONE


def _ends(alpn: str) -> str:
    """Return the first and the last character of the ALPN, of its hexadecimal form if odd."""
    if not alpn:
        return "00"
    first, last = alpn[0], alpn[-1]
    if first.isascii() and first.isalnum() and last.isascii() and last.isalnum():
        return first + last
    encoded = alpn.encode().hex()
    return encoded[0] + encoded[-1]
