"""Documents that have expired go, and all that needs no documents works as before."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mt_pipeline.definitions import build_defs
from mt_pipeline.defs.verification import differences
from mt_pipeline.questdb.server import Server
from mt_pipeline_tests.pipelines import PACKETS, Lab, files_below, open_lab

KEY = "expired/a.pcap"


def expired(lab: Lab, days: float | None) -> dict[str, object]:
    job = build_defs(pipeline=lab.pipeline(keep_documents_days=days)).resolve_job_def("expire_documents")
    [output] = [event for event in job.execute_in_process(instance=lab.instance).all_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    return {name: value.value for name, value in output.step_output_data.metadata.items()}


@pytest.fixture
def own(questdb: Server, tmp_path: Path) -> Iterator[Lab]:
    """A data folder of its own: everything in it expires."""
    with open_lab(tmp_path / "data", questdb) as opened:
        yield opened


def test_documents_go_when_they_have_expired_and_not_before(own: Lab):
    own.put(KEY)
    assert own.run(KEY).success
    documents = files_below(own.data / "tshark_json" / "expired")
    assert len(documents) == 1

    assert expired(own, None) == {"captures": 0, "bytes": 0}
    assert expired(own, 1)["captures"] == 0
    assert files_below(own.data / "tshark_json" / "expired") == documents
    assert expired(own, 0)["captures"] == 1

    assert files_below(own.data / "tshark_json" / "expired") == []
    assert [found for found in differences(own.pipeline(keep_documents_days=0)) if found.key == KEY] == []
    assert [found.key for found in differences(own.pipeline()) if found.key == KEY] == [KEY]
    assert own.run(KEY, stages=("endpoints", "netify_enrichment", "questdb_packets")).success
    assert len(own.rows("expired")) == PACKETS
    assert own.run(KEY).success
    assert files_below(own.data / "tshark_json" / "expired") == documents
