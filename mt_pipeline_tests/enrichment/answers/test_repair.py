"""A damaged store: what is saved, where the damaged file goes, and that runs go on."""

import multiprocessing
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline_tests.enrichment.parts import GOOGLE, addresses

MANY = addresses(2000)


def opened(folder: Path) -> AnswerStore:
    return AnswerStore(folder, answer_days=14, not_found_days=1)


def answer(endpoint: Endpoint, app: str = "dns") -> Answer:
    return Answer(endpoint, "netify", True, datetime.now(UTC), Facts(app_tag=app))


def count_stored(store: AnswerStore, endpoints: list[Endpoint] = MANY) -> int:
    return sum(
        known is not None and known.newest.facts.app_tag == "dns"
        for known in store.histories("netify", endpoints)
    )


def aside(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob(f"{folder.name}.damaged-*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a closed store of many answers."""
    with opened(tmp_path / "answers") as store:
        store.take_in(History.of(answer(endpoint)) for endpoint in MANY)
    return tmp_path / "answers"


def scribble(first: float, last: float) -> Callable[[bytearray], None]:
    def damage(content: bytearray) -> None:
        begin, end = int(first * len(content)), int(last * len(content))
        content[begin:end] = b"\x55" * (end - begin)

    return damage


def zero_pages(content: bytearray) -> None:
    for page in random.Random(1).sample(range(1, len(content) // 4096), 20):  # noqa: S311
        content[page * 4096 : page * 4096 + 4096] = bytes(4096)


def cut(content: bytearray) -> None:
    del content[len(content) // 2 // 4096 * 4096 + 100 :]


@pytest.mark.parametrize(
    ("damage", "at_least"),
    [
        (scribble(0, 0.001), 1900),
        (scribble(0.001, 0.02), 1700),
        (scribble(0.4, 0.6), 1200),
        (scribble(0.25, 1), 400),
        (zero_pages, 1500),
        (cut, 800),
        (scribble(0, 1), 0),
    ],
    ids=[
        "header",
        "first pages",
        "middle",
        "all but a quarter",
        "pages here and there",
        "end missing",
        "all",
    ],
)
def test_what_can_still_be_read_is_taken_over_and_the_run_goes_on(folder, caplog, damage, at_least):
    content = bytearray((folder / "cache.db").read_bytes())
    damage(content)
    (folder / "cache.db").write_bytes(content)

    with opened(folder) as store:
        first = count_stored(store)
        store.put(answer(GOOGLE))
    with opened(folder) as store:
        assert count_stored(store) == first >= at_least
        assert count_stored(store, [GOOGLE]) == 1
    [moved] = aside(folder)
    assert (moved / "cache.db").stat().st_size > 0
    assert f"{folder / 'cache.db'}: the store of answers is damaged (" in caplog.text
    assert (
        f"taken over into {folder / 'mended-1' / 'cache.db'}; the damaged file lies in {moved} now"
        in caplog.text
    )


def test_a_store_can_be_damaged_twice(folder):
    with opened(folder) as store:
        store.put(answer(GOOGLE))
    for file in (folder / "cache.db", folder / "mended-1" / "cache.db"):
        content = bytearray(file.read_bytes())
        scribble(0, 0.001)(content)
        file.write_bytes(content)
        with opened(folder) as store:
            assert count_stored(store, [GOOGLE]) == 1
    assert len(aside(folder)) == 2
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["mended-2"]


def test_histories_are_taken_over_whole_also_those_that_fill_several_pages(folder):
    with opened(folder) as store:
        for number in range(100):
            store.put(answer(GOOGLE, f"app-{number}"))
    with closing(sqlite3.connect(folder / "cache.db")) as file:
        [(page,)] = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'Cache_key_raw'")
    content = bytearray((folder / "cache.db").read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\x55" * 4096
    (folder / "cache.db").write_bytes(content)
    with opened(folder) as store:
        [known] = store.histories("netify", [GOOGLE])
        assert len(known.entries) == 100
        assert count_stored(store) == len(MANY)


def test_what_a_killed_process_left_of_its_mending_is_no_hindrance(folder):
    (folder / ".mended-1.part").mkdir()
    (folder / ".mended-1.part" / "cache.db").write_bytes(b"half")
    (folder / "cache.db").write_bytes(b"garbage" * 1000)
    with opened(folder) as store:
        store.put(answer(GOOGLE))
        assert count_stored(store, [GOOGLE]) == 1


def test_a_store_that_is_locked_is_not_taken_for_damaged(folder):
    with (
        closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other,
        opened(folder) as store,
    ):
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.interrupt)
        timer.start()
        assert count_stored(store, MANY[:10]) == 10
        timer.join()
        other.execute("ROLLBACK")
    assert aside(folder) == []


def keep_on(
    folder: Path, opened_it: "multiprocessing.Barrier", mended: "multiprocessing.Barrier"
) -> None:
    """Be a process that has the store open while another one repairs it."""
    with opened(folder) as store:
        assert count_stored(store, MANY[:1]) == 1
        opened_it.wait(60)
        mended.wait(60)
        for endpoint in addresses(2050)[2000:]:
            store.put(answer(endpoint))


def test_who_has_the_store_open_while_another_mends_it_writes_to_the_new_one(folder):
    """What it wrote into the old file would be lost with it."""
    context = multiprocessing.get_context("spawn")
    barriers = context.Barrier(2), context.Barrier(2)
    process = context.Process(target=keep_on, args=(folder, *barriers))
    process.start()
    barriers[0].wait(60)
    with (folder / "cache.db").open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\x55" * 40 * 4096)
    with opened(folder) as store:
        assert count_stored(store) < len(MANY)
        assert aside(folder)
        barriers[1].wait(60)
        for number in range(50):
            store.put(answer(GOOGLE, f"app-{number}"))
        process.join(60)
        assert process.exitcode == 0
        assert count_stored(store, addresses(2050)[2000:]) == 50
        [known] = store.histories("netify", [GOOGLE])
        assert len(known.entries) >= 50
    with opened(folder) as store:
        assert count_stored(store, addresses(2050)[2000:]) == 50
        assert store.newest("netify", GOOGLE).facts.app_tag == "app-49"
    assert len(aside(folder)) == 1


def mend(folder: Path, start: "multiprocessing.Barrier") -> None:
    """Be one of several processes that find the damage at the same moment."""
    start.wait(60)
    with opened(folder) as store:
        store.put(answer(GOOGLE))
        assert count_stored(store, [GOOGLE]) == 1


@pytest.mark.parametrize(
    "damage", [scribble(0, 0.001), scribble(0.3, 0.7)], ids=["header", "middle"]
)
def test_of_processes_that_find_the_damage_at_once_one_mends_it(folder, damage):
    content = bytearray((folder / "cache.db").read_bytes())
    damage(content)
    (folder / "cache.db").write_bytes(content)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    processes = [context.Process(target=mend, args=(folder, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with opened(folder) as store:
        count_stored(store)
        assert count_stored(store, [GOOGLE]) == 1
    assert len(aside(folder)) == 1
