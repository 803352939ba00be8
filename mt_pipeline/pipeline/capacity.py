"""What disk and memory a capture will need, told before its run begins: a run that breaks off half way costs more, and fills the disk of others.

The factors were measured on captures of 1,000 to 300,000 packets, and rounded up: what a packet takes hardly depends on its length.
"""

import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from mt_pipeline.captures.identity import Capture, open_capture
from mt_pipeline.captures.inbox import codec_of
from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.pipeline.options import Options
from mt_pipeline.tshark import limits
from mt_pipeline.tshark.packet_count import Estimate

log = logging.getLogger(__name__)

_MB = 10**6
_STAGES = 70
"""Bytes on disk for each packet: 31 of documents, 30 of typed packets, their sums and endpoints, and what is temporary."""

_PARQUET = 40
"""Likewise in Parquet, of rows and flows."""

_QUESTDB = 700
"""Likewise in the embedded QuestDB in the minutes after a load; a third of it stays."""

_TABLES = 100 * _MB
"""What the embedded QuestDB takes for its tables, and gives back, however small the capture is."""

_RESERVE, _RESERVE_OF_QUESTDB = 2 * _MB, 200 * _MB
"""What loads leave free on the disk of the data folder, without and with the embedded QuestDB: commands that make room need some themselves."""

_MARGIN = 1.5
_TSHARK, _TSHARK_PACKET = 160 * _MB, 600
"""Bytes of memory that tshark takes, and for each packet."""

_LEAST_OF_A_PACKET = 16
"""Bytes of a capture that a packet takes at least. With more to spare nobody counts packets."""

_INFLATES = {None: 1, "gzip": 1032, "lz4": 255}
"""So many bytes may come of one. Of one of zstd there is no limit."""

_BYTES_OF_A_PACKET = 200
"""Of a capture whose packets nobody can count."""

_BEYOND = 2
"""So many times the memory of the machine cannot be: the conversations of other captures may need less than those that were measured."""


_COMPRESSED = 5
"""So many times as large it is decompressed, if nobody can count."""

_CURE = "make room, for example by `mt-pipeline purge` and `mt-pipeline compact`, or set MT_DATA_DIR to a larger disk, then `mt-pipeline ingest --failed`"  # noqa: E501


class NoRoomError(CaptureError):
    """There is too little disk for the capture."""


class TooLargeError(CaptureError):
    """The capture needs far more memory than the machine has."""


@dataclass(frozen=True)
class Needs:
    """What a capture will need.

    Attributes:
        disk: bytes, with a margin.
        memory: bytes of tshark.
    """

    disk: int
    memory: int


def needs(options: Options, packets: int) -> Needs:
    """Estimate what so many packets need, where the settings have them loaded."""
    disk = int(packets * (_STAGES + _loaded(options)) * _MARGIN) + _TABLES * options.embeds_questdb
    return Needs(disk, _TSHARK + _TSHARK_PACKET * packets)


def check_memory(options: Options, capture: Capture, count: Callable[[], Estimate | None]) -> None:
    """Refuse a capture that tshark cannot have the memory for; warn of one that may need more than there is.

    Args:
        options: how much it may take.
        capture: the file.
        count: says how many packets it has, None if that cannot be told; only called if it may matter.

    Raises:
        TooLargeError: it needs far more memory than the machine has.
    """
    memory, most = limits.memory(), _most(capture)
    if most is not None and needs(options, most).memory < memory / 2:
        return
    packets = count() or _guess(capture)
    need = needs(options, packets.packets)
    if need.memory > _BEYOND * memory:
        raise TooLargeError(
            f"{capture.key}: for its {packets} packets tshark needs about {_said(need.memory)} of memory, and the machine has {_said(memory)}: "
            "cut it into smaller captures with `editcap -c 10000000`"
        )
    if need.memory > memory / 2:
        log.warning(
            "%s: tshark may need %s of memory, the machine has %s",
            capture.key,
            _said(need.memory),
            _said(memory),
        )


def check(
    options: Options,
    capture: Capture,
    count: Callable[[], Estimate | None],
    *,
    copied: bool = False,
) -> None:
    """Refuse a capture that there is no room for.

    Captures of other runs at the same time are not known here; `Room` is for them, and for captures that are larger than they seem.

    Args:
        options: where the data folder is, and what is loaded.
        capture: the file.
        count: as in `check_memory`.
        copied: it is going to be copied first, as one that grows.

    Raises:
        NoRoomError: too little disk would be left.
    """
    free = shutil.disk_usage(options.data_dir).free
    left = max(free - capture.size, 0) if copied else free
    reserve, most = _reserve(options), _most(capture)
    if most is not None and needs(options, most).disk + reserve < left:
        return
    packets = count() or _guess(capture)
    need = needs(options, packets.packets).disk
    if need + reserve > left:
        copy = f" besides a copy of it, {_said(capture.size)}," if copied else ""
        raise NoRoomError(
            f"{capture.key}: its {packets} packets need about {_said(need)} of disk{copy} and {_said(reserve)} must be left, "
            f"but {_said(free)} are free in {options.data_dir}: {_CURE}"
        )


class Room:
    """The room on the disk while a capture is worked on: it may turn out larger than it seemed, and others fill the disk, too.

    Args:
        options: where the data folder is, and what is loaded.
        key: the capture key.
    """

    def __init__(self, options: Options, key: str) -> None:
        self._options, self._key = options, key

    def check(self, packets: int) -> None:
        """Stop if what is left to do for so many packets would take what must be left; call it now and then.

        Raises:
            NoRoomError: it would.
        """
        free = shutil.disk_usage(self._options.data_dir).free
        need, reserve = packets * _loaded(self._options), _reserve(self._options)
        if need + reserve > free:
            raise NoRoomError(
                f"{self._key}: stopped after {packets:,} packets: to load them {_said(need)} of disk are needed and {_said(reserve)} must be left, "
                f"but {_said(free)} are free in {self._options.data_dir}: {_CURE}"
            )


def _codec(capture: Capture) -> str | None:
    with suppress(OSError), open_capture(capture) as file:  # of what cannot be read others say so
        return codec_of(file.read(4))
    return None


def _most(capture: Capture) -> int | None:
    """Say how many packets it may have at most; None if there is no limit."""
    inflates = _INFLATES.get(_codec(capture))
    return None if inflates is None else capture.size * inflates // _LEAST_OF_A_PACKET


def _guess(capture: Capture) -> Estimate:
    return Estimate(
        capture.size // _BYTES_OF_A_PACKET * (_COMPRESSED if _codec(capture) else 1), exact=False
    )


def _reserve(options: Options) -> int:
    return _RESERVE_OF_QUESTDB if options.embeds_questdb else _RESERVE


def _loaded(options: Options) -> int:
    """Say how many bytes on disk a packet takes where it is loaded."""
    return _PARQUET * ("parquet" in options.backends) + _QUESTDB * options.embeds_questdb


def _embedded(options: Options) -> bool:
    return options.has_questdb and options.questdb_host is None


def _said(size: int) -> str:
    return f"{size / _MB:,.0f} MB" if size < 10_000 * _MB else f"{size / _MB / 1000:,.0f} GB"
