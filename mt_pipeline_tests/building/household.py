"""A made-up household for the pictures of the README: five devices, their servers, their places.

Names are well-known ones, so that applications show. Addresses are public ones, with made-up
places.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline_tests.building.files import START_NS, timed, write_pcapng
from mt_pipeline_tests.building.traffic import dns, quic_session, tls_session
from mt_pipeline_tests.enrichment.city_files import city_file, nested

DEVICES = {
    "Phone": "192.168.1.20",
    "Television": "192.168.1.21",
    "Speaker": "192.168.1.22",
    "Light bulbs": "192.168.1.23",
    "Laptop": "192.168.1.24",
}

_SECOND = 10**9
_LONGEST_S = 1_200


@dataclass(frozen=True)
class _Service:
    """A server: its address, the country and the city that it is given, longitude and latitude."""

    address: str
    country: tuple[str, str]
    city: str
    at: tuple[float, float]


_SERVICES: Mapping[str, _Service] = {
    "api-global.netflix.com": _Service("52.31.10.11", ("IE", "Ireland"), "Dublin", (-6.3, 53.3)),
    "ipv4-c001-fra.oca.nflxvideo.net": _Service(
        "45.57.40.1", ("DE", "Germany"), "Frankfurt", (8.7, 50.1)
    ),
    "rr3.sn-4g5e6nz7.googlevideo.com": _Service(
        "142.250.184.206", ("NL", "Netherlands"), "Amsterdam", (4.9, 52.4)
    ),
    "www.youtube.com": _Service("142.250.80.14", ("US", "United States"), "Ashburn", (-77.5, 39.0)),
    "bob-dispatch-prod-eu.amazon.com": _Service(
        "54.239.33.92", ("IE", "Ireland"), "Dublin", (-6.3, 53.3)
    ),
    "audio-fa.scdn.co": _Service("199.232.210.248", ("SE", "Sweden"), "Stockholm", (18.1, 59.3)),
    "discovery.meethue.com": _Service(
        "34.117.13.189", ("US", "United States"), "Kansas City", (-94.6, 39.1)
    ),
    "a1.tuyaeu.com": _Service("47.88.12.34", ("SG", "Singapore"), "Singapore", (103.8, 1.4)),
    "web.whatsapp.com": _Service("157.240.22.60", ("BR", "Brazil"), "São Paulo", (-46.6, -23.5)),
    "updates.cdn-apple.com": _Service("17.253.144.10", ("JP", "Japan"), "Tokyo", (139.7, 35.7)),
    "telemetry.example.com": _Service(
        "93.184.216.34", ("AU", "Australia"), "Sydney", (151.2, -33.9)
    ),
}
# Who talks to whom, how often, and how many records of data each time.
_HABITS = (
    ("Television", "api-global.netflix.com", 3, 12),
    ("Television", "ipv4-c001-fra.oca.nflxvideo.net", 6, 260),
    ("Television", "telemetry.example.com", 8, 10),
    ("Phone", "rr3.sn-4g5e6nz7.googlevideo.com", 7, 90),
    ("Phone", "www.youtube.com", 4, 20),
    ("Phone", "web.whatsapp.com", 6, 30),
    ("Speaker", "bob-dispatch-prod-eu.amazon.com", 9, 16),
    ("Speaker", "audio-fa.scdn.co", 4, 110),
    ("Light bulbs", "discovery.meethue.com", 10, 6),
    ("Light bulbs", "a1.tuyaeu.com", 8, 8),
    ("Laptop", "updates.cdn-apple.com", 2, 150),
    ("Laptop", "www.youtube.com", 3, 40),
)
_OVER_QUIC = {"rr3.sn-4g5e6nz7.googlevideo.com", "www.youtube.com"}


def write_household(path: Path, *, seed: int) -> Path:
    """Write twenty minutes of it, the same bytes for the same seed."""
    rnd = random.Random(seed)  # noqa: S311 - traffic, not a secret
    frames = []
    for number, (device, name, times, records) in enumerate(
        habit for habit in _HABITS for _ in range(habit[2])
    ):
        client, server = DEVICES[device], _SERVICES[name].address
        begins = START_NS + seed * 86_400 * _SECOND + rnd.randrange(_LONGEST_S * _SECOND)
        frames += timed(
            dns(name, answer=server, client=client, client_port=53_000 + number),
            start_ns=begins,
            step_ns=20_000_000,
        )
        if name in _OVER_QUIC:
            frames += timed(
                quic_session(name, client=client, server=server, client_port=51_000 + number),
                start_ns=begins + _SECOND,
            )
        session = tls_session(
            name,
            client=client,
            server=server,
            client_port=55_000 + number,
            data_packets=records + rnd.randrange(times * 4),
        )
        frames += timed(
            session, start_ns=begins + 2 * _SECOND, step_ns=rnd.randrange(50, 250) * 1_000_000
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_pcapng(path, sorted(frames, key=lambda frame: frame.time_ns))


def write_places(path: Path) -> Path:
    """Write a city file of its services."""
    return city_file(
        path,
        {f"{one.address}/32": nested(*one.country, one.city, one.at) for one in _SERVICES.values()},
        kind="made-up-city",
    )


def write_inventory(path: Path) -> Path:
    """Write the list of its devices."""
    path.write_text(
        "device,address\n" + "".join(f"{device},{address}\n" for device, address in DEVICES.items())
    )
    return path
