"""How conversations go: packets of both ends, one after the other, each with its time.

Times are microseconds since 1970. Who talks to whom is in `household.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mt_pipeline.demo import frames, messages
from mt_pipeline.demo.frames import End

Packet = tuple[int, bytes]
"""A time, and the frame that was seen then."""

SECOND = 1_000_000
_ROUND_TRIP = 24_000
_SEGMENT = 1_460
_DATAGRAM = 1_250


def dns(client: End, resolver: End, name: str, address: str, at: int) -> list[Packet]:
    """Ask for an address, and answer."""
    number = client.port
    ask, tell = messages.dns_question(number, name), messages.dns_answer(number, name, address)
    return asked_and_answered(client, resolver, ask, tell, at)


def asked_and_answered(client: End, server: End, ask: bytes, tell: bytes, at: int) -> list[Packet]:
    """Exchange two datagrams."""
    return [
        (at, frames.udp(client, server, ask)),
        (at + _ROUND_TRIP, frames.udp(server, client, tell)),
    ]


def tls(
    client: End, server: End, name: str, *, sent: int, received: int, at: int, seconds: int
) -> list[Packet]:
    """Open a TLS connection, send and receive data, and close it.

    Args:
        client: who opens it.
        server: who accepts it.
        name: of the server.
        sent: bytes of data from the client.
        received: bytes of data from the server.
        at: when it begins.
        seconds: how long it takes.
    """
    said = [
        (True, messages.client_hello(name)),
        (False, messages.server_hello(name)),
        (True, messages.application_data(sent, of=f"{name} {at} sent")),
        (False, messages.application_data(received, of=f"{name} {at} received")),
    ]
    return tcp(client, server, said, at=at, seconds=seconds)


def tcp(
    client: End, server: End, said: Iterable[tuple[bool, bytes]], *, at: int, seconds: int
) -> list[Packet]:
    """Open a connection, say this, and close it.

    Args:
        client: who opens it.
        server: who accepts it.
        said: messages, each with whether the client says it.
        at: when it begins.
        seconds: how long it takes, spread evenly over its packets.
    """
    ends = {True: client, False: server}
    numbers = {True: at % 2**31, False: client.port * 4_099}
    made: list[bytes] = []

    def send(up: bool, flags: int, data: bytes = b"") -> None:
        made.append(
            frames.tcp(
                ends[up],
                ends[not up],
                flags,
                sequence=numbers[up],
                acknowledged=0 if flags == frames.SYN else numbers[not up],
                data=data,
            )
        )
        numbers[up] += len(data) + (flags in (frames.SYN, frames.SYN_ACK, frames.FIN_ACK))

    send(True, frames.SYN)
    send(False, frames.SYN_ACK)
    send(True, frames.ACK)
    for up, message in said:
        for index, start in enumerate(range(0, len(message), _SEGMENT)):
            part = message[start : start + _SEGMENT]
            is_last = start + _SEGMENT >= len(message)
            send(up, frames.PUSH_ACK if is_last else frames.ACK, part)
            if index % 2 or is_last:
                send(not up, frames.ACK)
    send(True, frames.FIN_ACK)
    send(False, frames.FIN_ACK)
    send(True, frames.ACK)
    return _spread(made, at, seconds)


def refused(client: End, server: End, at: int) -> list[Packet]:
    """Knock at a port that is closed."""
    knock = frames.tcp(client, server, frames.SYN, sequence=at % 2**31, acknowledged=0)
    no = frames.tcp(server, client, frames.RESET_ACK, sequence=0, acknowledged=at % 2**31 + 1)
    return [(at, knock), (at + 900, no)]


def quic(client: End, server: End, *, received: int, at: int, seconds: int) -> list[Packet]:
    """Open a QUIC connection to `messages.QUIC_NAME`, and receive data."""
    made = [frames.udp(client, server, messages.QUIC_HELLO)]
    for number, start in enumerate(range(0, received, _DATAGRAM)):
        size = min(_DATAGRAM, received - start)
        data = messages.noise(size, of=f"quic {at} {start}")
        made.append(frames.udp(server, client, b"\x41" + data))
        if number % 4 == 3:
            said = messages.QUIC_CONNECTION + data[:24]
            made.append(frames.udp(client, server, b"\x41" + said))
    return _spread(made, at, seconds)


def on_port(end: End, port: int) -> End:
    """Return an end with another port."""
    return replace(end, port=port)


def _spread(made: Sequence[bytes], at: int, seconds: int) -> list[Packet]:
    step = seconds * SECOND // len(made)
    return [(at + index * step, frame) for index, frame in enumerate(made)]
