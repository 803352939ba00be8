"""What devices of the local network say of themselves, by hardware address.

`devices/found.py` makes labels of it. A device speaks of itself if it asks for an address by DHCP,
sends datagrams of NetBIOS, or says its services by SSDP. In multicast DNS, LLMNR and the name
service of NetBIOS it may speak of others, so only names for the address that it sends from count.
"""

from mt_pipeline.packets.lookups import NAMED
from mt_pipeline.packets.said import Statements

ADDRESS, OWN_ADDRESS = "address", "own_address"
"""Kinds of statements that are addresses: private IPv4 ones seen with the hardware address, and
those from which it sends to groups. Hardly any router passes on what others send to groups.

Other kinds are tshark's dissectors, and two of multicast DNS: `mdns_service` is the name of a
record of a service, and `mdns_instance` what a service is called.
"""

_MOST = 20
"""Statements of one kind that are kept of a device; a hostile one may call itself anything."""

_MOST_OF_ALL = 100_000

_ORDER = "time_us, frame_number, hardware, kind, text"
_SPEAKS = "contains(frame_protocols[1], ':{}')"
_NAMES_ITSELF = "list_contains(dns_a, address_src)"
_OWN_NAMES = "[p[1] FOR p IN named IF p[2] = address_src]"


def _all(kind: str, texts: str) -> str:
    return f"[{{'kind': '{kind}', 'text': x}} FOR x IN {texts}]"


# An option of DHCP has one value, whose commas tshark's separator looks like.
_SAID = f"""
CASE WHEN {_SPEAKS.format("dhcp")} AND udp_srcport[udp_at] = '68' THEN
        list_concat({_all("dhcp", "dhcp_option_hostname")},
            {_all("dhcp_fqdn", "[array_to_string(dns_resp_name, ',')]")})
    WHEN {_SPEAKS.format("nbdgm")} THEN {_all("nbdgm", "dhcp_option_hostname")}
    WHEN {_SPEAKS.format("nbns")} AND {_NAMES_ITSELF} THEN {_all("nbns", "dhcp_option_hostname")}
    WHEN {_SPEAKS.format("llmnr")} AND {_NAMES_ITSELF} THEN {_all("llmnr", "dns_qry_name")}
    WHEN {_SPEAKS.format("ssdp")} THEN {_all("ssdp", "dhcp_option_hostname")}
    WHEN {_SPEAKS.format("mdns")} AND dns_qry_name IS NULL
            AND (coalesce(len(addresses), 0) = 0 OR {_NAMES_ITSELF}) THEN
        list_concat({_all("mdns", _OWN_NAMES)}, {_all("mdns_instance", "dhcp_option_hostname")},
            {_all("mdns_service", "[r[1] FOR r IN records IF r[2] IN ('12', '16')]")}) END
"""

ANNOUNCEMENTS = Statements(
    table="announcements",
    columns="""file INTEGER, hardware VARCHAR, kind VARCHAR, text VARCHAR, time_us BIGINT,
        frame_number INTEGER""",
    said=f"""
SELECT file, coalesce(wlan_sa[link_at], eth_src[eth_at]) AS hardware, said.kind, said.text, time_us,
    whole_number(frame_number[1])
FROM (SELECT *, unnest({_SAID}) AS said FROM ({NAMED}))
WHERE hardware IS NOT NULL AND said.text <> ''
""",
    counts=f"""
FROM (
    FROM (
        SELECT file, hardware, kind, text, min(time_us) AS time_us,
            min(frame_number) AS frame_number
        FROM announcements GROUP BY file, hardware, kind, text)
    QUALIFY {_MOST} >=
        row_number() OVER (PARTITION BY file, hardware, kind ORDER BY time_us, frame_number, text))
QUALIFY row_number() OVER (PARTITION BY file ORDER BY {_ORDER}) <= {_MOST_OF_ALL}
""",
    order=_ORDER,
    fields=("dhcp_option_hostname", "dns_resp_name", "dns_a"),
)
"""Hardware address, kind and text, and when it was first said: microseconds since 1970, packet."""

_PRIVATE = (
    r"10\..*|192\.168\..*|172\.(1[6-9]|2\d|3[01])\..*|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\..*"
)
_OF_A_DEVICE = rf"{_PRIVATE}|169\.254\..*|.*:.*[^:]"
_IS_GROUP = (
    "other[2] IN ('1', '3', '5', '7', '9', 'b', 'd', 'f')"  # the lowest bit of the first byte
)

SEEN = f"""
INSERT INTO announcements
SELECT file, eth, kind, address, min(first_us), min(first_frame)
FROM (
    SELECT *, unnest([
        CASE WHEN regexp_full_match(address, '{_PRIVATE}') THEN '{ADDRESS}' END,
        CASE WHEN to_group AND regexp_full_match(address, '{_OF_A_DEVICE}')
            THEN '{OWN_ADDRESS}' END]) AS kind
    FROM (
        SELECT file, eth, address, {_IS_GROUP} AS to_group,
            epoch_us(min(first_ts)) AS first_us, min(first_frame) AS first_frame
        FROM (
            SELECT a_eth AS eth, b_eth AS other, a_address AS address, packets_ab AS sent, *
            FROM sums
            UNION ALL SELECT b_eth, a_eth, b_address, packets_ba, * FROM sums)
        WHERE skipped IS NULL AND sent > 0 AND eth IS NOT NULL AND address IS NOT NULL
        GROUP BY ALL))
WHERE kind IS NOT NULL
GROUP BY ALL
"""
"""SQL that adds the addresses in the sums of a block of packets, of those who sent some."""
