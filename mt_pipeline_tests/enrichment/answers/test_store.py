"""The store: what it keeps, for how long, and that nothing is lost or asked twice."""

import json
import multiprocessing
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import diskcache
import pytest

from mt_pipeline.enrichment.answers.store import AnswerStore, StoreError
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline.enrichment.provider import EndpointFailed
from mt_pipeline.settings import PROJECT
from mt_pipeline.state.postgres import Postgres
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX, addresses


def answered(
    endpoint: Endpoint = GOOGLE,
    *,
    found: bool = True,
    age: timedelta = timedelta(),
    provider: str = "netify",
) -> Answer:
    return Answer(
        endpoint,
        provider,
        found,
        datetime.now(UTC) - age,
        Facts(app_tag="dns") if found else Facts(),
    )


@pytest.fixture
def store(cache: Path | Postgres) -> Iterator[AnswerStore]:
    """Open an empty store."""
    with AnswerStore(cache, answer_days=14, not_found_days=1) as opened:
        yield opened


@contextmanager
def opened(
    folder: Path | Postgres, *, answer_days: float = 14, not_found_days: float = 1
) -> Iterator[AnswerStore]:
    with AnswerStore(folder, answer_days=answer_days, not_found_days=not_found_days) as store:
        yield store


class Lab:
    """A provider in the test's own process: it knows everything, and fails on request."""

    name = "lab"

    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[Endpoint] = []
        self.fails = fails

    def ask(self, endpoint: Endpoint) -> Answer:
        self.asked.append(endpoint)
        if self.fails:
            raise EndpointFailed("on request")
        return answered(endpoint, provider=self.name)


def test_an_answer_is_there_for_whoever_opens_the_store_next(cache):
    kept = answered()
    with opened(cache) as store:
        store.put(kept)
    with opened(cache) as store:
        assert store.get("netify", GOOGLE) == kept


def test_answers_of_other_providers_kinds_and_endpoints_are_others(store):
    store.put(answered())
    assert store.get("offline", GOOGLE) is None
    assert store.get("netify", Endpoint("name", GOOGLE.value)) is None
    assert store.get("netify", NETFLIX) is None


def test_the_newest_answer_counts_and_those_before_are_remembered(store):
    first, again, other = (
        answered(found=False, age=timedelta(days=9)),
        answered(found=False, age=timedelta(days=8)),
        answered(age=timedelta(days=3)),
    )
    for answer in (first, again, other):
        store.put(answer)
    assert store.get("netify", GOOGLE) == store.newest("netify", GOOGLE) == other
    assert store.as_of("netify", GOOGLE, first.asked_at - timedelta(hours=1)) is None
    assert store.as_of("netify", GOOGLE, other.asked_at - timedelta(hours=1)) == first
    assert store.as_of("netify", GOOGLE, datetime.now(UTC)) == other


def test_an_answer_of_any_age_is_there_for_who_wants_it(store):
    old = answered(age=timedelta(days=4000))
    store.put(old)
    assert (store.get("netify", GOOGLE), store.newest("netify", GOOGLE)) == (None, old)


def test_an_answer_that_is_given_again_is_good_from_then_on(store):
    again = answered()
    for answer in (answered(age=timedelta(days=20)), again):
        store.put(answer)
    assert store.get("netify", GOOGLE) == again


@pytest.mark.parametrize(
    ("found", "age", "good"),
    [
        (True, timedelta(days=12.5), True),
        (True, timedelta(days=14.1), False),
        (False, timedelta(days=0.89), True),
        (False, timedelta(days=1.1), False),
    ],
)
def test_each_kind_of_answer_has_its_own_lifetime(store, found, age, good):
    store.put(answered(found=found, age=age))
    assert (store.get("netify", GOOGLE) is not None) == good


def test_answers_of_one_moment_do_not_expire_at_one_moment_and_each_keeps_its_own(cache):
    moment = datetime.now(UTC) - timedelta(days=13.3)  # of 14: the middle between 0.9 and 1.0
    many = addresses(400)

    def good() -> list[bool]:
        with opened(cache) as store:
            return [store.is_good(Answer(endpoint, "netify", True, moment)) for endpoint in many]

    assert 100 < sum(good()) < 300
    assert good() == good()


def test_a_changed_lifetime_works_at_once(cache):
    with opened(cache) as store:
        store.put(answered(age=timedelta(days=5)))
        store.put(answered(NETFLIX, found=False, age=timedelta(hours=6)))
    with opened(cache, answer_days=4, not_found_days=0.1) as store:
        assert (store.get("netify", GOOGLE), store.get("netify", NETFLIX)) == (None, None)
    with opened(cache, answer_days=6, not_found_days=1) as store:
        assert store.get("netify", GOOGLE) is not None
        assert store.get("netify", NETFLIX) is not None


def test_a_lifetime_of_zero_asks_each_time(cache):
    lab = Lab()
    with opened(cache, answer_days=0) as store:
        assert [store.answer(GOOGLE, lab)[1] for _ in range(2)] == [True, True]


def test_an_answer_from_far_in_the_future_is_not_good_for_ever(store):
    store.put(answered(age=timedelta(days=-400)))
    assert store.get("netify", GOOGLE) is None


@pytest.mark.parametrize("found", [True, False])
def test_after_the_clock_jumped_back_an_endpoint_is_asked_once_and_not_each_time(store, found):
    store.put(answered(age=timedelta(days=-400), provider="lab", found=found))
    lab = Lab()
    assert [store.answer(GOOGLE, lab)[1] for _ in range(3)] == [True, False, False]


def test_a_clock_that_jumps_back_a_little_makes_no_answer_old(store):
    store.put(answered(age=timedelta(hours=-2)))
    assert store.get("netify", GOOGLE) is not None


def test_an_endpoint_is_asked_once(store):
    lab = Lab()
    results = [store.answer(GOOGLE, lab) for _ in range(3)]
    assert [asked for _, asked in results] == [True, False, False]
    assert {answer for answer, _ in results} == {results[0][0]}
    assert lab.asked == [GOOGLE]


def test_an_expired_answer_is_asked_for_again(store):
    store.put(answered(age=timedelta(days=15), provider="lab"))
    answer, asked = store.answer(GOOGLE, Lab())
    assert asked
    assert store.get("lab", GOOGLE) == answer


def test_a_failure_is_not_kept_and_gives_the_turn_back(store):
    lab = Lab(fails=True)
    for _ in range(2):
        with pytest.raises(EndpointFailed):
            store.answer(GOOGLE, lab)
    assert lab.asked == [GOOGLE, GOOGLE]
    assert store.get("lab", GOOGLE) is None


def test_nothing_is_ever_culled(tmp_path):
    """By default diskcache deletes the ten oldest records per write beyond its size limit."""
    many = addresses(400)
    with opened(tmp_path) as store:
        for endpoint in many:
            store.put(answered(endpoint))
    with opened(tmp_path) as store:
        assert sum(store.get("netify", endpoint) is not None for endpoint in many) == 400
    with closing(sqlite3.connect(tmp_path / "cache.db")) as file:
        settings = dict(file.execute("SELECT key, value FROM Settings"))
    assert (settings["eviction_policy"], settings["cull_limit"]) == ("none", 0)
    assert settings["size_limit"] > 2**60


def test_a_cache_made_with_other_settings_is_not_culled_either(tmp_path):
    with diskcache.Cache(str(tmp_path), size_limit=1, eviction_policy="least-recently-stored"):
        pass
    with opened(tmp_path) as store:
        for endpoint in addresses(50):
            store.put(answered(endpoint))
        assert all(store.get("netify", endpoint) for endpoint in addresses(50))


def test_answers_are_readable_json_and_no_pickle(tmp_path):
    with opened(tmp_path) as store:
        store.put(answered())
    with closing(sqlite3.connect(tmp_path / "cache.db")) as file:
        ((key, mode, value),) = file.execute("SELECT key, mode, value FROM Cache").fetchall()
    assert key == "netify/address/8.8.8.8"
    assert mode == 1  # diskcache's word for "as it is"
    assert json.loads(value)["entries"][0]["facts"] == {"app_tag": "dns"}


class Pickled:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_what_is_pickled_in_the_file_is_never_unpickled(tmp_path):
    trace = tmp_path / "unpickled"
    with diskcache.Cache(str(tmp_path)) as cache:
        cache["netify/address/8.8.8.8"] = Pickled(trace)
        cache[(1, 2)] = Pickled(trace)
    with opened(tmp_path) as store:
        assert store.get("netify", GOOGLE) is None
        assert dict(store.records.items()) == {"netify/address/8.8.8.8": "", "": ""}
        store.put(answered())
        assert store.get("netify", GOOGLE)
    assert not trace.exists()


def test_only_what_reads_damaged_files_knows_the_tables_of_diskcache():
    modules = (PROJECT / "mt_pipeline").rglob("*.py")
    assert [path.name for path in modules if "FROM Cache" in path.read_text()] == ["repair.py"]


def test_an_answer_that_the_first_release_kept_is_good_and_becomes_history(tmp_path):
    before = answered(age=timedelta(days=2))
    text = {
        "kind": "address",
        "endpoint": "8.8.8.8",
        "provider": "netify",
        "found": True,
        "asked_at": before.asked_at.isoformat(),
    }
    with diskcache.Cache(str(tmp_path)) as cache:
        cache["netify/address/8.8.8.8"] = json.dumps({**text, "facts": {"app_tag": "dns"}})
    with opened(tmp_path) as store:
        assert store.get("netify", GOOGLE) == before
        store.put(answered(found=False))
        assert store.as_of("netify", GOOGLE, datetime.now(UTC) - timedelta(days=1)) == before


def test_a_history_of_any_length_stays_in_the_file(tmp_path):
    """Diskcache puts what is longer than 32 KiB into files of its own, one each."""
    with opened(tmp_path) as store:
        for number in range(300):
            store.put(answered(found=number % 2 == 0))
        [known] = store.histories("netify", [GOOGLE])
    assert len(known.entries) == 300
    assert len(known.to_json()) > 2**15
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    "damage",
    [
        "'scribble'",
        "NULL",
        "17",
        "x'ff00'",
        "CAST(x'ff7b' AS TEXT)",
        "replace(value, '8.8.8.8', '9.9.9.9')",
    ],
    ids=lambda damage: damage[:7],
)
def test_one_record_that_cannot_be_read_is_asked_for_anew(tmp_path, caplog, damage):
    with opened(tmp_path) as store:
        store.put(answered(provider="lab"))
        store.put(answered(NETFLIX, provider="lab"))
    with closing(sqlite3.connect(tmp_path / "cache.db")) as file, file:
        assert (
            file.execute(f"UPDATE Cache SET value = {damage} WHERE key LIKE '%8.8.8.8'").rowcount
            == 1
        )
    with opened(tmp_path) as store:
        assert [
            asked
            for _, asked in (
                store.answer(endpoint, Lab()) for endpoint in (GOOGLE, NETFLIX, GOOGLE)
            )
        ] == [True, False, False]
    assert "8.8.8.8' cannot be read" in caplog.text


def test_hits_misses_and_calls_saved_are_added_up_over_sessions(cache):
    for _ in range(2):
        with opened(cache) as store:
            store.answer(GOOGLE, Lab())
            store.get("lab", GOOGLE)
            store.get("lab", NETFLIX)
            store.get("netify", GOOGLE)
    with opened(cache) as store:
        assert store.tallies() == {
            "lab": Tally(hits=3, misses=3, calls_saved=1),
            "netify": Tally(misses=2),
        }


def test_a_tally_that_cannot_be_read_begins_anew_and_costs_no_answer(tmp_path, caplog):
    with opened(tmp_path) as store:
        store.put(answered())
    (tmp_path / "tally.json").write_text('{"netify": {"hits": "many"}}')
    with opened(tmp_path) as store:
        assert store.get("netify", GOOGLE)
    with opened(tmp_path) as store:
        assert store.tallies() == {"netify": Tally(hits=1)}
    assert "tally.json cannot be read" in caplog.text


def write_and_look(folder: Path, name: str) -> None:
    """Be one of several processes that work with one store."""
    with AnswerStore(folder, answer_days=14, not_found_days=1) as store:
        for number in range(30):
            store.put(
                Answer(GOOGLE, "netify", True, datetime.now(UTC), Facts(app_tag=f"{name}-{number}"))
            )
            store.get("netify", GOOGLE)


def test_processes_that_write_at_once_lose_no_entry_and_no_hit(cache):
    processes = [
        multiprocessing.get_context("spawn").Process(target=write_and_look, args=(cache, name))
        for name in "abc"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    with opened(cache) as store:
        [known] = store.histories("netify", [GOOGLE])
        assert {entry.facts.app_tag for entry in known.entries} == {
            f"{name}-{number}" for name in "abc" for number in range(30)
        }
        assert store.tallies() == {"netify": Tally(hits=90)}


FULL = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline.enrichment.answers.store import AnswerStore
folder = Path(sys.argv[1])
with AnswerStore(folder, answer_days=14, not_found_days=1) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    for number in range(1000):
        print(number, flush=True)
        endpoint, facts = Endpoint("name", f"n{number}.example"), Facts(app_tag="x" * 2000)
        store.put(Answer(endpoint, "netify", True, datetime.now(UTC), facts))
"""


def test_a_disk_that_is_full_is_named_and_nothing_that_was_kept_is_lost_or_taken_for_damage(
    tmp_path,
):
    """A limit on the size of files stands for a full disk: SQLite cannot write either."""
    process = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, cwd=PROJECT
    )
    last = int(process.stdout.split()[-1])
    assert 5 < last < 999
    assert re.search(
        r"StoreError: .*cache\.db: the store of answers cannot be used \(.+\); make room",
        process.stderr,
    )
    with opened(tmp_path) as store:
        kept = [
            store.get("netify", Endpoint("name", f"n{number}.example")) is not None
            for number in range(last + 1)
        ]
        store.put(answered())
    assert kept == [True] * last + [False]
    assert list(tmp_path.parent.glob("*.damaged-*")) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cache\.db: .*cannot be used"):
        AnswerStore(tmp_path / "file" / "answers", answer_days=14, not_found_days=1)


def hold_turns(
    folder: Path, start: "multiprocessing.Barrier", turns: "multiprocessing.Queue[int]"
) -> None:
    """Take turn after turn without a break, as a capture with many endpoints does."""

    class Slow(Lab):
        def ask(self, endpoint: Endpoint) -> Answer:
            time.sleep(0.02)
            raise EndpointFailed("again")

    count = 0
    with AnswerStore(folder, answer_days=14, not_found_days=1) as store:
        start.wait(60)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            with pytest.raises(EndpointFailed):
                store.answer(GOOGLE, Slow())
            count += 1
    turns.put(count)


def test_two_captures_share_the_turns_fairly(cache):
    """Regression: with one polled lock, whoever had it got it again nearly always."""
    with opened(cache):
        pass
    context = multiprocessing.get_context("spawn")
    start, turns = context.Barrier(2), context.Queue()
    processes = [context.Process(target=hold_turns, args=(cache, start, turns)) for _ in range(2)]
    for process in processes:
        process.start()
    counts = sorted(turns.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert counts[0] > 10
    assert counts[1] < 2 * counts[0]


def test_names_and_text_with_odd_characters_are_kept(cache: Path | Postgres):
    odd = Endpoint("name", "a\0b.example")
    with opened(cache) as store:
        store.put(answered(odd))
        assert store.newest("netify", odd).endpoint == odd
        assert [key for key, _ in store.records.items()] == [f"netify/name/{odd.value}"]
