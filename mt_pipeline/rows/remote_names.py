"""The best name of the remote end of each conversation, and where it comes from.

What the conversation says comes first: its server name, then its HTTP host. Then comes what DNS
answered about the address: the last answer to the same client before the conversation began, else
the last one to another client, else the first one after it began.
"""

SOURCES = ("server_name", "http_host", "dns", "dns_other_client", "dns_later")
"""Values of `remote_name_source`, the surest first."""

# How many names DNS had given for an address by then: to this client, to all, and in the end.
ANSWERED = """
CREATE TEMP TABLE answered AS
SELECT * EXCLUDE (is_new, is_new_to_client),
    sum(is_new_to_client) OVER (PARTITION BY address, client ORDER BY time_us, frame_number)
        ::INTEGER AS names_to_client,
    sum(is_new) OVER (PARTITION BY address ORDER BY time_us, frame_number)::INTEGER AS names_to_all,
    sum(is_new) OVER (PARTITION BY address)::INTEGER AS names
FROM (
    SELECT *,
        (row_number() OVER (PARTITION BY address, name ORDER BY time_us, frame_number) = 1)
            ::INTEGER AS is_new,
        (row_number() OVER (PARTITION BY address, client, name ORDER BY time_us, frame_number) = 1)
            ::INTEGER AS is_new_to_client
    FROM read_parquet($lookups))
"""
"""SQL that makes the table `answered` of the answers of DNS."""

# A client that is named by a hello would be named after its server, so only who serves gets it:
# the end with the lower port.
NAMED = """
SELECT c.*,
    coalesce(spoken_sni, spoken_host, same.name, other.name, later.name) AS remote_name,
    CASE WHEN spoken_sni IS NOT NULL THEN 'server_name'
        WHEN spoken_host IS NOT NULL THEN 'http_host'
        WHEN same.name IS NOT NULL THEN 'dns'
        WHEN other.name IS NOT NULL THEN 'dns_other_client'
        WHEN later.name IS NOT NULL THEN 'dns_later' END AS remote_name_source,
    CASE WHEN coalesce(spoken_sni, spoken_host) IS NOT NULL THEN 1
        ELSE coalesce(same.names_to_client, other.names_to_all, later.names) END AS remote_names,
    registrable_domain(remote_name) AS remote_domain
FROM (
    SELECT *,
        CASE WHEN remote_port <= local_port THEN sni END AS spoken_sni,
        CASE WHEN remote_port <= local_port THEN host END AS spoken_host
    FROM placed) c
ASOF LEFT JOIN answered same ON c.remote_address = same.address
    AND c.local_address = same.client AND c.began_us >= same.time_us
ASOF LEFT JOIN answered other ON c.remote_address = other.address AND c.began_us >= other.time_us
ASOF LEFT JOIN answered later ON c.remote_address = later.address AND c.began_us < later.time_us
"""
"""SQL of the conversations `placed` with the names of their remote ends."""
