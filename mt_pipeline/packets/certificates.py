"""The names in certificates, which may name a server that no hello names.

Only TLS before 1.3 shows them. Wildcards and addresses are no names of a host. tshark says as many
names as fit into 2,047 bytes.
"""

from mt_pipeline.packets.names import host_name
from mt_pipeline.packets.said import Statements

CERTIFICATES = Statements(
    table="certificates",
    columns="""file INTEGER, is_tcp BOOLEAN, stream_index INTEGER, frame_number INTEGER,
        owner VARCHAR, name VARCHAR, names INTEGER""",
    said=f"""
SELECT file, tcp_at IS NOT NULL, stream, whole_number(frame_number[1]), address_src,
    host_names[1], len(list_distinct(host_names))
FROM (
    SELECT *, [n FOR n IN [{host_name("x")} FOR x IN dns_resp_name] IF contains(n, '.')]
        AS host_names
    FROM packets WHERE contains(frame_protocols[1], ':x509'))
WHERE len(host_names) > 0 AND stream IS NOT NULL
""",
    counts="""
FROM certificates QUALIFY 1 =
    row_number() OVER (PARTITION BY file, is_tcp, stream_index, owner ORDER BY frame_number)
""",
    order="frame_number, is_tcp, stream_index, owner",
    fields=("dns_resp_name",),
)
"""The first certificates that each end of a stream sent: its first name, and how many there are."""
