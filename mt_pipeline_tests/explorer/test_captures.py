"""The explorer says which captures are not in view, and why."""

from urllib.parse import urlencode

import pytest

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.explorer.captures import captures
from mt_pipeline.explorer.listing import Links, experiments
from mt_pipeline.explorer.state import parse
from mt_pipeline_tests.building.odd import GARBAGE
from mt_pipeline_tests.explorer.loaded import FIRST, SECOND, Loaded
from mt_pipeline_tests.pipelines import PACKETS

NAME = "not_all"


@pytest.fixture(scope="module")
def partly(loaded: Loaded) -> str:
    """Load an experiment with a capture that fails, and a file that is refused."""
    lab = loaded.lab
    lab.put(f"{NAME}/good.pcap")
    (lab.inbox / NAME / "bad.pcap").write_bytes(GARBAGE)
    workspace = lab.workspace(backends=("parquet",), enrichment="offline")
    assert not lab.run(f"{NAME}/good.pcap", f"{NAME}/bad.pcap", workspace=workspace).success
    text = lab.inbox / NAME / "notes.txt"
    text.write_text("no capture")
    refused = capture_at(lab.inbox, f"{NAME}/notes.txt")
    workspace.ledger.refuse(refused, "notes.txt is no capture: move it elsewhere")
    return NAME


def test_what_was_refused_or_failed_comes_first_with_its_reason(loaded: Loaded, partly: str):
    store = loaded.store("parquet")
    found = captures(store.session, parse(urlencode({"e": partly, "vs": SECOND})).view)

    assert found["states"] == {"refused": 1, "failed": 1, "done": 2}
    refused, failed, *loaded_ones = found["rows"]
    assert (refused["capture"], refused["state"]) == (f"{partly}/notes.txt", "refused")
    assert refused["reason"] == "notes.txt is no capture: move it elsewhere"
    assert (failed["capture"], failed["state"]) == (f"{partly}/bad.pcap", "failed")
    assert "bad.pcap" in failed["reason"]
    assert [row["capture"] for row in loaded_ones] == [f"{SECOND}.pcap", f"{partly}/good.pcap"]
    assert (loaded_ones[1]["packets"], loaded_ones[1]["reason"]) == (PACKETS, None)


def test_the_list_of_experiments_counts_them(loaded: Loaded, partly: str):
    listed = experiments(loaded.store("parquet"), Links())["experiments"]
    by_name = {each["name"]: each for each in listed}

    counts = [by_name[partly][name] for name in ("captures", "loaded", "failed", "refused")]
    assert counts == [2, 1, 1, 1]
    assert by_name[FIRST]["failed"] == by_name[FIRST]["refused"] == 0
