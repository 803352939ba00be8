"""What DNS answered: which name led which client to which address, and when.

A name counts as it was asked for; the last name of a chain of CNAMEs is kept beside it. Answers
of multicast DNS have no question: their own names count, for every client, if they are `.local`. A
question of multicast DNS also says answers: those that the one who asks knows already.
`rows/remote_names.py` names the ends of conversations with these.
"""

from mt_pipeline.packets.names import host_name
from mt_pipeline.packets.said import Statements

ADDRESSES = "[a FOR a IN dns_a IF a <> '']"
"""SQL of the addresses that a packet says, IPv4 first. tshark writes empty ones between fields."""

_WITH_NAMES = "[t FOR t IN dns_resp_type IF t <> '33']"

RECORDS = f"""
CASE WHEN len(dns_resp_name) = len({_WITH_NAMES}) THEN list_zip(dns_resp_name, {_WITH_NAMES}) END
"""
"""SQL of the names and types of the records of DNS in a packet, but for those of SRV.

tshark shows the names of SRV in parts. NULL if names cannot be told apart, because of a comma in
one, or because tshark cut the values.
"""

_OWNERS = """
list_concat([r[1] FOR r IN records IF r[2] = '1'], [r[1] FOR r IN records IF r[2] = '28'])
"""

NAMED = f"""
SELECT *, CASE WHEN len(owners) = len(addresses) THEN list_zip(owners, addresses) END AS named
FROM (SELECT *, {_OWNERS} AS owners, {ADDRESSES} AS addresses
    FROM (SELECT *, {RECORDS} AS records FROM packets))
"""
"""SQL of `packets` with their records, addresses and pairs of name and address.

The pairs are NULL if it cannot be told which belongs to which.
"""

_IS_MULTICAST = "contains(frame_protocols[1], ':mdns')"

LOOKUPS = Statements(
    table="lookups",
    columns="""file INTEGER, time_us BIGINT, frame_number INTEGER, client VARCHAR, name VARCHAR,
        canonical VARCHAR, address VARCHAR""",
    said=f"""
WITH named AS ({NAMED})
SELECT file, time_us, whole_number(frame_number[1]), address_dst, asked,
    nullif({host_name("owner")}, asked), address
FROM (
    SELECT *, {host_name("dns_qry_name[1]")} AS asked, unnest(addresses) AS address,
        unnest(CASE WHEN named IS NOT NULL THEN owners END) AS owner
    FROM named)
WHERE asked IS NOT NULL AND address IS NOT NULL AND address_dst IS NOT NULL
    AND NOT {_IS_MULTICAST}
UNION ALL
SELECT file, time_us, whole_number(frame_number[1]), NULL, {host_name("pair[1]")}, NULL, pair[2]
FROM (SELECT *, unnest(named) AS pair FROM named WHERE {_IS_MULTICAST} AND dns_qry_name IS NULL)
WHERE {host_name("pair[1]")} LIKE '%_.local'
""",
    counts="FROM lookups",
    order="time_us, frame_number, client, name, address",
    fields=("dns_a",),
)
"""Answers of DNS: time in microseconds since 1970, packet, client, name, canonical name, address.

The client is NULL for multicast DNS, which answers everyone. The canonical name is NULL if it is
the name that was asked for, or not known.
"""
