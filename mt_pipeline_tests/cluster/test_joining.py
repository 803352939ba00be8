"""What a worker takes over from the head, and what it must be given."""

import os
from pathlib import Path

import pytest

from mt_pipeline.cluster import joining
from mt_pipeline.errors import SettingsError
from mt_pipeline.settings import load

HEAD = {
    "MT_STATE_URL": "postgresql://lab@db/state",
    "MT_STATE_PASSWORD": "s3cret",
    "MT_BROKER_URL": "redis://queue/0",
    "MT_QUESTDB_HOST": "rows",
    "MT_TRACKER_LISTS": "/lab/easy.txt,/lab/hosts",
    "MT_FOLLOW": "true",
    "MT_FILTER": "tls or 'dns'",
    "MT_SLOTS": "7",
    "MT_TSHARK": "/opt/tshark",
    "MT_DAGSTER_PORT": "3333",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the data folder of a head, and forget its settings."""
    with monkeypatch.context() as head:
        for name, value in {**HEAD, "MT_DATA_DIR": str(tmp_path)}.items():
            head.setenv(name, value)
        joining.write(load())
    # What is joined stays in the environment: have it removed.
    for name in (*HEAD, "MT_DATA_DIR"):
        monkeypatch.setenv(name, "")
    return tmp_path


def test_a_worker_has_the_settings_of_the_head_and_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MT_STATE_PASSWORD", "s3cret")
    monkeypatch.setenv("MT_FILTER", "quic")

    settings = joining.joined(folder)

    assert settings.state_url == HEAD["MT_STATE_URL"]
    assert settings.tracker_lists == (Path("/lab/easy.txt"), Path("/lab/hosts"))
    assert (settings.data_dir, settings.follow, settings.filter) == (folder, True, "quic")
    assert (settings.slots, settings.tshark, settings.dagster_port) == (None, "tshark", 3000)
    assert os.environ["MT_BROKER_URL"] == HEAD["MT_BROKER_URL"]  # for the processes it starts


def test_no_secret_is_in_the_file_and_the_missing_ones_are_named(folder: Path):
    assert "s3cret" not in (folder / joining.FILE).read_text()
    with pytest.raises(SettingsError, match=r"the head has MT_STATE_PASSWORD, and this machine"):
        joining.joined(folder)


def test_a_folder_that_is_mounted_elsewhere_is_refused(folder: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(folder)
    with pytest.raises(SettingsError, match=r"mount it here under the same path"):
        joining.joined(elsewhere)


def test_a_folder_without_a_head_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"cluster.json cannot be read \(No such file"):
        joining.joined(tmp_path)
