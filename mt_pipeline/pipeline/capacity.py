"""Estimates the disk and memory that a capture needs, before tshark starts to read it.

The factors were measured on captures of 1,000 to 300,000 packets, and rounded up. What a packet
takes hardly depends on its length.
"""

import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mt_pipeline.captures.first_bytes import codec_of
from mt_pipeline.captures.identity import Capture, open_capture
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.store import InboxError
from mt_pipeline.pipeline.options import Options
from mt_pipeline.tshark import limits
from mt_pipeline.tshark.packet_count import Estimate

log = logging.getLogger(__name__)

_MB = 10**6
_STAGES = 70
"""Bytes on disk for each packet: 31 of documents, 30 of typed packets, sums and endpoints, and
temporary files."""

_PARQUET = 40
"""Bytes in Parquet for each packet, of rows and flows."""

_QUESTDB = 700
"""Bytes in the embedded QuestDB for each packet in the minutes after a load. A third stays."""

_TABLES = 100 * _MB
"""Bytes that the embedded QuestDB takes for its tables for a while, however small a capture is."""

_RESERVE, _RESERVE_QUESTDB = 2 * _MB, 200 * _MB
"""Bytes that stay free on the disk of the data folder, without and with the embedded QuestDB.
Commands that free space need some themselves."""

_MARGIN = 1.5
_TSHARK, _TSHARK_PACKET = 160 * _MB, 600
"""Bytes of memory that tshark takes, and those for each packet."""

_MIN_PACKET_BYTES = 16
"""The smallest packet in a capture file. It gives an upper limit without counting packets."""

_MAX_RATIOS = {None: 1, "gzip": 1032, "lz4": 255}
"""The highest compression ratio of each codec. That of zstd has no limit."""

_TYPICAL_PACKET_BYTES, _TYPICAL_RATIO = 200, 5
"""Bytes of a packet and compression ratio of a capture whose packets cannot be counted."""

_GUESSED = " (by its size: they could not be counted, so see whether it is damaged)"
"""What is said of a number that rests on nothing else."""

_MEMORY_FACTOR = 2
"""A capture is refused if it needs this many times the machine's memory. The measured captures
had more conversations than most, so others may need less."""

_CURE = (
    "make room, for example by `mt-pipeline purge` and `mt-pipeline compact`, "
    "or set MT_DATA_DIR to a larger disk, then `mt-pipeline ingest --failed`"
)

_CURE_OF_SCRATCH = (
    "make room there, or set MT_SCRATCH_DIR to a larger disk, then `mt-pipeline ingest --failed`"
)


class NoRoomError(CaptureError):
    """The disk has too little room for the capture."""


class TooLargeError(CaptureError):
    """The capture needs far more memory than the machine has."""


@dataclass(frozen=True)
class Needs:
    """The estimated needs of a capture.

    Attributes:
        disk: bytes on disk, with a margin.
        memory: bytes of memory of tshark.
    """

    disk: int
    memory: int


def needs(options: Options, packets: int) -> Needs:
    """Estimate what a number of packets needs, for the back ends of the options."""
    per_packet = _STAGES + _loaded_bytes(options)
    disk = int(packets * per_packet * _MARGIN) + _TABLES * options.embeds_questdb
    return Needs(disk, _TSHARK + _TSHARK_PACKET * packets)


def comfortable_memory(options: Options, capture: Capture) -> int:
    """Return the bytes of memory with which a capture raises no warning, by its size alone."""
    return 2 * needs(options, _guess(capture).packets).memory


def check_memory(options: Options, capture: Capture, count: Callable[[], Estimate | None]) -> None:
    """Refuse a capture that needs far more memory than there is. Warn if it may need too much.

    Args:
        options: the options of the data folder.
        capture: the file.
        count: estimates its packets, None if that fails; called only if the number is needed.

    Raises:
        TooLargeError: it needs far more memory than the machine has.
    """
    memory, max_packets = limits.memory(), _max_packets(capture)
    if max_packets is not None and needs(options, max_packets).memory < memory / 2:
        return
    counted = count()
    packets = counted or _guess(capture)
    need = needs(options, packets.packets).memory
    if need > _MEMORY_FACTOR * memory:
        raise TooLargeError(
            f"{capture.key}: for its {packets} packets{_GUESSED * (counted is None)} "
            f"tshark needs about {_size(need)} of memory, "
            f"and the machine has {_size(memory)}: "
            "cut it into smaller captures with `editcap -c 10000000`"
        )
    if need > memory / 2:
        log.warning(
            "%s: tshark may need %s of memory, the machine has %s",
            capture.key,
            _size(need),
            _size(memory),
        )


def check(
    options: Options,
    capture: Capture,
    count: Callable[[], Estimate | None],
    *,
    copied: bool = False,
) -> None:
    """Refuse a capture that the disk has no room for.

    This ignores other captures that are loaded at the same time, and captures that turn out larger
    than estimated. `Room` is for these.

    Args:
        options: the options of the data folder.
        capture: the file.
        count: as for `check_memory`.
        copied: whether it is copied first, because it still grows.

    Raises:
        NoRoomError: too little disk would be left.
    """
    if copied and options.scratch_dir:
        check_copy(options, capture)
        copied = False
    free = shutil.disk_usage(options.data_dir).free
    left = max(free - capture.size, 0) if copied else free
    reserve, max_packets = _reserve(options), _max_packets(capture)
    if max_packets is not None and needs(options, max_packets).disk + reserve < left:
        return
    counted = count()
    packets = counted or _guess(capture)
    need = needs(options, packets.packets).disk
    if need + reserve > left:
        copy = f" besides a copy of it, {_size(capture.size)}," if copied else ""
        raise NoRoomError(
            f"{capture.key}: its {packets} packets{_GUESSED * (counted is None)} need about "
            f"{_size(need)} of disk{copy} "
            f"and {_size(reserve)} must be left, "
            f"but {_size(free)} are free in {options.data_dir}: {_CURE}"
        )


def check_copy(options: Options, capture: Capture) -> None:
    """Refuse a copy that its disk has no room for. `check` counts what is in the capture.

    Raises:
        NoRoomError: too little disk would be left.
    """
    place, reserve, cure = options.data_dir, _reserve(options), _CURE
    if options.scratch_dir:
        place, reserve, cure = options.scratch_dir, _RESERVE, _CURE_OF_SCRATCH
    free = shutil.disk_usage(place).free
    if capture.size + reserve > free:
        raise NoRoomError(
            f"{capture.key}: a copy of it needs {_size(capture.size)} of disk and "
            f"{_size(reserve)} must be left, but {_size(free)} are free in {place}: {cure}"
        )


class Room:
    """The room on the disk while a capture is processed.

    The capture may be larger than estimated, and others fill the disk, too.

    Args:
        options: the options of the data folder.
        key: the capture key.
    """

    def __init__(self, options: Options, key: str) -> None:
        self._options, self._key = options, key

    def check(self, packets: int) -> None:
        """Stop a capture that would take the last room on the disk. Call it from time to time.

        Args:
            packets: number of packets that are to be loaded.

        Raises:
            NoRoomError: too little disk would be left.
        """
        free = shutil.disk_usage(self._options.data_dir).free
        need, reserve = packets * _loaded_bytes(self._options), _reserve(self._options)
        if need + reserve > free:
            raise NoRoomError(
                f"{self._key}: stopped after {packets:,} packets: to load them {_size(need)} "
                f"of disk are needed and {_size(reserve)} must be left, "
                f"but {_size(free)} are free in {self._options.data_dir}: {_CURE}"
            )


def _codec(capture: Capture) -> str | None:
    # If the file cannot be read, a later stage reports it.
    with suppress(OSError, CaptureError, InboxError), open_capture(capture) as file:
        return codec_of(file.read(4))
    return None


def _max_packets(capture: Capture) -> int | None:
    """Return an upper limit for the number of packets; None if there is none."""
    ratio = _MAX_RATIOS.get(_codec(capture))
    return None if ratio is None else capture.size * ratio // _MIN_PACKET_BYTES


def _guess(capture: Capture) -> Estimate:
    ratio = _TYPICAL_RATIO if _codec(capture) else 1
    return Estimate(capture.size // _TYPICAL_PACKET_BYTES * ratio, exact=False)


def _reserve(options: Options) -> int:
    return _RESERVE_QUESTDB if options.embeds_questdb else _RESERVE


def _loaded_bytes(options: Options) -> int:
    """Return the bytes on disk that a packet takes in the back ends."""
    return _PARQUET * ("parquet" in options.backends) + _QUESTDB * options.embeds_questdb


def _size(size: int) -> str:
    return f"{size / _MB:,.0f} MB" if size < 10_000 * _MB else f"{size / _MB / 1000:,.0f} GB"
