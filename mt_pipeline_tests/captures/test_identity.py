"""Names and hashes of captures: which can be, what they become, and that none stands for two."""

import hashlib
import os
from pathlib import Path

import pytest

from mt_pipeline.captures.identity import (
    Capture,
    CaptureChangedError,
    CaptureUnreadableError,
    capture_at,
    sha256_of,
)
from mt_pipeline.captures.naming import (
    KeyRefusedError,
    OutsideInboxError,
    experiment_of,
    file_name_of,
    key_of,
    refusal_of_key,
    shared_experiments,
    storable,
)


@pytest.mark.parametrize(
    ("key", "experiment"),
    [
        ("kitchen/a.pcap", "kitchen"),
        ("kitchen/day 1/a.pcap", "kitchen"),
        ("a.pcapng.gz", "a"),
        ("A.PCAP", "a"),
        ("2024-01-02 night.cap.zst", "2024_01_02_night"),
        ("notes.txt", "notes_txt"),
        ("Smart Speaker (2)/a.pcap", "smart_speaker_2_"),
        ("a__b/a.pcap", "a_b"),
        ("实验/a.pcap", "_"),
        ("***/a.pcap", "_"),
        ("kitchen.pcap/a.pcap", "kitchen_pcap"),
        ("x" * 80 + "/a.pcap", "x" * 64),
        ("-rf/a.pcap", "_rf"),
    ],
)
def test_the_first_folder_or_the_bare_file_name_is_the_experiment(key, experiment):
    assert experiment_of(key) == experiment


def test_names_that_fold_to_one_experiment_are_found():
    keys = [
        "Lab 1/a.pcap",
        "lab_1/b.pcap",
        "lab_1/c.pcap",
        "kitchen/a.pcap",
        "kitchen.pcap",
        "kitchen/b.pcap",
    ]
    assert shared_experiments(keys) == {"lab_1": ["Lab 1", "lab_1"]}


@pytest.mark.parametrize(
    "name",
    [
        "a b.pcap",
        'it\'s "x".pcap',
        "-n.pcap",
        "50%25.pcap",
        "ü/é.pcap",
        "..a.pcap",
        "a|b`<c>.pcap",
        "#?&=;.pcap",
        "\\xff.pcap",
    ],
)
def test_odd_names_are_keys(name):
    assert refusal_of_key(name) is None
    assert storable(name) == name


@pytest.mark.parametrize(
    ("name", "shown", "reason"),
    [
        ("lab/a...b.pcap", "lab/a...b.pcap", "range"),
        ("lab/a\nb.pcap", r"./lab/a\u000ab.pcap", "control"),
        ("lab/a\x7f.pcap", r"./lab/a\u007f.pcap", "control"),
        (os.fsdecode(b"lab/caf\xe9.pcap"), r"./lab/caf\xe9.pcap", "UTF-8"),
        ("\ud800.pcap", r"./\ud800.pcap", "UTF-8"),
        ("/etc/passwd", "/etc/passwd", "not the path"),
        ("../a.pcap", "../a.pcap", "not the path"),
        ("lab/../../a.pcap", "lab/../../a.pcap", "not the path"),
        ("./a.pcap", "./a.pcap", "not the path"),
        ("lab//a.pcap", "lab//a.pcap", "not the path"),
        ("", "", "not the path"),
        ("lab/" + "ä" * 600, "lab/" + "ä" * 600, "1000 bytes"),
    ],
)
def test_names_that_cannot_be_keys_are_refused_with_name_reason_and_cure(name, shown, reason):
    refusal = refusal_of_key(name)
    assert refusal is not None
    assert refusal.startswith(f"{shown} cannot be taken: ")
    assert reason in refusal
    assert refusal.endswith("Rename it.")
    refusal.encode()


def test_stored_names_never_meet():
    names = [
        r"a\xe9",
        os.fsdecode(b"a\xe9"),
        "a\x85",
        os.fsdecode(b"a\x85"),
        r"a\u0085",
        os.fsdecode(rb"a\xe9" + b"\xe9"),
        os.fsdecode(b"a\xe9\xe9"),
    ]
    assert len({storable(name) for name in names}) == len(names)


def test_key_is_the_path_below_the_inbox_however_it_is_reached(tmp_path, monkeypatch):
    inbox = tmp_path / "in box"
    (inbox / "lab").mkdir(parents=True)
    (tmp_path / "way").symlink_to(inbox)
    (inbox / "lab" / "a b.pcap").write_bytes(b"x")
    monkeypatch.chdir(inbox / "lab")
    for path in (
        inbox / "lab/a b.pcap",
        Path("a b.pcap"),
        Path("../lab/a b.pcap"),
        tmp_path / "way/lab/a b.pcap",
    ):
        assert key_of(inbox, path) == "lab/a b.pcap"


def test_a_link_keeps_its_own_name(tmp_path):
    inbox = tmp_path / "inbox"
    (inbox / "lab").mkdir(parents=True)
    (tmp_path / "far.pcap").write_bytes(b"x")
    (inbox / "lab" / "near.pcap").symlink_to(tmp_path / "far.pcap")
    assert key_of(inbox, inbox / "lab" / "near.pcap") == "lab/near.pcap"
    with pytest.raises(OutsideInboxError, match=r"far\.pcap is not below the inbox"):
        key_of(inbox, tmp_path / "far.pcap")


def test_the_inbox_itself_has_no_key(tmp_path):
    with pytest.raises(OutsideInboxError):
        key_of(tmp_path, tmp_path)


def test_file_names_are_short_plain_and_one_for_each_key():
    keys = [
        "lab/a b.pcap",
        "lab/a_b.pcap",
        "lab2/a b.pcap",
        "实验/验.pcap",
        "-rf.pcap",
        ".x",
        "y" * 900,
        "lab/é.pcap",
        "lab/e\u0301.pcap",
    ]
    names = [file_name_of(key) for key in keys]
    assert len(set(names)) == len(keys)
    for key, name in zip(keys, names, strict=True):
        assert hashlib.sha256(key.encode()).hexdigest() in name
        assert len(name.encode()) <= 120
        assert name.isascii()
        assert not name.startswith((".", "-"))
        assert "/" not in name
    assert names[0].startswith("a_b.pcap-")


def test_hash_is_of_the_content(tmp_path):
    (tmp_path / "a.pcap").write_bytes(b"x" * 3_000_000)
    assert sha256_of(capture_at(tmp_path, "a.pcap")) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_file_that_grew_is_named(tmp_path):
    (tmp_path / "a.pcap").write_bytes(b"x")
    capture = capture_at(tmp_path, "a.pcap")
    with (tmp_path / "a.pcap").open("ab") as file:
        file.write(b"y")
    with pytest.raises(CaptureChangedError, match=r"a\.pcap changed while it was read"):
        sha256_of(capture)


def test_a_file_replaced_by_one_of_its_size_is_named(tmp_path):
    (tmp_path / "a.pcap").write_bytes(b"x")
    capture = capture_at(tmp_path, "a.pcap")
    (tmp_path / "b").write_bytes(b"y")
    os.utime(tmp_path / "b", ns=(0, 0))
    (tmp_path / "b").rename(tmp_path / "a.pcap")
    with pytest.raises(CaptureChangedError):
        sha256_of(capture)


def test_a_file_that_vanished_is_named(tmp_path):
    with pytest.raises(
        CaptureUnreadableError, match=r"a\.pcap is not in the inbox any more: copy it there again"
    ):
        sha256_of(Capture("a.pcap", tmp_path, 1, 1))
    with pytest.raises(CaptureUnreadableError, match=r"a\.pcap is not in the inbox"):
        capture_at(tmp_path, "a.pcap")


def test_a_pipe_in_the_place_of_a_file_makes_nobody_wait(tmp_path):
    os.mkfifo(tmp_path / "a.pcap")
    with pytest.raises(CaptureUnreadableError):
        sha256_of(Capture("a.pcap", tmp_path, 0, 0))


def test_a_key_made_by_hand_never_leaves_the_inbox(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "inbox" / "lab").mkdir(parents=True)
    with pytest.raises(KeyRefusedError):
        capture_at(tmp_path / "inbox", "lab/../../secret")
    with pytest.raises(CaptureUnreadableError, match="lab is not a file"):
        capture_at(tmp_path / "inbox", "lab")
