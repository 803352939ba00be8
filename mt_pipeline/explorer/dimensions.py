"""What traffic is told apart by: each dimension with its column of flows. One line adds one."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Dimension:
    """A dimension of conversations.

    Attributes:
        id: its name in addresses.
        title: its name on the page.
        column: its column of flows.
        group: heading below which lists of the page have it.
        note: what to know of its values.
        is_number: its values are whole numbers.
    """

    id: str
    title: str
    column: str
    group: str
    note: str = ""
    is_number: bool = False


WHO, WHERE, HOW, FROM = "With whom", "Where", "How", "Captured as"

_DIMENSIONS = (
    Dimension("app", "Application", "app_tag", WHO, "by any name, the network or the protocol"),
    Dimension("category", "Category", "app_category_tag", WHO, "of the application"),
    Dimension("name", "Name", "remote_name", WHO, "best name of the remote end"),
    Dimension("domain", "Domain", "remote_domain", WHO, "registrable domain of the name"),
    Dimension("owner", "Owner", "remote_organisation", WHO, "who runs the network of the address"),
    Dimension("party", "Party", "remote_party", WHO, "first, support or third"),
    Dimension("tracker", "Tracker", "remote_tracker", WHO, "kind of tracker, if it is one"),
    Dimension("country", "Country", "geo_country", WHERE, "of the remote address"),
    Dimension("device", "Device", "device_local", WHERE, "at the local end"),
    Dimension("peer_device", "Peer device", "device_remote", WHERE, "at the remote end"),
    Dimension("local", "Local address", "local", WHERE),
    Dimension("remote", "Remote address", "remote", WHERE),
    Dimension("protocol", "Protocol", "protocol", HOW, "what most packets of the stream speak"),
    Dimension("transport", "Transport", "ip_proto", HOW, "protocol above IP"),
    Dimension("direction", "Direction", "direction", HOW, "inside, outside, transit or none"),
    Dimension("port", "Remote port", "port_remote", HOW, is_number=True),
    Dimension("name_source", "Source of the name", "remote_name_source", HOW),
    Dimension("app_source", "Source of the application", "app_source", HOW),
    Dimension("state", "State of TCP", "tcp_state", HOW, "established, refused, unanswered …"),
    Dimension("tls", "TLS version", "tls_version", HOW, "that the server chose"),
    Dimension("ja4", "JA4", "ja4", HOW, "fingerprint of the client's hello"),
    Dimension("method", "HTTP method", "http_method", HOW, "that were asked with, in the clear"),
    Dimension("capture", "Capture", "capture", FROM),
    Dimension("label", "Label", "label", FROM, "folders between experiment and capture"),
    Dimension("experiment", "Experiment", "experiment", FROM),
)

DIMENSIONS: Mapping[str, Dimension] = {each.id: each for each in _DIMENSIONS}
"""All of them by their ids, in the order of the page."""
