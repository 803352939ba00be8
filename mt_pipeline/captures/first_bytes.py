"""Whether a file looks like a capture, by its first bytes.

Only tshark knows whether its packets can be read.
"""

import os
import shlex
from io import BufferedReader
from pathlib import Path, PurePosixPath

from mt_pipeline.captures.identity import Capture, open_capture, unreadable

_PCAP = {
    magic
    # Microseconds, nanoseconds, Kuznetzov's variant.
    for number in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)
    for magic in (number.to_bytes(4, "big"), number.to_bytes(4, "little"))
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_PCAPNG_ORDERS = {b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"}
_HEAD_BYTES = 24
"""The header of a pcapng without its options: tshark takes less for a file of another kind."""

_COMPRESSED = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_PACKED = {
    b"\xfd7zX": ("xz", "unxz"),
    b"BZh": ("bzip2", "bunzip2"),
    b"PK\x03\x04": ("zip", "unzip"),
    b"7z\xbc\xaf": ("7-Zip", "7z x"),
    b"Rar!": ("RAR", "unrar x"),
}
"""Formats that tshark does not read, by their first bytes: name, and what unpacks them."""

_CURE = (
    "put pcap or pcapng files here, plain or compressed by gzip, zstd or lz4; "
    "convert others with editcap, or remove it."
)


def sniff(capture: Capture) -> str | None:
    """Return why the file is no capture and the cure, by its first bytes; None if it may be one.

    Only formats for captures are taken. tshark also reads others, which any text may look like.

    Raises:
        CaptureError: it is an object that has changed, or may not be read.
        InboxError: the store cannot be asked.
    """
    try:
        with open_capture(capture) as file:
            # Of what is no file of a disk, as in /proc, not even a byte may be readable.
            if not (_size(file) if isinstance(capture.inbox, Path) else capture.size):
                return f"{capture.key} is empty: record it again, or remove it."
            head = file.read(_HEAD_BYTES)
            if codec := codec_of(head):
                head = _decompressed(capture, codec)
    except FileNotFoundError:
        return f"{capture.key} is not in the inbox any more: copy it there again."
    except OSError as error:
        return unreadable(capture.key, error)
    except (ValueError, MemoryError) as error:  # Arrow raises these for invalid compressed bytes
        return f"{capture.key} cannot be decompressed ({error}): compress it again, or replace it."
    if head[:4] in _PCAP or _is_pcapng(head):
        return None
    return _not_a_capture(capture, head, codec)


def codec_of(head: bytes) -> str | None:
    """Return how a file is compressed, as Arrow names it, by at least 4 of its bytes; else None."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)


def _is_pcapng(head: bytes) -> bool:
    # The first four bytes are ends of lines, with which a text may begin, too.
    return head[:4] == _PCAPNG and head[8:12] in _PCAPNG_ORDERS and len(head) == _HEAD_BYTES


def _not_a_capture(capture: Capture, head: bytes, codec: str | None) -> str:
    for magic, (name, unpack) in _PACKED.items():
        if head.startswith(magic):
            command = f"{unpack} {shlex.quote(PurePosixPath(capture.key).name)}"
            return (
                f"{capture.key} is packed with {name}, which tshark does not read: "
                f"unpack it with `{command}`, and put what comes out here."
            )
    reason = (
        f"what is compressed in it ({codec}) is no capture"
        if codec
        else "it does not begin like a capture"
    )
    return f"{capture.key} is not a capture: {reason}; {_CURE}"


def _decompressed(capture: Capture, codec: str) -> bytes:
    import pyarrow as pa  # takes a third of a second, so only for compressed captures

    with (
        open_capture(capture) as file,
        pa.CompressedInputStream(pa.PythonFile(file, "r"), codec) as stream,
    ):
        try:
            head: bytes = stream.read(_HEAD_BYTES)
        except OSError as error:
            if error.errno is None:  # Arrow's own: the compressed bytes are damaged
                raise ValueError(error) from error
            raise
    return head


def _size(file: BufferedReader) -> int:
    return os.fstat(file.fileno()).st_size
