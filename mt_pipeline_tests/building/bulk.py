"""The big capture of the benchmark: fifty devices, written from templates in constant memory.

Hundreds of conversations run at once. Each is a generator that yields bursts of frames, and a busy
one is as likely to be next as an idle one. The small captures of the tests are in `everything.py`.
"""

import ipaddress
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, cycle
from pathlib import Path

from mt_pipeline_tests.building.files import ETHERNET, START_NS
from mt_pipeline_tests.building.hellos import (
    SERVER_HELLO,
    application_data,
    client_hello,
    quic_initials,
)

Burst = list[bytes]

_AT_ONCE = 400
_SEGMENT = 1_388
_LONGEST_FLOW = 600
_WORDS = (
    "api",
    "cdn",
    "img",
    "video",
    "mail",
    "static",
    "login",
    "telemetry",
    "update",
    "chat",
    "shop",
    "maps",
    "ads",
    "push",
    "www",
    "edge",
)
_DOMAINS = tuple(
    f"{word}{number}.{ending}"
    for word in ("acme", "globex", "initech", "umbra")
    for number in range(6)
    for ending in ("com", "net")
)
# Several styles of TLS: a record in one segment, and records that span three and eleven.
_DOWNLOADS = tuple(
    tuple(record[start : start + _SEGMENT] for start in range(0, len(record), _SEGMENT))
    for record in (application_data(_SEGMENT * segments - 5) for segments in (1, 3, 11))
)
_SERVER_ANSWER = SERVER_HELLO + application_data(1_200)
_REQUESTS = tuple(application_data(size) for size in (60, 180, 420))
_NOISE = random.Random(0).randbytes(4_096)  # noqa: S311 - a benchmark, not a secret
_SYN, _SYN_ACK, _ACK, _PUSH, _FIN = 0x5002, 0x5012, 0x5010, 0x5018, 0x5011


@dataclass(frozen=True)
class _Path:
    """Two ends and what precedes TCP or UDP between them, but for lengths."""

    client: bytes
    server: bytes
    hardware: bytes

    def headers(
        self, protocol: int, client_port: int, server_port: int
    ) -> tuple[Callable[[int], bytes], Callable[[int], bytes]]:
        """Return two functions, client to server and back: from payload size to the headers.

        The size is that of all that follows IP; the headers are Ethernet, IP and ports.
        """
        return (
            self._header(
                protocol,
                self.hardware,
                self.client,
                self.server,
                struct.pack("!HH", client_port, server_port),
            ),
            self._header(
                protocol,
                self.hardware[6:] + self.hardware[:6],
                self.server,
                self.client,
                struct.pack("!HH", server_port, client_port),
            ),
        )

    @staticmethod
    def _header(
        protocol: int, hardware: bytes, source: bytes, target: bytes, ports: bytes
    ) -> Callable[[int], bytes]:
        if len(source) == 4:
            before, after = (
                hardware + b"\x08\x00\x45\x00",
                struct.pack("!HHBBH", 0, 0x4000, 64, protocol, 0) + source + target + ports,
            )
            extra = 20
        else:
            before, after = (
                hardware + b"\x86\xdd\x60\x00\x00\x00",
                struct.pack("!BB", protocol, 64) + source + target + ports,
            )
            extra = 0
        made: dict[int, bytes] = {}  # few sizes repeat in a flow

        def header(size: int) -> bytes:
            if size not in made:
                made[size] = before + (size + extra).to_bytes(2, "big") + after
            return made[size]

        return header


def write_bulk(path: Path, packets: int, *, seed: int = 1) -> Path:
    """Write a pcap of exactly `packets` packets, the same bytes for the same seed."""
    rnd = random.Random(seed)  # noqa: S311 - a benchmark, not a secret
    network = _Network(rnd)
    active = [network.conversation() for _ in range(min(_AT_ONCE, packets))]
    within = cycle([rnd.randrange(4_000, 60_000) for _ in range(4_099)])
    between = cycle([int(rnd.expovariate(1 / 1_500_000)) for _ in range(4_093)])
    pack, seconds, nanoseconds, written = (
        struct.Struct("<IIII").pack,
        *divmod(START_NS, 1_000_000_000),
        0,
    )
    with path.open("wb", buffering=1 << 20) as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, ETHERNET))
        while written < packets:
            slot = int(rnd.random() * len(active))
            burst = next(active[slot], None)
            if burst is None:
                active[slot] = network.conversation()
                continue
            nanoseconds += next(between)
            for frame in burst[: packets - written]:
                nanoseconds += next(within)
                if nanoseconds >= 1_000_000_000:
                    seconds, nanoseconds = seconds + 1, nanoseconds - 1_000_000_000
                size = len(frame)
                file.write(pack(seconds, nanoseconds, size, size) + frame)
            written += len(burst)
    return path


class _Network:
    """Who talks to whom: devices, server names with their addresses, popular ones more often."""

    def __init__(self, rnd: random.Random) -> None:
        self._rnd = rnd
        self._names = [f"{word}.{domain}" for word in _WORDS for domain in _DOMAINS][:600]
        rnd.shuffle(self._names)
        self._popularity = list(accumulate(1 / rank for rank in range(1, len(self._names) + 1)))
        self._addresses = {
            name: [self._public() for _ in range(rnd.randrange(1, 60))] for name in self._names
        }
        self._addresses6 = {
            name: [self._public6() for _ in range(rnd.randrange(1, 8))] for name in self._names
        }
        self._count = 0

    def conversation(self) -> Iterator[Burst]:
        """Begin one more conversation."""
        self._count += 1
        rnd, port, device = self._rnd, 49_152 + self._count * 7 % 16_384, self._rnd.randrange(2, 52)
        name = rnd.choices(self._names, cum_weights=self._popularity)[0]
        kind = rnd.random()
        if kind < 0.3:  # a name is asked for
            return _dns(self._path(device, bytes([192, 168, 1, 1])), name, self._count, port)
        if kind < 0.45:  # a call, a game, a peer: nobody announced its address
            return _datagrams(
                self._path(device, self._public()),
                self._length(),
                port,
                rnd.randrange(49_152, 65_536),
                rnd,
            )
        if kind < 0.5:
            return _multicast(device)
        v6 = kind > 0.85
        path = self._path(device, rnd.choice((self._addresses6 if v6 else self._addresses)[name]))
        if kind < 0.6 or kind > 0.95:
            return _quic(path, name, self._count, self._length(), port, rnd)
        return _tls(path, name, self._length(), port, rnd)

    def _length(self) -> int:
        """Draw bursts of a flow: most are short, few are long."""
        return min(3 + int(self._rnd.paretovariate(1.1) * 4), _LONGEST_FLOW)

    def _path(self, device: int, server: bytes) -> _Path:
        v6 = len(server) == 16
        client = (
            ipaddress.ip_address(f"fd00:1::{device:x}").packed
            if v6
            else bytes([192, 168, 1, device])
        )
        return _Path(
            client, server, b"\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x01" + bytes([device])
        )

    def _public(self) -> bytes:
        return bytes(
            [
                self._rnd.choice((13, 23, 34, 52, 93, 104, 142, 151)),
                *self._rnd.choices(range(1, 255), k=3),
            ]
        )

    def _public6(self) -> bytes:
        return ipaddress.ip_address("2a00:1450:4001::").packed[:6] + self._rnd.randbytes(10)


def _tls(path: _Path, name: str, bursts: int, port: int, rnd: random.Random) -> Iterator[Burst]:
    up_header, down_header = path.headers(6, port, 443)
    pack = struct.Struct("!IIHHHH").pack
    sent, received = rnd.getrandbits(31), rnd.getrandbits(31)

    def up(flags: int, data: bytes = b"") -> bytes:
        nonlocal sent
        frame = up_header(20 + len(data)) + pack(sent, received, flags, 502, 0, 0) + data
        sent += len(data)
        return frame

    def down(flags: int, data: bytes = b"") -> bytes:
        nonlocal received
        frame = down_header(20 + len(data)) + pack(received, sent, flags, 502, 0, 0) + data
        received += len(data)
        return frame

    yield [up(_SYN)]
    sent += 1
    answer = down(_SYN_ACK)
    received += 1
    yield [answer, up(_ACK)]
    yield [up(_PUSH, client_hello(name, padding=rnd.randrange(150, 300)))]
    yield [down(_ACK), down(_PUSH, _SERVER_ANSWER), up(_ACK)]
    segments = cycle(rnd.choice(_DOWNLOADS))
    for _ in range(bursts):
        kind = rnd.random()
        if kind < 0.35:
            yield [up(_PUSH, rnd.choice(_REQUESTS)), down(_ACK)]
        elif kind < 0.6:
            yield [down(_PUSH, next(segments)), up(_ACK)]
        else:
            yield [down(_ACK, next(segments)), down(_PUSH, next(segments)), up(_ACK)]
    yield [up(_FIN), down(_FIN)]


def _quic(
    path: _Path, name: str, number: int, bursts: int, port: int, rnd: random.Random
) -> Iterator[Burst]:
    up, down = (_datagram(header) for header in path.headers(17, port, 443))
    connection_id = struct.pack("!II", 0xC0FFEE00, number)
    yield [up(datagram) for datagram in quic_initials(name, connection_id=connection_id)]
    for _ in range(bursts):
        start = rnd.randrange(2_000)
        yield [
            down(b"\x41" + _NOISE[start : start + 1_250]),
            down(b"\x41" + _NOISE[start + 9 : start + 1_259]),
            up(b"\x41" + connection_id + _NOISE[start : start + 30]),
        ]


def _datagrams(
    path: _Path, bursts: int, port: int, server_port: int, rnd: random.Random
) -> Iterator[Burst]:
    up, down = (_datagram(header) for header in path.headers(17, port, server_port))
    for _ in range(bursts):
        size = rnd.choice((60, 160, 172, 900))
        yield [up(b"\x80" + _NOISE[:size]), down(b"\x80" + _NOISE[9 : size + 9])]


def _dns(path: _Path, name: str, number: int, port: int) -> Iterator[Burst]:
    up, down = (_datagram(header) for header in path.headers(17, port, 53))
    question = (
        b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        + b"\x00\x00\x01\x00\x01"
    )
    identity = struct.pack("!H", number % 65_536)
    yield [up(identity + b"\x01\x00\x00\x01" + bytes(6) + question)]
    yield [
        down(
            identity
            + b"\x81\x80\x00\x01\x00\x01"
            + bytes(4)
            + question
            + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\x5d\xb8\xd8\x22"
        )
    ]


def _multicast(device: int) -> Iterator[Burst]:
    """Ask for a service by mDNS, and for the router by ARP."""
    hardware = b"\x02\x00\x00\x00\x01" + bytes([device])
    address = bytes([192, 168, 1, device])
    path = _Path(address, bytes([224, 0, 0, 251]), b"\x01\x00\x5e\x00\x00\xfb" + hardware)
    up, _ = (_datagram(header) for header in path.headers(17, 5353, 5353))
    yield [
        up(bytes(5) + b"\x01" + bytes(6) + b"\x0b_googlecast\x04_tcp\x05local\x00\x00\x0c\x00\x01")
    ]
    yield [
        b"\xff" * 6
        + hardware
        + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01"
        + hardware
        + address
        + bytes(6)
        + bytes([192, 168, 1, 1])
    ]


def _datagram(header: Callable[[int], bytes]) -> Callable[[bytes], bytes]:
    def frame(data: bytes) -> bytes:
        size = 8 + len(data)
        return header(size) + size.to_bytes(2, "big") + b"\x00\x00" + data

    return frame
