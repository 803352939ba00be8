"""nDPI's names of applications and categories, in the terms of the other providers."""

from dataclasses import dataclass
from functools import cache, lru_cache

from mt_pipeline.enrichment.protocols import applications

_CARRIERS = frozenset(
    "dtls http http2 http-connect http-proxy quic ssl tls unknown websocket".split()
)
"""What says nothing of the application."""

_QUESTIONS = frozenset("dns llmnr mdns netbios dhcp dhcpv6 doh-dot".split())
"""Protocols whose second name is what was asked for, not who is spoken to."""

_PROTOCOL_CATEGORIES = frozenset("Database IoT-Scada Network RPC System".split())

_CATEGORIES = {
    "Advertisement": "advertiser",
    "Chat": "messaging",
    "Cloud": "hosting",
    "Cybersecurity": "cybersecurity",
    "DataTransfer": "file-sharing",
    "Download": "file-sharing",
    "Email": "mail",
    "FileSharing": "file-sharing",
    "Game": "games",
    "IoT-Scada": "device-iot",
    "Media": "streaming-media",
    "Music": "streaming-media",
    "RemoteAccess": "remote-desktop",
    "Shopping": "shopping",
    "SocialNetwork": "social-media",
    "SoftwareUpdate": "os-software-updates",
    "Streaming": "streaming-media",
    "VPN": "vpn-and-proxy",
    "Video": "streaming-media",
    "VirtAssistant": "device-iot",
    "VoIP": "voip",
}
_CONFIDENCES = dict(
    enumerate(
        "port nbpf dpi_partial dpi_partial_cache dpi_cache dpi ip dpi_aggressive".split(), start=1
    )
)
"""nDPI's `ndpi_confidence_t`."""


@dataclass(frozen=True)
class Application:
    """What nDPI finds in a conversation.

    Attributes:
        tag: the application, such as `netflix`.
        category: as the other providers name it, else nDPI's own in lower case.
        confidence: how nDPI knows it: `dpi`, or a guess by `ip`, `port` …; None if it is unknown.
        is_protocol: whether it is a protocol, of which tshark knows as much.
    """

    tag: str
    category: str
    confidence: str | None
    is_protocol: bool


@lru_cache(maxsize=10_000)
def application(name: str, category: str, confidence: int) -> Application | None:
    """Return the application of a conversation; None if nDPI knows none.

    Args:
        name: as nDPI has it: `TLS.NetFlix`, `BitTorrent`, `DNS.NetFlix`.
        category: of nDPI, such as `Video`.
        confidence: number of nDPI's `ndpi_confidence_t`.
    """
    first, _, second = (part.replace("_", "-") for part in name.lower().partition("."))
    tag = first if not second or first in _QUESTIONS else second
    if tag in _CARRIERS:
        return None
    is_protocol = tag == first and (tag in _protocols() or category in _PROTOCOL_CATEGORIES)
    return Application(
        tag,
        _CATEGORIES.get(category, category.lower()),
        _CONFIDENCES.get(confidence),
        is_protocol,
    )


@cache
def _protocols() -> frozenset[str]:
    """Return tshark's names of protocols, and those of the applications that they are."""
    known = applications()
    return frozenset([*known["app_tag"].to_pylist(), *known["protocol"].to_pylist()])
