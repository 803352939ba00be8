"""Answers as files: out, in, in again; broken ones; and the cache folder of MT_ProcessPKTs."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mt_pipeline.enrichment.answers import transfer
from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.answers.transfer import ExchangeError, PassedOver
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX, addresses
from mt_pipeline_tests.fake_netify import address_body, name_body, success

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def other(tmp_path: Path) -> AnswerStore:
    """Open a second store, empty."""
    with AnswerStore(tmp_path / "other", answer_days=14, not_found_days=1) as opened:
        yield opened


def answer_of(app: str | None, days: float = 0, endpoint: Endpoint = GOOGLE) -> Answer:
    return Answer(
        endpoint, "netify", app is not None, NOON + timedelta(days=days), Facts(app_tag=app)
    )


def taken_in(store: AnswerStore, source: Path) -> list[PassedOver]:
    """Take all in, and return what was skipped."""
    results = list(transfer.read(source))
    store.take_in(result for result in results if isinstance(result, History))
    return [result for result in results if isinstance(result, PassedOver)]


def records_of(store: AnswerStore) -> dict[str, str]:
    return dict(store.records.items())


def test_what_goes_out_comes_in_whole_and_a_second_time_changes_nothing(store, other, tmp_path):
    for answer in (
        answer_of("a"),
        answer_of("a", 1),
        answer_of("b", 2),
        answer_of(None, 3),
        answer_of("a", endpoint=NETFLIX),
    ):
        store.put(answer)
    assert transfer.export(store, tmp_path / "out" / "answers.ndjson") == 4
    for _ in range(2):
        assert taken_in(other, tmp_path / "out" / "answers.ndjson") == []
        assert records_of(other) == records_of(store)


def test_a_line_is_an_answer_that_says_whose_it_is(store, tmp_path):
    store.put(answer_of("a"))
    store.put(answer_of("a", 1))
    transfer.export(store, tmp_path / "answers")
    assert [json.loads(line) for line in (tmp_path / "answers").read_text().splitlines()] == [
        {
            **{
                "kind": "address",
                "endpoint": "8.8.8.8",
                "provider": "netify",
                "found": True,
                "facts": {"app_tag": "a"},
            },
            **{
                "asked_at": "2026-03-01T12:00:00+00:00",
                "confirmed_at": "2026-03-02T12:00:00+00:00",
            },
        }
    ]


def test_what_comes_in_takes_its_place_in_time_and_the_newest_stays_the_newest(
    store, other, tmp_path
):
    store.put(answer_of("a"))
    store.put(answer_of("c", 4))
    other.put(answer_of("b", 2))
    transfer.export(other, tmp_path / "answers")
    assert taken_in(store, tmp_path / "answers") == []
    assert [
        store.as_of("netify", GOOGLE, NOON + timedelta(days=days)).facts.app_tag
        for days in (1, 3, 5)
    ] == ["a", "b", "c"]
    assert store.newest("netify", GOOGLE) == answer_of("c", 4)


def test_a_file_that_is_there_is_not_written_over(store, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ExchangeError, match="mine is there already"):
        transfer.export(store, tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"


def test_of_a_large_file_with_broken_lines_all_others_come_in_and_the_broken_are_told_by_number(
    store, tmp_path
):
    lines = [
        History.of(answer_of("a", endpoint=endpoint)).to_lines()[0].encode()
        for endpoint in addresses(3000)
    ]
    record = json.loads(lines[0])
    broken = {
        5: b'{"kind": "address", "endpo',
        900: b"\xff\xfe\x00binary",
        901: b"x" * (3 * transfer.LONGEST_LINE),
        902: b"[" * 100_000,
        1500: json.dumps({**record, "kind": "host"}).encode(),
        1501: json.dumps({**record, "asked_at": "2026-03-01T12:00:00"}).encode(),
        1502: json.dumps({**record, "facts": {"geo_lon": "east"}}).encode(),
        1503: json.dumps({**record, "facts": {"app_tag": "\ud800"}}).encode(),
        1504: json.dumps({**record, "provider": "../x"}).encode(),
        1505: json.dumps({**record, "endpoint": 17}).encode(),
        1506: json.dumps({**record, "endpoint": ""}).encode(),
        1507: b"null",
        3000: lines[2999][:-1],
    }
    content = [broken.get(number, line) for number, line in enumerate(lines, 1)]
    (tmp_path / "answers").write_bytes(
        b"\n".join([*content[:1400], b"", b"  ", *content[1400:]])
    )  # empty lines do not count

    passed_over = taken_in(store, tmp_path / "answers")

    assert [skipped.what for skipped in passed_over] == [
        f"line {number if number <= 1400 else number + 2}" for number in broken
    ]
    assert all(
        skipped.broken and 0 < len(skipped.why) < 200 and "\n" not in skipped.why
        for skipped in passed_over
    )
    assert len(records_of(store)) == 3000 - len(broken)


@pytest.fixture
def original(tmp_path: Path) -> Callable[[str, object], Path]:
    """Return a function that puts an old file into a cache folder of MT_ProcessPKTs."""

    def put(name: str, body: object) -> Path:
        path = tmp_path / "netify_cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))
        return path

    return put


def test_the_cache_folder_of_the_original_comes_in_with_the_times_of_its_files(
    store, tmp_path, original
):
    original("ips/8.8.8.8.json", address_body("8.8.8.8"))
    original("ips/2606:4700::1111.json", address_body("2606:4700::1111", rdns=None))
    original("hostnames/www.netflix.com.json", name_body("www.netflix.com"))
    original("hostnames/WWW.Example.com..json", name_body("www.example.com", application=None))
    original("hostnames/gone.example.org.json", success(None))
    for _ in range(2):
        assert taken_in(store, tmp_path / "netify_cache") == []
    assert len(records_of(store)) == 5
    place = Facts(
        geo_continent="Europe",
        geo_country="Germany",
        geo_city="Berlin",
        geo_lon=13.405,
        geo_lat=52.52,
    )
    assert store.newest("netify", Endpoint("address", "2606:4700::1111")) == Answer(
        Endpoint("address", "2606:4700::1111"), "netify", True, NOON, place
    )
    assert store.newest("netify", GOOGLE).facts.app_tag == "example-app"
    assert store.newest("netify", Endpoint("name", "www.example.com")).facts == Facts(
        domain_tag="technology"
    )
    assert store.newest("netify", Endpoint("name", "gone.example.org")) == Answer(
        Endpoint("name", "gone.example.org"), "netify", False, NOON
    )


def test_private_addresses_and_names_and_what_cannot_be_read_are_passed_over_and_named(
    store, tmp_path, original
):
    for name in (
        "ips/192.168.1.1.json",
        "ips/ff02::1.json",
        "ips/nonsense.json",
        "hostnames/tv.lan.json",
        "hostnames/localhost.json",
    ):
        original(name, address_body("x"))
    original("ips/8.8.8.8.json", b"")
    original("ips/9.9.9.9.json", b"<html>")
    original("ips/1.1.1.1.json", {"status_code": "403.000"})
    original("hostnames/a.example.com.json", b" " * (4 * 1024 * 1024 + 1))
    original("hostnames/notes.txt", b"mine")
    (tmp_path / "netify_cache" / "hostnames" / "b.example.com.json").mkdir()
    (tmp_path / "netify_cache" / "hostnames" / "c.example.com.json").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "netify_cache" / "hostnames" / "d.example.com.json")
    original("hostnames/www.netflix.com.json", name_body("www.netflix.com"))

    passed_over = taken_in(store, tmp_path / "netify_cache")

    def names(*, broken: bool) -> list[str]:
        return sorted(
            Path(skipped.what).name for skipped in passed_over if skipped.broken == broken
        )

    assert names(broken=False) == [
        "192.168.1.1.json",
        "ff02::1.json",
        "localhost.json",
        "nonsense.json",
        "tv.lan.json",
    ]
    assert names(broken=True) == [
        *(
            "1.1.1.1.json",
            "8.8.8.8.json",
            "9.9.9.9.json",
            "a.example.com.json",
            "b.example.com.json",
        ),
        *("c.example.com.json", "d.example.com.json", "notes.txt"),
    ]
    assert list(records_of(store)) == ["netify/name/www.netflix.com"]


def test_a_folder_that_is_no_such_cache_is_refused(tmp_path):
    with pytest.raises(ExchangeError, match="has no folder `ips` or `hostnames`"):
        transfer.read(tmp_path)
