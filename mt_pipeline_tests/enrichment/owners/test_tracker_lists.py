"""Lists of trackers of the user: their forms, large ones, and what is no list."""

import gzip
import resource
import time
from pathlib import Path

import pytest

from mt_pipeline.enrichment.owners import tracker_lists
from mt_pipeline.enrichment.owners.tracker_lists import TrackerLists
from mt_pipeline.enrichment.provider import ProviderUnusable


def listed(path: Path, text: str | bytes, *names: str) -> list[str]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    lists = TrackerLists([path])
    return [name for name, is_in in zip(names, lists.contain(names), strict=True) if is_in]


def test_easylist_rules_about_names_are_taken_and_those_about_paths_and_pages_are_not(
    tmp_path: Path,
):
    text = """[Adblock Plus 2.0]
! Title: a list
||tracker.example^
||third.example^$third-party
||popup.example^$popup,third-party
||script.example^$script
||path.example/ads/
||site.example^$domain=shop.example
/banner/
shop.example##.advert
@@||good.tracker.example^
"""
    assert listed(
        tmp_path / "easy",
        text,
        *("tracker.example", "a.b.tracker.example", "third.example", "popup.example"),
        *("script.example", "path.example", "site.example", "shop.example"),
        *("good.tracker.example", "x.good.tracker.example", "nottracker.example"),
    ) == ["tracker.example", "a.b.tracker.example", "third.example", "popup.example"]


def test_hosts_files_are_taken_without_the_names_of_the_machine_itself(tmp_path: Path):
    text = (
        "\ufeff# hosts\n127.0.0.1\tlocalhost\n::1 localhost\n255.255.255.255 broadcasthost\n"
        "0.0.0.0 0.0.0.0\n0.0.0.0 one.example # why\n127.0.0.1 two.example three.example\r\n"
        ":: Four.Example.\n192.168.1.1 router.example\n"
    )
    assert listed(
        tmp_path / "hosts",
        text,
        *("localhost", "0.0.0.0", "one.example", "two.example", "three.example", "four.example"),  # noqa: S104
        "router.example",
    ) == ["one.example", "two.example", "three.example", "four.example"]


def test_domains_one_per_line_are_taken_and_suffixes_of_everyone_are_not(tmp_path: Path):
    text = (
        "# domains\none.example\n*.two.example\n.three.example\n\ncom\nco.uk\n1.2.3.4\nlast.example"
    )
    assert listed(
        tmp_path / "domains",
        text,
        *("one.example", "x.two.example", "three.example", "www.shop.com", "www.shop.co.uk"),
        *("1.2.3.4", "last.example"),
    ) == ["one.example", "x.two.example", "three.example", "last.example"]


def test_lists_in_different_forms_add_up(tmp_path: Path):
    (tmp_path / "a").write_text("||one.example^\n")
    (tmp_path / "b").write_text("0.0.0.0 two.example\n")
    lists = TrackerLists([tmp_path / "a", tmp_path / "b"])
    assert (len(lists), lists.contain(["one.example", "two.example", "x"])) == (
        2,
        [True, True, False],
    )
    assert lists.contain([]) == []


@pytest.mark.timeout(300)
def test_two_million_lines_are_read_in_bounded_time_and_room(tmp_path: Path):
    path = tmp_path / "large"
    with path.open("w") as file:
        for part in range(20):
            file.writelines(
                f"0.0.0.0 host-{part}-{n}.tracking.example{n % 100}.com\n" for n in range(100_000)
            )
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    lists = TrackerLists([path])
    spent = time.process_time() - began
    room = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert len(lists) == 2_000_000
    assert lists.contain(["x.host-19-99999.tracking.example99.com", "example99.com"]) == [
        True,
        False,
    ]
    # Measured: 1.8 s of the processor and 64 MB; a set of texts takes 217 MB.
    assert spent < 10
    assert room < 150_000


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", [b"a." * 2_000_000, b"1" * 4_000_000, b" " * 4_000_000])
def test_a_line_without_an_end_takes_neither_time_nor_room(tmp_path: Path, line: bytes):
    assert listed(tmp_path / "list", line + b"!\nreal.example\n", "real.example", "example") == [
        "real.example"
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html>\n<html><body>one.example</body></html>\n", "is a page, not a list"),
        (b"\n\n <HTML>\none.example\n", "is a page, not a list"),
        (b"", "has no domain"),
        (b"# only\n! comments\n\n", "has no domain"),
        (b"||path.example/x\nshop.example##.ad\n", "has no domain"),
        (b"com\nco.uk\n10.0.0.1\n", "has no domain"),
        (gzip.compress(b"one.example\n" * 100), "is not a text: unpack it"),
        (b"one.example\n\x00\x01", "is not a text: unpack it"),
        (None, "cannot be read"),
    ],
    ids=["page", "page later", "empty", "comments", "paths", "suffixes", "gzip", "bytes", "none"],
)
def test_what_is_no_list_is_refused_with_its_name_the_reason_and_the_cure(
    tmp_path: Path, content: bytes | None, reason: str
):
    path = tmp_path / "list"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProviderUnusable, match=reason) as raised:
        TrackerLists([path])
    assert str(raised.value).startswith(str(path))
    assert "MT_TRACKER_LISTS" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_list_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tracker_lists, "LARGEST_LIST", 3 * 2**20)
    path = tmp_path / "list"
    path.write_bytes(b"one.example\n" * 270_000)
    with pytest.raises(ProviderUnusable, match="it has more than 3 MiB"):
        TrackerLists([path])
    path.write_bytes(b"one.example\n" * 260_000)
    assert len(TrackerLists([path])) == 1
