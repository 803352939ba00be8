"""An inbox in a store that speaks S3, in all that can go wrong with it. The store is moto's."""

import gzip
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mt_pipeline.captures.first_bytes import sniff
from mt_pipeline.captures.growing import snapshot
from mt_pipeline.captures.identity import (
    Capture,
    capture_at,
    check_unchanged,
    open_capture,
    sha256_of,
)
from mt_pipeline.captures.inbox import walk
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.naming import (
    CaptureChangedError,
    CaptureError,
    CaptureGoneError,
    CaptureUnreadableError,
    KeyRefusedError,
)
from mt_pipeline.captures.records import State
from mt_pipeline.captures.s3 import Bucket
from mt_pipeline.captures.store import InboxError
from mt_pipeline_tests.s3 import BUCKET, KEY, PAGE, PREFIX, S3, SECRET

PCAP = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")


@pytest.fixture
def inbox(store: S3) -> Bucket:
    return Bucket(store.url)


def found(inbox: Bucket, key: str) -> Capture:
    [capture] = [capture for capture in walk(inbox).captures if capture.key == key]
    return capture


def test_objects_below_the_prefix_are_captures_whatever_their_names(store: S3, inbox: Bucket):
    keys = [
        *("kitchen/monday.pcap", "top.pcap", "lab/deep/er/x.pcapng.gz", "lab/a b+c.pcap"),
        *("lab/100%25.pcap", "lab/é.pcap", "lab/e\u0301.pcap", "lab/#?&=.pcap", "lab/back\\.pcap"),
        *("lab/x*[y]{z}.pcap", 'lab/"quoted" <&amp;>.pcap', "lab/~.pcap", "lab/C:x.pcap"),
    ]
    for key in keys:
        store.put(key, PCAP)
    store.client().put_object(Bucket=BUCKET, Key=f"{PREFIX}2/other.pcap", Body=PCAP)

    result = walk(inbox)

    assert sorted(capture.key for capture in result.captures) == sorted(keys)
    assert not result.refused
    assert not result.problems
    for capture in result.captures:
        assert capture_at(inbox, capture.key) == capture
        assert sniff(capture) is None
    assert found(inbox, "top.pcap").location == f"s3://{BUCKET}/{PREFIX}/top.pcap"


def test_a_whole_bucket_can_be_an_inbox(store: S3):
    store.put("a.pcap", PCAP)

    [capture] = walk(Bucket(f"s3://{BUCKET}")).captures

    assert capture.key == f"{PREFIX}/a.pcap"


def test_hidden_and_unfinished_objects_and_those_for_folders_are_skipped(store: S3, inbox: Bucket):
    for key in ("lab/", "", "lab/.hidden", ".git/x.pcap", "lab/a.pcap.part", "lab/b.PCAP~"):
        store.put(key, b"")

    result = walk(inbox)

    assert result.captures == []
    assert result.refused == []


@pytest.mark.parametrize(
    "key",
    [
        "lab//a.pcap", "/a.pcap", "lab/../a.pcap", "./a.pcap", "..", "lab/a.pcap/", "lab/a...b",
        "lab/tab\t.pcap", "lab/" + "x" * 1000,
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_a_key_is_refused_and_nothing_else(
    store: S3, inbox: Bucket, tmp_path: Path, key: str
):
    for name in ("a.pcap", "lab/a.pcap", "zoo/z.pcap"):
        store.put(name, PCAP)
    if key.startswith("lab/xxx"):  # longer than S3 allows with the prefix
        key = key[: 1024 - len(PREFIX) - 1]
    store.put(key, PCAP)

    result = walk(inbox)

    assert {capture.key for capture in result.captures} == {"a.pcap", "lab/a.pcap", "zoo/z.pcap"}
    [refused] = result.refused
    assert "cannot be taken" in refused.reason
    assert refused.location.startswith(store.url)
    with pytest.raises(KeyRefusedError):
        capture_at(inbox, key)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.look(result, settle=5, now=1000)
    states = {record.key: record.state for record in ledger.records()}
    assert states.pop(refused.key) is State.REFUSED
    assert set(states.values()) == {State.WAITING}


def test_more_objects_than_a_page_has_are_listed(store: S3, inbox: Bucket):
    for number in range(2 * PAGE + 1):
        store.put(f"lab/{number}.pcap", PCAP)

    assert len({capture.key for capture in walk(inbox).captures}) == 2 * PAGE + 1


def test_an_object_settles_by_its_size_and_its_etag(store: S3, inbox: Bucket, tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def ready(now: float) -> list[str]:
        return [capture.key for capture in ledger.look(walk(inbox), settle=5, now=now)]

    store.put("lab/a.pcap", PCAP)
    assert ready(1000) == []

    def pair() -> tuple[Capture, Capture]:
        store.put("lab/a.pcap", PCAP)
        before = found(inbox, "lab/a.pcap")
        store.put("lab/a.pcap", PCAP[:-1] + b"\x02")
        return before, found(inbox, "lab/a.pcap")

    # In the same second, with the same size: only the ETag tells them apart.
    pairs = (pair() for _ in range(100))
    one, other = next(
        (one, other) for one, other in pairs if one.mtime_ns // 10**9 == other.mtime_ns // 10**9
    )
    assert one.size == other.size
    assert one != other
    assert ready(1004) == []
    assert ready(1006) == []
    assert ready(1009) == ["lab/a.pcap"]


def test_a_deleted_object_is_forgotten_unless_the_store_is_away(
    store: S3, inbox: Bucket, tmp_path: Path
):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    store.put("lab/a.pcap", PCAP)
    ledger.look(walk(inbox), settle=5, now=1000)

    with store.account(**store.variables() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):
        result = walk(inbox)
    ledger.look(result, settle=5, now=1001)

    [problem] = result.problems
    assert problem == (
        f"the inbox {inbox} cannot be read (EndpointConnectionError): it does not answer: "
        "see to the network or the store, and to AWS_ENDPOINT_URL"
    )
    assert [record.key for record in ledger.records()] == ["lab/a.pcap"]
    store.delete("lab/a.pcap")
    ledger.look(walk(inbox), settle=5, now=1002)
    assert ledger.records() == []


def test_a_missing_bucket_is_not_a_missing_object(store: S3):
    nowhere = Bucket("s3://no-such-bucket/x")

    assert walk(nowhere).problems == [
        "the inbox s3://no-such-bucket/x cannot be read (NoSuchBucket): "
        "there is no such bucket: create it, or set MT_INBOX to another"
    ]
    with pytest.raises(InboxError, match="no such bucket"):
        capture_at(nowhere, "a.pcap")
    with pytest.raises(InboxError, match="no such bucket"):
        sniff(Capture("a.pcap", nowhere, 24, 0))


def test_an_object_that_was_deleted_since_it_was_listed_is_gone(store: S3, inbox: Bucket):
    store.put("lab/a.pcap", PCAP)
    capture = found(inbox, "lab/a.pcap")
    store.delete("lab/a.pcap")

    assert sniff(capture) == "lab/a.pcap is not in the inbox any more: copy it there again."
    for read in (check_unchanged, sha256_of, lambda _: capture_at(inbox, "lab/a.pcap")):
        with pytest.raises(CaptureGoneError):
            read(capture)


def test_an_object_that_has_changed_since_it_was_listed_is_not_read(
    store: S3, inbox: Bucket, tmp_path: Path
):
    store.put("lab/a.pcap", PCAP)
    capture = found(inbox, "lab/a.pcap")
    store.put("lab/a.pcap", PCAP[:-1] + b"\x02")

    for read in (sniff, check_unchanged, sha256_of):
        with pytest.raises(CaptureChangedError, match="changed while it was read"):
            read(capture)
    with pytest.raises(CaptureChangedError), snapshot(capture, tmp_path / "copies"):
        pass
    assert not list((tmp_path / "copies").iterdir())


def test_an_object_that_changes_while_it_is_read_is_not_mixed(store: S3, inbox: Bucket):
    content = PCAP + os.urandom(200_000)
    store.put("lab/a.pcap", content)
    capture = found(inbox, "lab/a.pcap")

    with open_capture(capture) as file:
        assert file.read(1000) == content[:1000]
        store.put("lab/a.pcap", content[::-1])
        with pytest.raises(CaptureChangedError):
            file.read()


def test_an_empty_object_and_one_that_is_no_capture_are_refused_by_their_first_bytes(
    store: S3, inbox: Bucket
):
    store.put("lab/empty.pcap", b"")
    store.put("lab/text.pcap", b"Dear all, " * 10_000)
    store.put("lab/good.pcap.gz", gzip.compress(PCAP + bytes(100_000), 0))

    assert sniff(found(inbox, "lab/empty.pcap")) == (
        "lab/empty.pcap is empty: record it again, or remove it."
    )
    assert "does not begin like a capture" in str(sniff(found(inbox, "lab/text.pcap")))
    assert sniff(found(inbox, "lab/good.pcap.gz")) is None


def test_a_copy_has_all_bytes_and_is_deleted(store: S3, inbox: Bucket, tmp_path: Path):
    content = PCAP + os.urandom(300_000)
    store.put("lab/deep/a.pcap", content)
    capture = found(inbox, "lab/deep/a.pcap")

    with snapshot(capture, tmp_path / "copies") as copy:
        assert copy.path.read_bytes() == content
        assert copy.key == capture.key
        assert sha256_of(copy) == sha256_of(capture)
        check_unchanged(copy)
    assert not list((tmp_path / "copies").iterdir())


def test_what_an_account_may_not_do_is_said(store: S3, inbox: Bucket):
    store.put("lab/a.pcap", PCAP)
    capture = found(inbox, "lab/a.pcap")
    lists_only = store.guarded("s3:ListBucket")

    with store.account(**lists_only):
        assert found(inbox, "lab/a.pcap") == capture
        with pytest.raises(CaptureUnreadableError) as denied:
            sniff(capture)
        assert str(denied.value) == (
            "lab/a.pcap cannot be read (AccessDenied): allow this account s3:GetObject for it."
        )
    wrong = (
        (lists_only | {"AWS_SECRET_ACCESS_KEY": "another"}, "the secret key is another"),
        (lists_only | {"AWS_ACCESS_KEY_ID": "AKIDOTHER"}, "does not know the key"),
    )
    for variables, meaning in wrong:
        with store.account(**variables):
            [problem] = walk(inbox).problems
            assert meaning in problem
            assert "another/" not in problem
            assert lists_only["AWS_SECRET_ACCESS_KEY"] not in problem


def test_without_an_account_a_sentence_says_how_to_name_one(
    store: S3, inbox: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with store.account():
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        [problem] = walk(inbox).problems
    assert "(NoCredentialsError): nothing says who we are" in problem


def test_a_profile_of_aws_is_an_account(
    store: S3, inbox: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    account = store.guarded("s3:*")
    (tmp_path / "credentials").write_text(
        "[field]\n"
        f"aws_access_key_id = {account['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {account['AWS_SECRET_ACCESS_KEY']}\n"
    )
    variables = {
        "AWS_ENDPOINT_URL": store.address,
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_PROFILE": "field",
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with store.account(**variables):
        assert walk(inbox).problems == []
    with store.account(**variables | {"AWS_PROFILE": "nobody"}):
        [problem] = walk(inbox).problems
        assert "(ProfileNotFound): there is no profile of this name" in problem


def test_no_message_has_a_secret(store: S3, inbox: Bucket):
    account = store.guarded("s3:Nothing")
    broken = (
        {"AWS_SECRET_ACCESS_KEY": SECRET},
        {"AWS_ACCESS_KEY_ID": KEY},
        {"AWS_SESSION_TOKEN": SECRET},
        {"AWS_ENDPOINT_URL": f"http://{KEY}:{SECRET}@127.0.0.1:9"},
        {"AWS_ENDPOINT_URL": f"not an address {SECRET}"},
        {},
    )
    for change in broken:
        with store.account(**account | change):
            problems = walk(inbox).problems
            errors = []
            for read in (sniff, check_unchanged):
                try:
                    read(Capture("a.pcap", inbox, 24, 0))
                except (InboxError, CaptureError) as error:
                    errors.append(f"{error} {error.__cause__} {error.__context__}")
        assert problems
        said = " ".join([*problems, *errors])
        for secret in (SECRET, account["AWS_SECRET_ACCESS_KEY"]):
            assert secret not in said


def test_the_library_is_imported_only_when_a_store_is_asked(tmp_path: Path):
    code = (
        "import sys; from mt_pipeline import settings; from mt_pipeline.pipeline.workspace import "
        "Workspace; workspace = Workspace(settings.load().options()); "
        "from mt_pipeline.captures.inbox import walk; walk(workspace.inbox); "
        "sys.exit('botocore' in sys.modules)"
    )
    environment = {**os.environ, "MT_DATA_DIR": str(tmp_path), "MT_ENRICHMENT": "none"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_without_the_library_a_sentence_says_how_to_install_it(tmp_path: Path):
    code = (
        "import sys; sys.modules['botocore'] = None; "
        "from mt_pipeline import settings; from mt_pipeline.pipeline.workspace import Workspace; "
        "Workspace(settings.load().options())"
    )
    environment = {**os.environ, "MT_DATA_DIR": str(tmp_path), "MT_INBOX": "s3://bucket"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.stderr.splitlines()[-1].endswith(
        "MT_INBOX: an inbox in an object store needs botocore: install it by `make cluster`, "
        "or `pip install 'mt_pipeline[s3]'`"
    )


def test_a_reading_that_breaks_off_goes_on(store: S3, inbox: Bucket):
    content = PCAP + os.urandom(500_000)
    store.put("lab/a.pcap", content)
    capture = found(inbox, "lab/a.pcap")

    with open_capture(capture) as file:
        assert file.read(100_000) == content[:100_000]
        file.raw._body.close()  # as if the store had ended the connection
        assert file.read() == content[100_000:]
    assert replace(capture) == found(inbox, "lab/a.pcap")
