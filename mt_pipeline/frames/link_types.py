"""Names of link types, and what a file with several of them means to those who read it."""

from collections.abc import Mapping

_NAMES = {
    0: "BSD loopback",
    1: "Ethernet",
    9: "PPP",
    101: "raw IP",
    105: "802.11",
    113: "Linux cooked",
    127: "802.11 with radiotap",
    192: "802.11 with PPI",
    195: "802.15.4",
    201: "Bluetooth H4",
    220: "USB",
    228: "raw IPv4",
    229: "raw IPv6",
    249: "USBPcap",
    251: "Bluetooth LE",
    276: "Linux cooked v2",
}


def name_of(link_type: int) -> str:
    """Return what people call a link type."""
    return _NAMES.get(link_type, f"link type {link_type}")


def mixed(link_types: Mapping[int, int]) -> str | None:
    """Return what to know of a file with several link types; None if it has one.

    libpcap 1.10 refuses such a file at its first packet: "an interface has a type 113 different
    from the type of the first interface".

    Args:
        link_types: frames by link type.
    """
    if len(link_types) < 2:
        return None
    listed = ", ".join(f"{name_of(kind)}: {link_types[kind]:,}" for kind in sorted(link_types))
    return (
        f"its packets are of several link types ({listed}): Wireshark and tshark read it, "
        "tcpdump and other programs of libpcap do not; cut by capture with --each"
    )
