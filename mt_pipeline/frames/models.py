"""What is read of a capture: interfaces, frames, secrets. And what can be wrong with it."""

from dataclasses import dataclass

from mt_pipeline.captures.naming import CaptureError

_SECOND = 10**9
_MICROSECONDS = 6
_POWER_OF_TWO = 0x80


class FrameError(CaptureError):
    """Frames cannot be taken from a capture; the message names the capture, the reason, the cure.

    FrameError
    ├── Unreadable     the capture is damaged, or of a kind that nothing here reads
    ├── NotAPacket     a frame that was asked for is a record of another kind
    └── Differs        a frame is not what its row says, or there is none of its number
    """


class Unreadable(FrameError):
    """The capture is damaged, or of a kind that nothing here reads."""


class NotAPacket(FrameError):
    """A frame that was asked for is a record of another kind, such as an entry of a journal."""


class Differs(FrameError):
    """A frame is not what its row says, or there is none of its number."""


@dataclass(frozen=True, eq=False)
class Interface:
    """What a frame was captured on. Each reading makes its own; they are compared by identity.

    Attributes:
        link_type: LINKTYPE_… number.
        snaplen: most bytes kept of a frame; 0 for all.
        resolution: as in pcapng: 10**-n seconds a tick, or 2**-(n - 128) from 128 on.
        offset: seconds since 1970 at which the ticks begin.
        name: as the capture has it; empty without one.
        options: the others, little-endian, as pcapng has them.
    """

    link_type: int
    snaplen: int
    resolution: int = _MICROSECONDS
    offset: int = 0
    name: str = ""
    options: bytes = b""

    def time_ns(self, ticks: int) -> int:
        """Return a time in nanoseconds since 1970."""
        power = self.resolution & ~_POWER_OF_TWO
        per_second: int = (2 if self.resolution & _POWER_OF_TWO else 10) ** power
        return self.offset * _SECOND + ticks * _SECOND // per_second


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, as it was captured.

    Attributes:
        number: as tshark counts, from 1.
        interface: what it was captured on.
        ticks: its time in units of the interface.
        wire_length: bytes on the wire; `data` may have fewer.
        data: the bytes that were captured.
        options: of its block, little-endian.
    """

    number: int
    interface: Interface
    ticks: int
    wire_length: int
    data: bytes
    options: bytes = b""

    @property
    def time_ns(self) -> int:
        """Its time in nanoseconds since 1970."""
        return self.interface.time_ns(self.ticks)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keys that decrypt what follows: the type of secrets, and their bytes."""

    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A frame to take, and what its row says of it.

    Attributes:
        number: as tshark counts, from 1.
        time_us: microseconds since 1970; None is not checked.
        wire_length: bytes on the wire; None is not checked.
    """

    number: int
    time_us: int | None = None
    wire_length: int | None = None
