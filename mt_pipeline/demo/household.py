"""The household of the demo: a phone, a speaker and a camera, for ten minutes, on two evenings.

Between them the camera was updated. It then uploads to another cloud, in one large piece, and
tries doors of the speaker; it no longer asks for its public address. The phone gained an app with
an attribution tracker, and lost a messenger. Names and addresses are those of well-known services;
what is said is made up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mt_pipeline.demo import conversations, frames, messages
from mt_pipeline.demo.conversations import SECOND, Packet
from mt_pipeline.demo.frames import End

ROUTER = End("50:c7:bf:00:00:01", "192.168.1.1")
DEVICES = {
    "phone": End("02:5f:3a:00:00:20", "192.168.1.20"),
    "speaker": End("b8:27:eb:00:00:21", "192.168.1.21"),
    "camera": End("24:0a:c4:00:00:22", "192.168.1.22"),
}
"""The devices, by the names that they tell the router."""

SERVICES = {
    messages.QUIC_NAME: "142.250.74.206",
    "access.line.me": "203.104.138.138",
    "api.amazonalexa.com": "52.94.236.248",
    "api.spotify.com": "35.186.224.25",
    "app.adjust.com": "185.151.204.9",
    "checkip.amazonaws.com": "52.218.100.99",
    "connectivitycheck.gstatic.com": "142.250.185.195",
    "de.pool.ntp.org": "131.188.3.220",
    "katalk.kakao.com": "211.231.99.17",
    "ntp.aliyun.com": "203.107.6.88",
    "oss-ap-southeast-1.aliyuncs.com": "161.117.0.10",
    "s3.eu-west-1.amazonaws.com": "52.218.100.20",
    "web.whatsapp.com": "185.60.216.35",
    "www.bbc.co.uk": "212.58.237.252",
}
"""Address of each server."""

LASTS_SECONDS = 600

_MULTICAST = End("01:00:5e:00:00:fb", "224.0.0.251", 5353)
_EVERYBODY = End("ff:ff:ff:ff:ff:ff", "255.255.255.255", 67)
_DOORS = (22, 23, 80, 443, 554, 8080)


@dataclass(frozen=True)
class _Visit:
    """A device that talks to a server over TLS, the times spread over the ten minutes."""

    device: str
    name: str
    times: int
    sent: int
    received: int
    seconds: int


_ALWAYS = (
    _Visit("phone", "web.whatsapp.com", times=5, sent=9_000, received=14_000, seconds=30),
    _Visit("phone", "www.bbc.co.uk", times=2, sent=3_000, received=120_000, seconds=20),
    _Visit("phone", "access.line.me", times=3, sent=6_000, received=18_000, seconds=15),
    _Visit("speaker", "api.spotify.com", times=3, sent=2_500, received=150_000, seconds=90),
    _Visit("speaker", "api.amazonalexa.com", times=6, sent=5_000, received=7_000, seconds=12),
)
_BEFORE = (
    _Visit("camera", "s3.eu-west-1.amazonaws.com", 2, sent=350_000, received=2_000, seconds=60),
    _Visit("phone", "katalk.kakao.com", times=2, sent=4_000, received=9_000, seconds=10),
)
_AFTER = (
    _Visit("camera", "oss-ap-southeast-1.aliyuncs.com", 1, 1_600_000, received=3_000, seconds=240),
    _Visit("phone", "app.adjust.com", times=4, sent=8_000, received=2_000, seconds=5),
)


def before() -> Sequence[Packet]:
    """Return the packets of the evening before the update, in the order of time."""
    return sorted(_packets(datetime(2026, 3, 2, 19, tzinfo=UTC), _BEFORE, is_updated=False))


def after() -> Sequence[Packet]:
    """Return the packets of the evening after it."""
    return sorted(_packets(datetime(2026, 3, 3, 19, tzinfo=UTC), _AFTER, is_updated=True))


def _packets(evening: datetime, visits: Sequence[_Visit], *, is_updated: bool) -> Iterator[Packet]:
    begins = int(evening.timestamp()) * SECOND
    household = _Household(begins)
    yield from household.arrivals()
    for number, visit in enumerate((*_ALWAYS, *visits)):
        yield from household.visits(visit, first=8 + 5 * number)
    yield from household.video(received=500_000, seconds=420, at=70)
    yield from household.times("speaker", "de.pool.ntp.org", each=64)
    yield from household.times("camera", "ntp.aliyun.com", each=150)
    yield from household.pages("phone", "connectivitycheck.gstatic.com", times=3)
    if is_updated:
        yield from household.doors()
    else:
        yield from household.pages("camera", "checkip.amazonaws.com", times=4)


class _Household:
    """The devices, which count up their ports."""

    def __init__(self, begins: int) -> None:
        self._begins = begins
        self._port = 49_152

    def arrivals(self) -> Iterator[Packet]:
        """Let the devices join the network, and the phone look for speakers."""
        for number, (host, device) in enumerate(DEVICES.items()):
            at = self._at(number)
            nobody = End(device.mac, "0.0.0.0", 68)  # noqa: S104  no address, not all
            server, client = (conversations.on_port(*end) for end in ((ROUTER, 67), (device, 68)))
            ask = messages.dhcp(3, number + 1, device.mac, host=host)
            give = messages.dhcp(5, number + 1, device.mac, given=device.address)
            yield at, frames.udp(nobody, _EVERYBODY, ask)
            yield at + 9_000, frames.udp(server, client, give)
            yield at + 20_000, frames.arp(1, device, End(_EVERYBODY.mac, ROUTER.address))
            yield at + 21_000, frames.arp(2, ROUTER, device)
        service = "_spotify-connect._tcp.local"
        phone, speaker = (
            conversations.on_port(DEVICES[name], 5353) for name in ("phone", "speaker")
        )
        tell = messages.mdns_answer(service, "speaker", speaker.address)
        yield self._at(5), frames.udp(phone, _MULTICAST, messages.mdns_question(service))
        yield self._at(5) + 4_000, frames.udp(speaker, _MULTICAST, tell)

    def visits(self, visit: _Visit, *, first: int) -> Iterator[Packet]:
        """Let a device talk to a server, each time after a look-up of its name."""
        for at in self._spread(visit.times, first):
            yield from self._looked_up(visit.device, visit.name, at)
            client, server = self._ends(visit.device, visit.name, 443)
            yield from conversations.tls(
                client,
                server,
                visit.name,
                sent=visit.sent,
                received=visit.received,
                at=at + SECOND // 20,
                seconds=visit.seconds,
            )

    def video(self, *, received: int, seconds: int, at: int) -> Iterator[Packet]:
        """Let the phone watch a video over QUIC."""
        name, begins = messages.QUIC_NAME, self._at(at)
        yield from self._looked_up("phone", name, begins)
        client, server = self._ends("phone", name, 443)
        yield from conversations.quic(
            client, server, received=received, at=begins + SECOND // 20, seconds=seconds
        )

    def times(self, device: str, name: str, *, each: int) -> Iterator[Packet]:
        """Let a device ask for the time, every `each` seconds."""
        yield from self._looked_up(device, name, self._at(4))
        client, server = self._ends(device, name, 123)
        for second in range(6, LASTS_SECONDS, each):
            at = self._at(second)
            ask, tell = (messages.ntp(mode, at / SECOND) for mode in (3, 4))
            yield from conversations.asked_and_answered(client, server, ask, tell, at)

    def pages(self, device: str, name: str, *, times: int) -> Iterator[Packet]:
        """Let a device get a page without encryption."""
        for at in self._spread(times, 3):
            yield from self._looked_up(device, name, at)
            client, server = self._ends(device, name, 80)
            said = (True, messages.http_request(name)), (False, messages.http_response(64))
            yield from conversations.tcp(client, server, said, at=at + SECOND // 20, seconds=1)

    def doors(self) -> Iterator[Packet]:
        """Let the camera knock at closed ports of the speaker."""
        for number, port in enumerate(_DOORS):
            client = self._own("camera")
            server = conversations.on_port(DEVICES["speaker"], port)
            yield from conversations.refused(client, server, self._at(300) + number * SECOND // 5)

    def _looked_up(self, device: str, name: str, at: int) -> list[Packet]:
        resolver = conversations.on_port(ROUTER, 53)
        return conversations.dns(self._own(device), resolver, name, SERVICES[name], at)

    def _ends(self, device: str, name: str, port: int) -> tuple[End, End]:
        return self._own(device), End(ROUTER.mac, SERVICES[name], port)

    def _own(self, device: str) -> End:
        self._port += 1
        return conversations.on_port(DEVICES[device], self._port)

    def _at(self, second: int) -> int:
        return self._begins + second * SECOND

    def _spread(self, times: int, first: int) -> Iterator[int]:
        step = (LASTS_SECONDS - first) // times
        return (self._at(first + number * step) for number in range(times))
