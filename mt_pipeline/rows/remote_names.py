"""The best name of the remote end of each conversation, and where it comes from.

What the conversation says comes first: its server name, then its HTTP host. Then comes what DNS
answered about the address: the last answer to the same client before the conversation began, else
the last one to everyone, by multicast, else the last one to another client, else the first one
after it began. Then comes the certificate of the server: of its names the first may be another one.
The reverse name that a provider gives for the address comes last: often it names a machine alone.
"""

from mt_pipeline.packets.names import host_name

SOURCES = (
    "server_name",
    "http_host",
    "dns",
    "mdns",
    "dns_other_client",
    "dns_later",
    "certificate",
    "reverse",
)
"""Values of `remote_name_source`, the surest first."""

# How many names DNS had given for an address by then: to this client, to all, and in the end.
# Multicast DNS answers a client that is NULL.
ANSWERED = """
CREATE TEMP TABLE answered AS
SELECT * EXCLUDE (is_new, is_new_to_client),
    sum(is_new_to_client) OVER (PARTITION BY file, address, client ORDER BY time_us, frame_number)
        ::INTEGER AS names_to_client,
    sum(is_new) OVER (PARTITION BY file, address ORDER BY time_us, frame_number)::INTEGER
        AS names_to_all,
    sum(is_new) OVER (PARTITION BY file, address)::INTEGER AS names
FROM (
    SELECT *,
        (row_number() OVER (PARTITION BY file, address, name ORDER BY time_us, frame_number) = 1)
            ::INTEGER AS is_new,
        (row_number() OVER (
            PARTITION BY file, address, client, name ORDER BY time_us, frame_number) = 1)
            ::INTEGER AS is_new_to_client
    FROM (SELECT *, file_index::INTEGER AS file FROM read_parquet($lookups)))
"""
"""SQL that makes the table `answered` of the answers of DNS."""

# A client that is named by a hello would be named after its server, so only who serves gets it:
# the end with the lower port.
NAMED = f"""
SELECT c.*,
    coalesce(spoken_sni, spoken_host, same.name, everyone.name, other.name, later.name,
        certified.name, reverse) AS remote_name,
    CASE WHEN spoken_sni IS NOT NULL THEN 'server_name'
        WHEN spoken_host IS NOT NULL THEN 'http_host'
        WHEN same.name IS NOT NULL THEN 'dns'
        WHEN everyone.name IS NOT NULL THEN 'mdns'
        WHEN other.name IS NOT NULL THEN 'dns_other_client'
        WHEN later.name IS NOT NULL THEN 'dns_later'
        WHEN certified.name IS NOT NULL THEN 'certificate'
        WHEN reverse IS NOT NULL THEN 'reverse' END AS remote_name_source,
    CASE WHEN coalesce(spoken_sni, spoken_host) IS NOT NULL THEN 1
        ELSE coalesce(same.names_to_client, everyone.names_to_client, other.names_to_all,
            later.names, certified.names, CASE WHEN reverse IS NOT NULL THEN 1 END)
        END AS remote_names,
    CASE remote_name WHEN same.name THEN same.canonical WHEN other.name THEN other.canonical
        WHEN later.name THEN later.canonical END AS remote_canonical_name,
    registrable_domain(remote_name) AS remote_domain
FROM (
    SELECT *,
        CASE WHEN remote_port <= local_port THEN sni END AS spoken_sni,
        CASE WHEN remote_port <= local_port THEN host END AS spoken_host,
        {host_name("reverse_name")} AS reverse
    FROM placed) c
ASOF LEFT JOIN answered same ON c.file = same.file AND c.remote_address = same.address
    AND c.local_address = same.client AND c.began_us >= same.time_us
ASOF LEFT JOIN (FROM answered WHERE client IS NULL) everyone
    ON c.file = everyone.file AND c.remote_address = everyone.address
    AND c.began_us >= everyone.time_us
ASOF LEFT JOIN (FROM answered WHERE client IS NOT NULL) other
    ON c.file = other.file AND c.remote_address = other.address AND c.began_us >= other.time_us
ASOF LEFT JOIN answered later
    ON c.file = later.file AND c.remote_address = later.address AND c.began_us < later.time_us
LEFT JOIN read_parquet($certificates) certified
    ON c.file = certified.file_index AND c.stream_index = certified.stream_index
    AND (c.ip_proto = 'TCP') = certified.is_tcp AND c.remote_address = certified.owner
    AND c.remote_port <= c.local_port
"""
"""SQL of the conversations `placed` with the names of their remote ends."""
