"""What disk and memory a capture will need, told before its run begins: a run that breaks off half way costs more, and fills the disk of others.

The factors were measured on captures of 1,000 to 300,000 packets, and rounded up: what a packet takes hardly depends on its length.
"""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.captures.identity import Capture, CaptureError
from mt_pipeline.settings import Settings

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

_MARGIN = 1.5
_TSHARK, _TSHARK_PACKET = 160 * _MB, 600
"""Bytes of memory that tshark takes, and for each packet."""

_MOST_OF_A_BYTE = 50
"""Bytes that may come of each byte of a capture, in memory or on disk: only of compressed ones so many. With more to spare, nobody counts packets."""

_BYTES_OF_A_PACKET = 200
"""Of a capture whose packets nobody can count."""

_BEYOND = 2
"""So many times the memory of the machine cannot be: the conversations of other captures may need less than those that were measured."""


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


def needs(settings: Settings, packets: int) -> Needs:
    """Estimate what so many packets need, where the settings have them loaded."""
    embedded = settings.embeds_questdb
    of_a_packet = _STAGES + _PARQUET * ("parquet" in settings.backends) + _QUESTDB * embedded
    return Needs(int(packets * of_a_packet * _MARGIN) + _TABLES * embedded, _TSHARK + _TSHARK_PACKET * packets)


def check(settings: Settings, capture: Capture, count: Callable[[], int | None], *, copied: bool = False) -> None:
    """Refuse a capture that there is no room for; warn of one that may need more memory than there is.

    Captures of other runs at the same time are not known here.

    Args:
        settings: where the data folder is, and what is loaded.
        capture: the file.
        count: says how many packets it has, None if that cannot be told; only called if it may matter.
        copied: it is going to be copied first, as one that grows.

    Raises:
        NoRoomError: too little disk is free.
        TooLargeError: it needs far more memory than the machine has.
    """
    free, memory = shutil.disk_usage(settings.data_dir).free, _memory()
    free = max(free - capture.size, 0) if copied else free
    at_most = capture.size * _MOST_OF_A_BYTE
    if at_most < min(free - _TABLES, memory / 2 - _TSHARK):
        return
    counted = count()
    packets = capture.size // _BYTES_OF_A_PACKET if counted is None else counted
    need = needs(settings, packets)
    if need.disk > free:
        raise NoRoomError(
            f"{capture.key}: its {packets:,} packets need about {_said(need.disk)} of disk, and {_said(free)} are free in {settings.data_dir}: "
            "free some, or set MT_DATA_DIR to a larger disk, then `mt-pipeline ingest --failed`"
        )
    if need.memory > _BEYOND * memory:
        raise TooLargeError(
            f"{capture.key}: for its {packets:,} packets tshark needs about {_said(need.memory)} of memory, and the machine has {_said(memory)}: "
            "cut it into smaller captures with `editcap -c 10000000`"
        )
    if need.memory > memory / 2:
        log.warning("%s: tshark may need %s of memory, the machine has %s", capture.key, _said(need.memory), _said(memory))


def _memory() -> int:
    """Say how much memory we may use: that of the machine, or of the container if that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # it says `max` if there is no limit
        return machine


def _said(size: int) -> str:
    return f"{size / _MB:,.0f} MB" if size < 10_000 * _MB else f"{size / _MB / 1000:,.0f} GB"
