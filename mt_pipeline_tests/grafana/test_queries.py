"""Every query of every dashboard on a real QuestDB, as the plugin would send it, and its sums held against the typed packets."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg
import pytest

from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import in_time_order, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session
from mt_pipeline_tests.grafana.plugin import HOUR, Json, Query, Value, expand, queries
from mt_pipeline_tests.pipelines import Lab

FIRST, SECOND, BROKEN = "dashboards_one", "dashboards_two", "dashboards_broken"
HOSTILE = ("O'Brien", "%", "\\", "$", '"; DROP', "'); DROP TABLE flows; --", "${experiment}")
AWKWARD = """it's "all" of `it` for $HOME & more.pcapng"""
QUERIES = {str(query): query for query in queries()}


@dataclass(frozen=True)
class Loaded:
    """Two experiments that are loaded."""

    lab: Lab
    start: int
    end: int

    def ask(self, query: Query, *, escaped: bool = True, **values: Value) -> list[Mapping[str, object]]:
        """Ask as Grafana would on the first experiment, over all of its time."""
        with self.lab.database.connect() as connection:
            return connection.cursor(row_factory=psycopg.rows.dict_row).execute(self.written(query, escaped=escaped, **values)).fetchall()

    def columns(self, query: Query) -> set[str]:
        """Name the columns of the result, which are there without rows too."""
        with self.lab.database.connect() as connection:
            return {column.name for column in connection.execute(self.written(query)).description or ()}

    def written(self, query: Query, *, escaped: bool = True, **values: Value) -> bytes:
        """Write a query as QuestDB gets it."""
        span = {"mt-compare": (0, HOUR), "mt-pipeline": (0, 4_000_000_000_000_000)}.get(query.dashboard, (self.start, self.end))
        return expand(query.sql, start=span[0], end=span[1], escaped=escaped, **{"experiment": FIRST, **values}).encode()

    def named(self, title: str, **values: Value) -> list[Mapping[str, object]]:
        """Ask the query of this name."""
        return self.ask(QUERIES[title], **values)


@pytest.fixture(scope="module")
def loaded(lab: Lab) -> Loaded:
    folder = lab.inbox / FIRST
    folder.mkdir(parents=True)
    everything(folder / AWKWARD)
    names = ["www.netflix.com", "www.netflix.com", *HOSTILE]
    sessions = [tls_session(name, client_port=50_100 + number) for number, name in enumerate(names)]
    write_pcap(folder / "names.pcap", in_time_order([*sessions, dns("www.netflix.com")]))
    write_pcap((lab.inbox / f"{SECOND}.pcap"), in_time_order([tls_session("www.netflix.com"), dns()], start_ns=1_800_000_000_500_000_000))
    ran = lab.run(f"{FIRST}/{AWKWARD}", f"{FIRST}/names.pcap", f"{SECOND}.pcap", pipeline=lab.pipeline(enrichment="offline"))
    assert ran.success, ran.failure
    lab.put(f"{BROKEN}.pcap", b"no capture at all")
    assert not lab.run(f"{BROKEN}.pcap").success
    with lab.database.connect() as connection:
        times = "SELECT cast(min(first_ts) AS LONG), cast(max(last_ts) AS LONG) FROM flows WHERE experiment = %s"
        start, end = connection.execute(times, (FIRST,)).fetchone() or (0, 0)
    # Links have milliseconds: the range begins within the first second.
    return Loaded(lab, start // 1000 * 1000, end // 1000 * 1000 + 1000)


def counted(lab: Lab, what: str) -> dict[object, int]:
    """Count in the typed packets of the first experiment with DuckDB: of `what` the bytes."""
    one = duckdb.connect()
    totals: dict[object, int] = {}
    for folder in (lab.data / "endpoints" / FIRST).iterdir():
        [packets], [names] = folder.glob("*.packets.parquet"), folder.glob("*.names.parquet")
        [answers] = (lab.data / "enrichment" / FIRST / folder.name).glob("*.parquet")
        found = one.execute(
            f"""SELECT {what} AS what, sum(frame_len) FROM (SELECT p.*, tls_sni FROM read_parquet($packets) p
                LEFT JOIN read_parquet($names) n ON n.is_tcp = p.is_tcp AND n.stream_index = p.stream_index WHERE skipped IS NULL) p
            LEFT JOIN read_parquet($answers) s ON s.kind = 'address' AND s.endpoint = address_src
            LEFT JOIN read_parquet($answers) d ON d.kind = 'address' AND d.endpoint = address_dst
            LEFT JOIN read_parquet($answers) n ON n.kind = 'name' AND n.endpoint = rtrim(lower(tls_sni), '.') GROUP BY what""",
            {"packets": str(packets), "names": str(names), "answers": str(answers)},
        )
        for value, total in found.fetchall():
            totals[value] = totals.get(value, 0) + total
    return totals


def summed(rows: Iterable[Mapping[str, object]], key: str = "name", value: str = "value") -> dict[object, int]:
    totals: dict[object, int] = {}
    for row in rows:
        totals[row[key]] = totals.get(row[key], 0) + row[value]
    return totals


def named_in(panel: Json) -> set[str]:
    """Name the columns that overrides and links of a panel speak of."""
    if not panel:
        return set()
    overrides = panel["fieldConfig"]["overrides"]
    properties = [said for override in overrides for said in override["properties"] if said["id"] == "links"]
    links = "".join(link["url"] for said in properties for link in said["value"])
    # What differs from series to series is named by regular expressions; a name is that of a column.
    named = {override["matcher"]["options"] for override in overrides if override["matcher"]["id"] == "byName"}
    return named | {part.split(":")[0] for part in _fields(links)}


def _fields(links: str) -> list[str]:
    return [part.partition("}")[0] for part in links.split("${__data.fields.")[1:]]


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("escaped", [True, False], ids=["", "quotes as they are"])
def test_no_value_breaks_a_query_or_gets_out_of_its_quotes(loaded: Loaded, query: Query, escaped: bool):
    several = {name: list(HOSTILE) for name in ("capture", "direction", "app", "app_exclude", "sni", "sni_exclude", "protocol")}
    loaded.ask(
        query, escaped=escaped, experiment=[FIRST, *HOSTILE] if query.dashboard in ("mt-compare", "mt-host", "mt-pipeline") else FIRST, **several
    )
    for hostile in HOSTILE:
        values = {name: hostile for name in ("experiment", "capture", "app", "sni", "who")}
        assert query.kind == "variable" or not [row for row in loaded.ask(query, escaped=escaped, **values) if row.get("packets")]


@pytest.mark.parametrize("query", [query for query in QUERIES.values() if query.panel], ids=str)
def test_every_column_that_a_panel_names_is_in_its_result(loaded: Loaded, query: Query):
    assert not query.panel.get("transformations"), "they name columns too: hold them against the result here"
    assert named_in(query.panel) <= loaded.columns(query)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_an_experiment_without_anything_is_no_error(loaded: Loaded, query: Query):
    for row in loaded.ask(query, experiment="nobody_has_this"):
        assert query.kind in ("variable", "stat") or query.title == "Whole experiment", row


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_found_like_any_other(loaded: Loaded, name: str, escaped: bool):
    offered = [row["name"] for row in loaded.named("mt-experiment: sni")]
    [value] = [one for one in offered if one.replace("%22", '"') == name]
    told = QUERIES["mt-experiment: Totals"]
    [every], [alone] = loaded.ask(told, escaped=escaped), loaded.ask(told, escaped=escaped, sni=[value])
    [without] = loaded.ask(told, escaped=escaped, sni_exclude=["(nothing)", value])

    assert alone["packets"] == len(tls_session(name))
    assert every["bytes"] == alone["bytes"] + without["bytes"]
    [story] = loaded.ask(QUERIES["mt-host: Totals"], escaped=escaped, who=name)
    assert (story["packets"], story["bytes"]) == (alone["packets"], alone["bytes"])


def test_totals_are_those_of_the_packets(loaded: Loaded):
    [told] = loaded.named("mt-experiment: Totals")
    seconds = counted(loaded.lab, "epoch(date_trunc('second', ts))::BIGINT")

    assert told["bytes"] == told["out"] + told["in"] == sum(seconds.values())
    assert told["packets"] == len(loaded.lab.rows(FIRST))
    for title in ("direction", "application", "category", "protocol", "server name, egress and ingress"):
        rows = loaded.named(f"mt-experiment: Bytes by {title}", top="5")
        assert {int(time.timestamp() - time.astimezone().utcoffset().total_seconds() * 0): value for time, value in _utc(rows).items()} == seconds
        assert sum(row["value"] for row in loaded.named(f"mt-experiment: Packets by {title}", top="5")) == told["packets"]
    [whole] = loaded.named("mt-experiment: Whole experiment")
    assert (whole["bytes"], whole["packets"]) == (told["bytes"], told["packets"])


def _utc(rows: Iterable[Mapping[str, object]]) -> dict:
    from datetime import UTC

    return {time.replace(tzinfo=UTC): value for time, value in summed(rows, "time").items()}


def test_applications_and_countries_have_the_bytes_of_their_packets(loaded: Loaded):
    public = "(s.endpoint IS NULL) <> (d.endpoint IS NULL)"
    applications = counted(loaded.lab, f"CASE WHEN {public} THEN coalesce(n.app_tag, s.app_tag, d.app_tag) END")
    countries = counted(loaded.lab, f"CASE WHEN {public} THEN coalesce(s.geo_country, d.geo_country) END")
    applications.pop(None)
    countries.pop(None)

    assert "netflix" in applications
    assert countries
    outside = {"direction": ["outside"], "top": "100"}
    assert summed(loaded.named("mt-experiment: Applications", **outside), "application", "bytes") == applications
    told = summed(loaded.named("mt-experiment: Countries", **outside), "country", "bytes")
    assert {name: total for name, total in told.items() if name != "(none)"} == countries
    over_time = summed(loaded.named("mt-experiment: Bytes by application", **outside))
    assert {name: over_time[name] for name in applications} == applications


def test_what_is_beyond_the_top_is_others_and_nothing_is_lost(loaded: Loaded):
    for title in ("Protocols by bytes", "Egress bytes by server name"):
        few, many = (summed(loaded.named(f"mt-experiment: {title}", top=top)) for top in ("5", "100"))
        assert len(few) == 6
        assert "(others)" in few
        assert sum(few.values()) == sum(many.values())


def test_the_pipeline_tells_what_the_ledger_knows(loaded: Loaded):
    records = [loaded.lab.record(f"{FIRST}/{name}") for name in (AWKWARD, "names.pcap")]
    wanted = {
        "captures": len(records),
        "done": len(records),
        "failed": 0,
        "packets": sum(record.packets or 0 for record in records),
        "rows": sum(record.rows or 0 for record in records),
        "skipped": sum(sum(record.skipped.values()) for record in records if record.skipped),
        "files": sum(record.size for record in records),
        "bytes": loaded.named("mt-experiment: Totals")[0]["bytes"],
    }

    [told] = loaded.named("mt-pipeline: Captures as they are")
    assert {name: told[name] for name in wanted} == wanted
    assert wanted["rows"] == len(loaded.lab.rows(FIRST)) == wanted["packets"] - wanted["skipped"]
    [loads] = [summed(loaded.named("mt-pipeline: Loads by outcome"))]
    assert loads == {"done": len(records)}
    over_time = [*loaded.named("mt-pipeline: Packets and rows"), *loaded.named("mt-pipeline: Bytes")]
    for name in ("packets", "rows", "skipped", "bytes", "files"):
        assert sum(row[name] for row in over_time if name in row) == wanted[name], name
    latest = {
        row["capture"]: (row["state"], row["packets"], row["rows"], row["size"]) for row in loaded.named("mt-pipeline: Latest load of each capture")
    }
    assert latest == {record.key: ("done", record.packets, record.rows, record.size) for record in records}


def test_the_pipeline_tells_what_failed_and_why(loaded: Loaded):
    record = loaded.lab.record(f"{BROKEN}.pcap")
    [failure] = loaded.named("mt-pipeline: Failures", experiment=[record.experiment])
    both = loaded.named("mt-pipeline: Captures as they are", experiment=[FIRST, record.experiment])

    assert (failure["capture"], failure["now"], failure["error"]) == (record.key, "failed", record.error)
    assert [(told["captures"], told["done"], told["failed"]) for told in both] == [(3, 2, 1)]
    assert not loaded.named("mt-pipeline: Failures")


def test_experiments_are_laid_over_each_other_from_their_first_second(loaded: Loaded):
    rows = loaded.named("mt-compare: Bytes since the start", experiment=[FIRST, SECOND])
    totals = summed(loaded.named("mt-compare: Experiments", experiment=[FIRST, SECOND]), "experiment", "bytes")

    assert summed(rows) == totals
    for name in (FIRST, SECOND):
        assert min(row["time"].timestamp() for row in rows if row["name"] == name) == min(row["time"].timestamp() for row in rows)
    so_far = {row["name"]: row["value"] for row in loaded.named("mt-compare: Bytes so far", experiment=[FIRST, SECOND])}
    assert so_far == totals


@pytest.mark.parametrize(("capture", "values"), [("names.pcap", {"who": "www.netflix.com", "protocol": ["tls"]}), (AWKWARD, {})])
def test_the_commands_cut_exactly_the_packets_that_are_shown(loaded: Loaded, tmp_path: Path, capture: str, values: Mapping[str, Value]):
    key = f"{FIRST}/{capture}"
    chosen = {"capture": [key.replace('"', "%22")], **values}
    shown = [(row["capture"], row["frame_number"]) for row in loaded.named("mt-packets: Packets", **chosen)]
    [cut] = loaded.named("mt-packets: Cut them out", **chosen)

    assert {name for name, _ in shown} == {key}
    for command in (cut["tshark"], cut["editcap"]):
        out = tmp_path / "out.pcapng"
        out.unlink(missing_ok=True)
        subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True, capture_output=True)
        assert packets_of(out) == packets_of(loaded.lab.inbox / key, cut["display_filter"])
        assert len(packets_of(out)) == len(shown)


def packets_of(capture: Path, display_filter: str = "") -> list[str]:
    command = ["tshark", "-r", str(capture), "-Y", display_filter, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
