"""What each panel must show: DuckDB's SQL over the tables of `reference.py`.

Packets `p`, flows `f` and `loads` are those that the variables and the time range of a dashboard
select. `every` has the selected flows of all times, `whole` all flows of the experiment. `{top}`,
`{step}`, `{limit}`,
`{start}` and `{end}` are filled in. Columns that are not here are not compared.
"""

from collections.abc import Mapping, Sequence

TIME = "time_bucket(INTERVAL '{step}', ts) AS time"
TOTAL = {"Bytes": "bytes_out + bytes_in", "Packets": "packets_out + packets_in"}
BYTES = "sum(bytes_out + bytes_in) AS bytes"
SUMS = f"{BYTES}, sum(packets_out + packets_in) AS packets"
WAYS = "sum(bytes_out) AS sent, sum(bytes_in) AS received"
SPAN = "min(first_ts) AS first, max(last_ts) AS last"
MILLISECONDS = (
    "(epoch_us(first) // 1000)::VARCHAR AS from_ms, (epoch_us(last) // 1000 + 1)::VARCHAR AS to_ms"
)
SECONDS = "(epoch_us(last) - epoch_us(first)) // 1000000 AS seconds"
BEST = "coalesce(remote_name, remote_organisation)"
OWNER = "coalesce(remote_domain, remote_organisation)"
TALKERS = (
    "local, device_local, remote, device_remote, "
    f"{OWNER} AS domain, app_tag AS application, geo_country AS country"
)
PLAIN = "dns mdns http llmnr ssdp dhcp ntp telnet ftp smtp".split()
PROTECTION = f"""CASE WHEN protocol IN ('tls', 'dtls', 'ssh') THEN protocol
    WHEN protocol IN ('quic', 'gquic') THEN 'quic'
    WHEN protocol IN {tuple(PLAIN)} THEN 'plain' ELSE 'not known' END"""
OUTSIDE = "direction IN ('outside', 'transit')"
LENGTHS = {
    64: "0-63",
    128: "64-127",
    256: "128-255",
    512: "256-511",
    1024: "512-1023",
    1519: "1024-1518",
    9000: "1519-8999",
    None: "9000 and more",
}
GAPS = {
    10: "below 10 µs",
    100: "10 µs",
    1000: "100 µs",
    10**4: "1 ms",
    10**5: "10 ms",
    10**6: "100 ms",
    10**7: "1 s",
    None: "10 s and more",
}
EGRESS = {
    "ALPN": "tls_alpn",
    "server name": "tls_sni",
    "protocol and port": "ip_proto || coalesce(' ' || port_dst, '')",
    "application of the address": "ip_dst_netify_app_tag",
    "category of the address": "ip_dst_netify_app_category_tag",
    "application of the server name": "tls_sni_netify_app_tag",
    "category of the server name": "tls_sni_netify_app_category_tag",
    "country": "ip_dst_netify_geo_country",
}


def most(name: str, value: str, source: str = "f", *by: str) -> str:
    """Return sums by name; names beyond the top are summed as (others)."""
    places = ", ".join(
        [
            *(column.rpartition(" AS ")[2] for column in by),
            "CASE WHEN name IN (FROM first) THEN name ELSE '(others)' END AS name",
        ]
    )
    columns = ", ".join([*by, f"coalesce({name}, '(none)') AS name", f"{value} AS value"])
    return f"""WITH g AS (SELECT {columns} FROM {source}),
        first AS (SELECT name FROM g GROUP BY name ORDER BY sum(value) DESC, name LIMIT {{top}})
        SELECT {places}, sum(value) AS value FROM g GROUP BY ALL"""


def ways(unit: str) -> str:
    """Return sums by name, sent and received in rows of their own."""
    parts = [
        f"SELECT ts, {BEST} AS best, '{way}' AS way, {unit}_{end} AS value "
        f"FROM f WHERE {unit}_{end} > 0"
        for way, end in (("egress", "out"), ("ingress", "in"))
    ]
    return most("best", "value", f"({' UNION ALL '.join(parts)})", TIME, "way")


def listed(
    by: str, what: str, *, where: str = "true", order: str, limit: str = "{top}", source: str = "f"
) -> str:
    """Return sums by some columns, the first ones."""
    return (
        f"SELECT {by}, {what} FROM {source} WHERE {where} "
        f"GROUP BY ALL ORDER BY {order} LIMIT {limit}"
    )


def counted(value: str, edges: Mapping[int | None, str], source: str) -> str:
    """Return counts of packets between edges."""
    cases = " ".join(f"WHEN {value} < {edge} THEN '{name}'" for edge, name in edges.items() if edge)
    bucket = f"CASE {cases} ELSE '{edges[None]}' END"
    return f"SELECT {bucket} AS bucket, count(*) AS packets FROM {source} GROUP BY bucket"


def elapsed(value: str, *, summed: bool) -> str:
    """Return sums by the time since the start of an experiment, running ones if `summed`."""
    so_far = "sum(sum(value)) OVER (PARTITION BY name ORDER BY time)" if summed else "sum(value)"
    return f"""WITH begun AS (SELECT experiment, epoch_us(date_trunc('second',
        min(first_ts))) AS begin FROM every GROUP BY experiment),
        e AS (SELECT time_bucket(INTERVAL '{{step}}', make_timestamp(epoch_us(ts) - begin)) AS time,
        experiment AS name, {value} AS value
            FROM every JOIN begun USING (experiment))
        SELECT time, name, {so_far} AS value FROM e GROUP BY time, name"""


def compared(column: str, name: str) -> str:
    """Return sums by experiment, and the number of experiments with each value."""
    return f"""SELECT experiment, {column} AS {name}, {SUMS},
        count(*) OVER (PARTITION BY {column}) AS experiments
        FROM every WHERE {column} IS NOT NULL GROUP BY experiment, {column}"""


def names(kinds: Mapping[str, str]) -> str:
    """Return names of several kinds."""
    parts = [
        f"SELECT '{kind}' AS kind, {column} AS name, count(DISTINCT ts) AS seconds, "
        f"{BYTES}, {SPAN} FROM f WHERE name IS NOT NULL GROUP BY name"
        for kind, column in kinds.items()
    ]
    return f"{' UNION ALL '.join(parts)} ORDER BY seconds DESC, kind, name LIMIT {{top}}"


def share(column: str) -> str:
    """Return the share of the bytes outside of the network that have a value."""
    value = f"CASE WHEN {column} IS NULL THEN 0 ELSE bytes_out + bytes_in END"
    return f"sum({value}) FILTER ({OUTSIDE}) / sum(bytes_out + bytes_in) FILTER ({OUTSIDE})"


TOTALS = f"""SELECT {SUMS}, sum(bytes_out) AS out, sum(bytes_in) AS "in",
    count(DISTINCT capture) AS captures,
    count(DISTINCT (capture, conversation)) AS conversations, count(DISTINCT remote) AS remotes,
    count(DISTINCT remote_name) AS names,
    count(DISTINCT app_tag) AS applications, count(DISTINCT geo_country) AS countries,
    {share("remote_name")} AS named, {share("app_tag")} AS explained
    FROM f"""
PLACES = listed(
    "geo_city AS city, geo_country AS country, geo_lat AS latitude, geo_lon AS longitude",
    f"{SUMS}, {WAYS}",
    where="geo_lat IS NOT NULL",
    order="sent DESC, country, city",
    limit="1000",
).replace("sum(bytes_out + bytes_in) AS bytes, ", "")
SEEN = f"""SELECT remote, {SUMS}, {SPAN}, max(app_tag) AS application,
    max({OWNER}) AS domain, max(geo_country) AS country
    FROM every WHERE direction = 'outside' GROUP BY remote
    HAVING first BETWEEN make_timestamp({{start}}) AND make_timestamp({{end}})"""
STAGES = ("seconds_tshark", "seconds_endpoints", "seconds_enrichment", "seconds_load")
ALL_STAGES = " + ".join(STAGES)
DONE = "FROM loads WHERE state = 'done'"

EXPERIMENT = {
    "Whole experiment": f"""SELECT *, {SECONDS}, {MILLISECONDS} FROM
        (SELECT experiment, {SPAN}, count(DISTINCT capture) AS captures, {SUMS} FROM whole
        GROUP BY experiment)""",
    "Totals": TOTALS,
    "Which application, which country, and when": f"""WITH g AS (SELECT {TIME}, coalesce(app_tag,
        '(none)') AS application,
        coalesce(geo_country, '(none)') AS country, {SUMS}, {WAYS}, {SPAN} FROM f
        WHERE {OUTSIDE} GROUP BY ALL)
        SELECT application, country, sum(bytes) AS bytes, sum(sent) AS sent,
        sum(received) AS received, min(first) AS first, max(last) AS last,
        arg_max(time, bytes) AS busiest FROM g GROUP BY application, country ORDER BY bytes DESC,
        application, country LIMIT {{top}}""",
    "Bytes by application and country": most(
        "coalesce(app_tag, '(none)') || ' → ' || coalesce(geo_country, '(none)')",
        TOTAL["Bytes"],
        f"(FROM f WHERE {OUTSIDE})",
        TIME,
    ),
    **{
        f"{unit} by {what}": most(column, total, "f", TIME)
        for unit, total in TOTAL.items()
        for what, column in {
            "direction": "direction",
            "application": "app_tag",
            "category": "app_category_tag",
            "protocol": "protocol",
        }.items()
    },
    **{f"{unit} by name, egress and ingress": ways(unit.lower()) for unit in TOTAL},
    "Top talkers": listed(
        TALKERS,
        f"{SUMS}, {WAYS}, count(DISTINCT (capture, conversation)) AS conversations, {SPAN}",
        order="bytes DESC, local, remote",
    ),
    "Applications": listed(
        "app_tag AS application",
        f"{SUMS}, {WAYS}, count(DISTINCT remote) AS remotes",
        where="app_tag IS NOT NULL",
        order="bytes DESC, application",
    ),
    "Names": listed(
        f"{BEST} AS name",
        f"{SUMS}, {WAYS}, count(DISTINCT remote) AS remotes",
        where=f"{BEST} IS NOT NULL",
        order="bytes DESC, name",
    ),
    "Places by bytes sent": PLACES,
    "Countries": listed(
        "coalesce(geo_country, '(none)') AS country",
        f"{SUMS}, {WAYS}, count(DISTINCT remote) AS remotes",
        order="bytes DESC, country",
        limit="300",
    ),
    "Cities": listed(
        "geo_city AS city, geo_country AS country",
        f"{SUMS}, {WAYS}, count(DISTINCT remote) AS remotes",
        where="geo_city IS NOT NULL",
        order="bytes DESC, city",
    ),
    "Application known": f"""SELECT CASE WHEN NOT {OUTSIDE} THEN 'within the network'
        WHEN app_source IS NULL THEN 'not known'
        ELSE 'known by ' || app_source END AS name, sum(bytes_out + bytes_in) AS value FROM f
        GROUP BY ALL""",
    "Remote ends known": f"""SELECT CASE WHEN NOT {OUTSIDE} THEN 'within the network'
        WHEN remote_name_source IS NOT NULL THEN 'named by ' || remote_name_source
        WHEN remote_organisation IS NOT NULL THEN 'owner alone'
        ELSE 'not known' END AS name, sum(bytes_out + bytes_in) AS value FROM f GROUP BY ALL""",
    "TLS, QUIC and plain": f"""SELECT {PROTECTION} AS name, sum(bytes_out + bytes_in) AS value
        FROM f GROUP BY ALL""",
    "TLS, QUIC and plain over time": most(PROTECTION, TOTAL["Bytes"], "f", TIME),
    "Protocols by bytes": most("protocol", TOTAL["Bytes"]),
    "Protocols by packets": most("protocol", TOTAL["Packets"]),
    "ALPN by bytes": most("tls_alpn", TOTAL["Bytes"]),
    **{
        title: listed(
            f"{column} AS name",
            f"count(DISTINCT ts) AS seconds, sum(packets_out + packets_in) AS packets, {SPAN}",
            where=f"{column} IS NOT NULL",
            order="seconds DESC, name",
        )
        for title, column in {"DNS names": "dns_name", "HTTP hosts": "http_host"}.items()
    },
    "New destinations": f"""SELECT time_bucket(INTERVAL '{{step}}', first) AS time,
        count(*) AS destinations FROM ({SEEN}) GROUP BY time""",
    "First and last seen": f"FROM ({SEEN}) ORDER BY first DESC, remote LIMIT {{top}}",
    "Frame lengths": counted("frame_len", LENGTHS, "p"),
    "Inter-arrival times": counted(
        "gap",
        GAPS,
        "(SELECT epoch_us(ts) - epoch_us(lag(ts) OVER (PARTITION BY capture ORDER BY ts)) AS gap "
        "FROM p QUALIFY gap IS NOT NULL)",
    ),
    **{
        f"Egress {unit} by {what}": most(column, value, "(FROM p WHERE ip_dst_type = 'PUBLIC')")
        for unit, value in {"bytes": "frame_len", "packets": "1"}.items()
        for what, column in EGRESS.items()
    },
    **{
        f"Egress bytes by {what}, over time": most(
            EGRESS[what], "frame_len", "(FROM p WHERE ip_dst_type = 'PUBLIC')", TIME
        )
        for what in ("application of the server name", "application of the address")
    },
}

HOST = {
    "Totals": TOTALS,
    "Experiments": f"""SELECT *, {MILLISECONDS} FROM
        (SELECT experiment, {SUMS}, {WAYS}, count(DISTINCT (capture,
        conversation)) AS conversations, {SPAN} FROM f GROUP BY experiment)""",
    **{
        f"{unit} out and in": f"""SELECT {TIME},
            sum({unit.lower()}_out) AS "out", sum({unit.lower()}_in) AS "in" FROM f GROUP BY ALL"""
        for unit in TOTAL
    },
    "Bytes by application": most("app_tag", TOTAL["Bytes"], "f", TIME),
    "Bytes by name": most(BEST, TOTAL["Bytes"], "f", TIME),
    "Ends": listed(TALKERS, f"{SUMS}, {WAYS}, {SPAN}", order="bytes DESC, local, remote"),
    "Protocols and ports": most(
        "coalesce(protocol, '(none)') || coalesce(' ' || port_remote, '')", TOTAL["Bytes"]
    ),
    "TLS, QUIC and plain": EXPERIMENT["TLS, QUIC and plain"],
    "Countries": most("geo_country", TOTAL["Bytes"]),
    "Names": names({"server name": "tls_sni", "DNS": "dns_name", "HTTP": "http_host"}),
    "Places by bytes sent": PLACES,
    "Conversations": listed(
        f"capture, conversation, protocol, local, port_local, remote, port_remote, {BEST} AS name",
        f"{SUMS}, {WAYS}, {SPAN}",
        order="bytes DESC, capture, conversation",
    ),
}

COMPARE = {
    "Experiments": f"""SELECT *, {SECONDS}, {MILLISECONDS}, bytes // greatest(seconds,
        1) AS bytes_per_second
        FROM (SELECT experiment, {SPAN}, {SUMS}, {WAYS}, count(DISTINCT capture) AS captures,
        count(DISTINCT remote) AS remotes,
        count(DISTINCT remote_name) AS names, count(DISTINCT app_tag) AS applications,
        count(DISTINCT geo_country) AS countries FROM every GROUP BY experiment)""",
    **{f"{unit} since the start": elapsed(total, summed=False) for unit, total in TOTAL.items()},
    **{f"{unit} so far": elapsed(total, summed=True) for unit, total in TOTAL.items()},
    **{
        f"{unit} by way": f"""SELECT experiment, sum({unit.lower()}_out) AS sent,
            sum({unit.lower()}_in) AS received FROM every GROUP BY ALL"""
        for unit in TOTAL
    },
    "Applications, by experiment": compared("app_tag", "application"),
    "Names, by experiment": compared(BEST, "name"),
    "Countries, by experiment": compared("geo_country", "country"),
    "Remote ends, by experiment": compared("remote", "remote"),
}

PACKETS = {
    "Found": """SELECT count(*) AS packets, sum(frame_len) AS bytes,
        count(DISTINCT capture) AS captures, min(ts) AS first, max(ts) AS last FROM p""",
    "Packets": """SELECT ts, capture, frame_number, coalesce(ip_src, ipv6_src) AS source, port_src,
        coalesce(ip_dst, ipv6_dst) AS destination, port_dst, ip_proto, protocol, stream_index,
        frame_len,
        nullif(tls_sni, 'Unknown') AS name, nullif(tls_alpn, 'Unknown') AS alpn, dns_name,
        http_host,
        nullif(tls_sni_netify_app_tag, 'Unknown') AS application_of_name,
        nullif(ip_dst_netify_app_tag, 'Unknown') AS application_of_destination,
        nullif(ip_src_netify_geo_country, 'Unknown') AS country_src,
        nullif(ip_dst_netify_geo_country, 'Unknown') AS country_dst,
        eth_src, eth_dst, device_src, device_dst, vlan_id FROM p ORDER BY ts, capture,
        frame_number LIMIT {limit}""",
}

PIPELINE = {
    "Captures as they are": """SELECT count(*) AS captures, sum((state = 'done')::INT) AS done,
        sum((state = 'failed')::INT) AS failed,
        sum(0) AS purged, sum(packets) AS packets, sum("rows") AS "rows", sum(flows) AS flows,
        sum(skipped) AS skipped,
        sum(bytes) AS bytes, sum(size) AS files FROM loads""",
    "Loads by outcome": f"SELECT {TIME}, state AS name, count(*) AS value FROM loads GROUP BY ALL",
    "Packets and rows": f"""SELECT {TIME}, sum(packets) AS packets, sum("rows") AS "rows",
        sum(skipped) AS skipped {DONE} GROUP BY ALL""",
    "Bytes": f"SELECT {TIME}, sum(bytes) AS bytes, sum(size) AS files {DONE} GROUP BY ALL",
    "Seconds per stage": f"""SELECT {TIME}, sum(seconds_tshark) AS tshark_json,
        sum(seconds_endpoints) AS endpoints,
        sum(seconds_enrichment) AS netify_enrichment,
        sum(seconds_load) AS questdb_packets {DONE} GROUP BY ALL""",
    "Packets a second": f"""SELECT ts AS time, capture AS name,
        packets / ({ALL_STAGES}) AS value {DONE}""",
    "Failures": """SELECT ts, capture, experiment, error, state AS now, run
        FROM loads WHERE state = 'failed'""",
    "Latest load of each capture": f"""SELECT ts, capture, experiment, state, packets, "rows",
        flows, skipped, bytes, size, endpoints,
        {", ".join(STAGES)}, first_packet, last_packet, error FROM loads ORDER BY ts DESC""",
    "Slowest loads": f"""SELECT ts, capture, experiment, packets, size, {ALL_STAGES} AS seconds,
        packets / ({ALL_STAGES}) AS packets_per_second,
        {", ".join(STAGES)} {DONE} ORDER BY seconds DESC LIMIT {{top}}""",
}

PANELS = {
    f"{dashboard}: {title}": sql
    for dashboard, panels in {
        **{
            "mt-experiment": EXPERIMENT,
            "mt-host": HOST,
            "mt-compare": COMPARE,
            "mt-packets": PACKETS,
            "mt-pipeline": PIPELINE,
        },
    }.items()
    for title, sql in panels.items()
}

ELSEWHERE: Sequence[str] = (
    "mt-packets: Cut them out",  # its commands are run in test_queries.py
    *(
        f"mt-pipeline: {title}"
        for title in ("Cache hits", "Calls a day and the budget", "Answers owed")
    ),  # test_answers.py
)
"""Panels that another test holds."""
