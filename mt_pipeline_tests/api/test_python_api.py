"""What `import mt_pipeline as mt` gives: quick to import, whole sums, and a notebook that runs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mt_pipeline as mt
from mt_pipeline import python_api
from mt_pipeline.api.session import Session
from mt_pipeline.backends.loads import Unreachable
from mt_pipeline.captures.lookup import UnknownNameError
from mt_pipeline.pipeline.session import Incomplete, session
from mt_pipeline.settings import PROJECT
from mt_pipeline_tests.api.parts import BOTH, load_both, sessions
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import dns, tls_session
from mt_pipeline_tests.pipelines import Lab, environment

EXPERIMENT = "kitchen"


@pytest.fixture(scope="module")
def opened(lab: Lab) -> dict[str, Session]:
    load_both(lab, EXPERIMENT)
    path = lab.inbox / "other" / "a.pcap"
    path.parent.mkdir()
    write_pcap(path, timed([*dns("new.example.com"), *tls_session("same.example.com")]))
    assert lab.run("other/a.pcap", workspace=lab.workspace(backends=BOTH)).success
    return sessions(lab)


@pytest.fixture
def _settings(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in environment(lab.settings()).items():
        monkeypatch.setenv(name, value)
    python_api._default.cache_clear()
    yield
    python_api._default.cache_clear()


def test_the_import_loads_nothing_and_no_question_loads_dagster():
    code = """
import sys
before = set(sys.modules)
import mt_pipeline as mt
heavy = ("pyarrow", "pandas", "mt_pipeline.")
print(sorted(name for name in set(sys.modules) - before if name.startswith(heavy)))
mt.flows, mt.captures, mt.packets, mt.cut, mt.col("a") == 1
import mt_pipeline.captures.inbox, mt_pipeline.packets.typed
print(mt_pipeline.captures.inbox.__name__, callable(mt.captures), callable(mt.packets))
print("dagster" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "mt_pipeline.captures.inbox True True", "False"]
    with pytest.raises(AttributeError, match="has no attribute 'flow'"):
        mt.flow  # noqa: B018
    assert set(mt.__all__) - {"__version__"} == set(python_api.__all__)


@pytest.mark.usefixtures("opened", "_settings")
def test_the_functions_ask_the_data_folder_of_the_settings():
    experiments = mt.experiments().df().set_index("experiment")
    captures = mt.captures("Kitchen").arrow().to_pylist()

    assert experiments.loc["kitchen", "captures"] == 4
    assert experiments.loc["kitchen", "rows"] == len(mt.packets("kitchen").df())
    assert [capture["state"] for capture in captures] == ["done"] * 4
    assert all(len(capture["sha256"]) == 64 for capture in captures)
    flows = mt.flows("kitchen", columns=["ts", "bytes_in", "port_remote"])
    assert str(flows.df().dtypes["port_remote"]) == "Int32"
    assert sum(batch.num_rows for batch in flows) == flows.arrow().num_rows > 0
    assert "bytes_in" in repr(flows)
    with pytest.raises(UnknownNameError, match="did you mean 'kitchen'"):
        mt.flows("kitchn")
    with pytest.raises(mt.WhereError, match="did you mean 'bytes_in'"):
        mt.flows("kitchen", columns=["byte_in"])


@pytest.mark.parametrize("backend", BOTH)
def test_a_comparison_is_whole_and_says_what_is_new_and_gone(
    opened: dict[str, Session], backend: str
):
    session = opened[backend]
    compared = session.compare("kitchen", "other")
    rows = {name: session.flows(name).arrow().to_pylist() for name in ("kitchen", "other")}

    whole = {name: sum(row["bytes_in"] + row["bytes_out"] for row in rows[name]) for name in rows}
    assert (compared.total.a.bytes, compared.total.b.bytes) == tuple(whole.values())
    for name, lines in compared.dimensions.items():
        assert sum(line.a.bytes for line in lines if line.a) == whole["kitchen"], name
        assert sum(line.b.bytes for line in lines if line.b) == whole["other"], name
        sizes = [abs(line.difference.bytes) for line in lines]
        assert sizes == sorted(sizes, reverse=True)
    names = {line.value: line.change for line in compared.dimensions["server name"]}
    assert names["same.example.com"] == "less"
    assert names["(none)"] == "gone"
    assert None in names
    assert compared.rows().arrow().num_rows == sum(map(len, compared.dimensions.values()))
    assert compared == opened[BOTH[1 - BOTH.index(backend)]].compare("kitchen", "other")


def test_parquet_answers_for_a_questdb_that_does_not_run_if_it_has_all(
    lab: Lab, opened: dict[str, Session]
):
    away = {"questdb_pg_port": 1, "questdb_http_port": 1}
    asked = session(lab.workspace(backends=BOTH, **away))
    assert asked.flows("kitchen").arrow() == opened["questdb"].flows("kitchen").arrow()

    lab.put("half/a.pcap")
    assert lab.run("half/a.pcap", workspace=lab.workspace(backends=("questdb",))).success
    with pytest.raises(Unreachable, match="QuestDB does not answer"):
        asked.flows("half").arrow()
    with pytest.raises(Incomplete, match="1 captures of half are not in data/parquet"):
        session(lab.workspace(backends=("parquet",))).flows("half").arrow()


@pytest.mark.usefixtures("opened", "_settings")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((PROJECT / "docs/how-to/questions.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}

    for cell in cells:
        exec(cell, names)  # noqa: S102

    assert len(cells) >= 6
    assert all(not cell.get("outputs") for cell in notebook["cells"])
    assert names["written"].packets > 0
