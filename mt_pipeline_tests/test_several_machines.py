"""The page about several machines: its unit of systemd is one that systemd takes."""

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from mt_pipeline.settings import PROJECT, Settings

PAGE = (PROJECT / "docs" / "how-to" / "several-machines.md").read_text()
[UNIT] = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)


def test_systemd_takes_the_unit(tmp_path: Path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not there")
    # What is named must exist here, too: a program and an account.
    here = re.sub("ExecStart=\\S+", f"ExecStart={shutil.which('true')}", UNIT)
    unit = tmp_path / "mt-pipeline-worker.service"
    unit.write_text(here.replace("=lab\n", "=daemon\n"))

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )

    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_unit_starts_a_worker_with_the_secrets_that_there_are():
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT)
    loaded = re.findall(r"^LoadCredential=(\w+):/\S+/(\w+)$", UNIT, re.MULTILINE)

    assert unit["Service"]["ExecStart"].endswith("/mt-pipeline worker --join /srv/lab/data")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["CapabilityBoundingSet"] == ""
    assert "Environment=MT_SECRETS_DIR=%d\n" in UNIT
    assert len(loaded) == UNIT.count("LoadCredential=") == 4
    for name, file in loaded:
        assert name == file
        assert name.removeprefix("mt_") in Settings.model_fields
    variables = re.findall(r"^Environment=(\w+)=", UNIT, re.MULTILINE)
    assert {name.removeprefix("MT_").lower() for name in variables} - {"secrets_dir"} <= set(
        Settings.model_fields
    )
