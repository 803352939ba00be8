"""Where the list of vendors comes from, by the release of tshark."""

from pathlib import Path

from mt_pipeline.tshark.command import Tshark
from mt_pipeline.tshark.vendors import Vendors

HARDWARE, LINE = "02:03:04:05:06:07", "02:03:04\tAcme\tAcme Ltd.\n"


def program(path: Path, script: str) -> str:
    """Write a program that stands for tshark, and return its path."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_list_beside_an_older_tshark_is_read_without_a_start(tmp_path: Path):
    silent = program(tmp_path / "bin" / "tshark", f"touch {tmp_path}/started")
    beside = tmp_path / "share" / "wireshark" / "manuf"
    beside.parent.mkdir(parents=True)
    beside.write_text(LINE)
    assert Vendors.read(Tshark(silent, "4.0.17"), tmp_path / "kept").of(HARDWARE) == "Acme Ltd."
    assert not (tmp_path / "started").exists()


def test_an_older_tshark_is_asked_for_its_folder_if_no_list_is_beside_it(tmp_path: Path):
    (tmp_path / "manuf").write_text(LINE)
    says = f"echo 'Global configuration:\t{tmp_path}'"
    old = Tshark(program(tmp_path / "bin" / "tshark", says), "3.6.2")
    assert Vendors.read(old, tmp_path / "kept").of(HARDWARE) == "Acme Ltd."


def test_a_newer_tshark_prints_the_list(tmp_path: Path):
    says = 'test "$2" = manuf && printf "02:03:04\\tAcme\\tAcme Ltd.\\n"'
    new = Tshark(program(tmp_path / "bin" / "tshark", says), "4.10.0")
    assert Vendors.read(new, tmp_path / "kept").of(HARDWARE) == "Acme Ltd."


def test_without_a_list_no_vendor_is_known(tmp_path: Path):
    old = Tshark(program(tmp_path / "bin" / "tshark", "exit 1"), "4.0.17")
    assert Vendors.read(old, tmp_path / "kept").of(HARDWARE) is None
