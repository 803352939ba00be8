"""`mt-pipeline export`, `cut`, `compare` and `coverage`: files, messages, exit statuses."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from mt_pipeline.api.coverage import DIMENSIONS
from mt_pipeline.api.export import METADATA
from mt_pipeline.api.session import Session
from mt_pipeline_tests.api.parts import BOTH, HOSTILE, load_both, sessions
from mt_pipeline_tests.frames.parts import parse
from mt_pipeline_tests.pipelines import Lab, Result

Terminal = Callable[..., Result]


@pytest.fixture(scope="module")
def opened(lab: Lab) -> Session:
    load_both(lab, "asked")
    lab.put("small/a.pcap")
    assert lab.run("small/a.pcap", workspace=lab.workspace(backends=BOTH)).success
    return sessions(lab)["questdb"]


@pytest.mark.usefixtures("opened")
def test_cut_writes_a_file_and_says_how_many_packets_it_has(terminal: Terminal, tmp_path: Path):
    output = tmp_path / "tls.pcapng"

    done = terminal("cut", "Asked", "--where", "protocol = tls", "--output", output)

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{output}: {len(parse(output).frames)} packets of 4 captures, ")
    again = terminal("cut", "asked", "--output", output)
    assert (again.code, again.err) == (
        1,
        f"mt-pipeline: {output} is there: it stays as it is; "
        "name another file, or replace it by --force\n",
    )
    assert terminal("cut", "asked", "--output", output, "--force").code == 0


@pytest.mark.usefixtures("opened")
def test_a_cut_of_several_link_types_says_who_reads_it(terminal: Terminal, tmp_path: Path):
    done = terminal("cut", "asked", "--output", tmp_path / "a.pcapng")

    assert done.code == 0
    assert "its packets are of several link types (" in done.err
    assert "tcpdump and other programs of libpcap do not" in done.err
    each = terminal("cut", "asked", "--each", "--output", tmp_path / "each")
    assert (each.code, len(each.out.splitlines())) == (0, 4)
    assert len(list((tmp_path / "each").iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("cut", "asked", "--where", "protocl = tls"), 2, "did you mean 'protocol'?"),
        (("cut", "asked", "--where", "protocol ="), 2, "needs a value after 'protocol ='"),
        (("cut", "asked", "--where", ""), 2, "it is empty"),
        (("cut", "asked", "--since", "soon"), 2, "since is no time: 'soon'"),
        (("cut", "askd"), 1, "did you mean 'asked'?"),
        (("cut", "asked", "--where", "protocol = x"), 1, "no packet of asked is chosen"),
        (("export", "asked"), 2, "must end with one of .csv, .parquet, .jsonl"),
    ],
)
@pytest.mark.usefixtures("opened")
def test_what_cannot_be_is_one_line_and_writes_nothing(
    terminal: Terminal, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
):
    done = terminal(*arguments, "--output", tmp_path / "a.pcapng")

    assert (done.code, done.out, said in done.err) == (code, "", True), done.err
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_export_writes_every_row_with_hostile_names_and_what_made_them(
    opened: Session, terminal: Terminal, tmp_path: Path
):
    rows = opened.flows("asked").arrow()
    for ending in ("csv", "parquet", "jsonl"):
        output = tmp_path / f"a.{ending}"
        done = terminal("export", "asked", "--output", output)
        assert (done.code, done.err) == (0, "")
        assert done.out == f"{output}: {rows.num_rows:,} rows of flows_asked\n"

    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        names = [row["tls_sni"] for row in csv.DictReader(file)]
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().split("\n")[:-1]]
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert [name.removeprefix("'") for name in names] == [
        name or "" for name in rows["tls_sni"].to_pylist()
    ]
    assert not [name for name in names if name.startswith(("=", "+", "-", "@"))]
    assert [line["tls_sni"] for line in lines] == rows["tls_sni"].to_pylist()
    assert table.replace_schema_metadata() == rows
    assert set(rows["tls_sni"].to_pylist()) >= set(HOSTILE)
    made = json.loads(table.schema.metadata[METADATA])
    assert [len(capture["sha256"]) for capture in made["captures"]] == [64] * 4
    assert {capture["tshark"] for capture in made["captures"]} == {made["captures"][0]["tshark"]}
    assert made["captures"][0]["tshark"].count(".") == 2
    assert set(made["captures"][0]["providers"]) == {"offline"}


@pytest.mark.usefixtures("opened")
def test_export_takes_times_conditions_and_columns(terminal: Terminal, tmp_path: Path):
    output = tmp_path / "a.csv"

    done = terminal(
        *("export", "asked", "--packets", "--columns", "frame_number, capture", "--where"),
        *("tls_sni = '(none)'", "--since", "2023-11-14", "--until", "2023-11-15"),
        *("--output", output),
    )

    assert done.code == 0
    assert output.read_text().splitlines()[0] == '"frame_number","capture"'
    assert len(output.read_text().splitlines()) > 2


def test_compare_lists_what_differs_and_json_has_all(opened: Session, terminal: Terminal):
    done = terminal("compare", "small", "asked", "--json")
    compared = json.loads(done.out)
    names = {line["value"]: line["change"] for line in compared["dimensions"]["server name"]}
    assert (done.code, done.err, names["(none)"]) == (0, "", "new")
    total = sum(
        row["bytes_in"] + row["bytes_out"] for row in opened.flows("asked").arrow().to_pylist()
    )
    assert compared["total"]["b"]["bytes"] == total
    for lines in compared["dimensions"].values():
        assert sum(line["b"]["bytes"] for line in lines) == total

    shown = terminal("compare", "small", "asked")
    assert shown.out.splitlines()[1].startswith("small (A) and asked (B)")
    assert "server name\n" in shown.out
    assert "more: --all shows them" in shown.out
    assert "more: --all" not in terminal("compare", "small", "asked", "--all").out


def test_coverage_counts_what_is_known_of_public_ends_and_all_else(
    opened: Session, terminal: Terminal
):
    done = terminal("coverage", "asked", "--json")
    covered = json.loads(done.out)
    flows = [
        row
        for row in opened.flows("asked").arrow().to_pylist()
        if row["direction"] in ("outside", "transit")
    ]
    total = sum(row["bytes_in"] + row["bytes_out"] for row in flows)
    assert covered["total"]["bytes"] == total > 0
    for name, column in DIMENSIONS.items():
        expected: dict[object, int] = {}
        for row in flows:
            length = row["bytes_in"] + row["bytes_out"]
            expected[row[column]] = expected.get(row[column], 0) + length
        found = {part["value"]: part["bytes"] for part in covered["dimensions"][name]}
        assert found == expected, name
    assert {part["value"] for part in covered["dimensions"]["name, by source"]} >= {
        "server_name",
        "dns",
        None,
    }

    shown = terminal("coverage", "asked").out.splitlines()
    assert shown[0] == f"asked: {total:,} bytes with public addresses"
    assert "name, by source" in shown
    assert terminal("coverage", "nothing").code == 1
