"""What runs fork from has read what each of them would have to read."""

import os
import subprocess
import sys
from pathlib import Path

_LOOKS_UP = """
import sys
from mt_pipeline.service.preload import preload

preload()
opened = []
sys.addaudithook(lambda event, details: event == "open" and opened.append(details[0]))

from mt_pipeline.enrichment.owners.companies import Companies
from mt_pipeline.packets.domains import registrable_domain

assert registrable_domain("www.example.co.uk") == "example.co.uk"
assert Companies().of_name("www.netflix.com").company
print(opened)
"""


def test_lists_are_read_before_a_run_begins(tmp_path: Path):
    environment = {**os.environ, "MT_DATA_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", _LOOKS_UP],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
