"""A capture without Dagster: from the inbox to counted rows, with a plain observer."""

import json
import subprocess
import sys

from mt_pipeline.captures.records import State
from mt_pipeline_tests.pipelines import PACKETS, STAGES, Lab, environment

SCRIPT = """
import importlib, json, pkgutil, sys
from mt_pipeline import pipeline, settings
from mt_pipeline.pipeline.batch import run_captures
from mt_pipeline.pipeline.observer import RowsLoaded
from mt_pipeline.pipeline.run import Run
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline_tests.observers import Memory

for module in pkgutil.iter_modules(pipeline.__path__, "mt_pipeline.pipeline."):
    importlib.import_module(module.name)
observer, workspace = Memory(), Workspace(settings.load().options())
with Run(workspace, observer, id="a script") as run:
    failures = run_captures(run, sys.argv[1:])
print(json.dumps({
    "failures": [failure.reason for failure in failures],
    "stages": [(done.key, done.asset) for done in observer.stages],
    "rows": [done.stored.rows for done in observer.stages if isinstance(done, RowsLoaded)],
    "dagster": [name for name in sys.modules if name.partition(".")[0].startswith("dagster")],
}))
"""


def test_a_script_takes_captures_from_the_inbox_to_counted_rows(lab: Lab):
    keys = ["no dagster/a.pcap", "no dagster/b.pcap", "no dagster/broken.pcap"]
    for key in keys[:2]:
        lab.put(key)
    lab.put(keys[2], b"this is no capture")

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *keys],
        env=environment(lab.settings(), MT_BACKENDS="questdb,parquet"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["dagster"] == []
    [reason] = result["failures"]
    assert reason.startswith(keys[2])
    for key in keys[:2]:
        assert [stage for of, stage in result["stages"] if of == key] == list(STAGES)
        record = lab.record(key)
        assert (record.state, record.run, record.rows) == (State.DONE, "a script", PACKETS)
    assert result["rows"] == [PACKETS, PACKETS]
    assert lab.record(keys[2]).state is State.FAILED
    assert lab.rows("no_dagster", ("capture", "frame_number")) == [
        (key, number) for key in keys[:2] for number in range(1, PACKETS + 1)
    ]
    for backend in lab.workspace(backends=("questdb", "parquet")).backends():
        stored = backend.stored(thorough=True)
        assert [stored[key].rows for key in keys[:2]] == [PACKETS, PACKETS], backend.name
