"""What a setting names may be anything: it is neither waited for nor read without end."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mt_pipeline.devices.inventory import DevicesUnusable
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.enrichment.offline.provider import Offline
from mt_pipeline.enrichment.owners.companies import Companies
from mt_pipeline.enrichment.owners.first_parties import FirstParties, PartiesUnusable
from mt_pipeline.enrichment.owners.networks import Networks
from mt_pipeline.enrichment.owners.tracker_lists import TrackerLists
from mt_pipeline.enrichment.provider import ProviderUnusable
from mt_pipeline.system.named_files import read_text

READERS: dict[str, Callable[[Path], object]] = {
    "MT_DEVICES": Devices.read,
    "MT_OFFLINE_APPS": lambda path: Offline(apps=path),
    "MT_OFFLINE_CITY_MMDB": lambda path: Offline(city_mmdb=path),
    "MT_OFFLINE_ASN_MMDB": lambda path: Networks(asn_mmdb=path),
    "MT_TRACKER_LISTS": lambda path: TrackerLists([path]),
    "MT_PARTIES": lambda path: FirstParties.read(path, Companies()),
}

UNUSABLE = (DevicesUnusable, PartiesUnusable, ProviderUnusable)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_a_device_or_a_folder_is_refused_with_the_name_of_the_setting(
    tmp_path: Path, name: str
):
    """A device without an end was once read until there was no memory left."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UNUSABLE, match=name) as raised:
            READERS[name](path)
        assert "not a file but a pipe, a device or a folder" in str(raised.value)


@pytest.mark.parametrize("name", ["MT_DEVICES", "MT_OFFLINE_APPS", "MT_PARTIES"])
def test_a_text_of_any_size_is_not_taken_into_memory(tmp_path: Path, name: str):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(UNUSABLE, match=name) as raised:
        READERS[name](tmp_path / "large")
    assert "it has more than 64 MiB" in str(raised.value)


def test_ends_of_lines_and_the_mark_of_some_editors_are_no_text(tmp_path: Path):
    (tmp_path / "text").write_bytes("\ufeffa\r\nü\rb\n".encode())
    assert read_text(tmp_path / "text") == "a\nü\nb\n"
