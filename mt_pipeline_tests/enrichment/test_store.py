"""The store: what it keeps, for how long, and that nothing is lost or asked twice."""

import json
import multiprocessing
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mt_pipeline.enrichment.answers import Answer, Endpoint, Facts
from mt_pipeline.enrichment.provider import EndpointFailed
from mt_pipeline.enrichment.store import AnswerStore, StoreError
from mt_pipeline_tests.enrichment.parts import GOOGLE, NETFLIX, addresses


def answered(endpoint: Endpoint = GOOGLE, *, found: bool = True, age: timedelta = timedelta(), provider: str = "netify") -> Answer:
    return Answer(endpoint, provider, found, datetime.now(UTC) - age, Facts(app_tag="dns") if found else Facts())


@contextmanager
def opened(folder: Path, *, answer_days: float = 14, not_found_days: float = 1) -> Iterator[AnswerStore]:
    with AnswerStore(folder, answer_days=answer_days, not_found_days=not_found_days) as store:
        yield store


class Lab:
    """A provider in the test's own process: it knows everything, and fails if told to."""

    name = "lab"

    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[Endpoint] = []
        self.fails = fails

    def ask(self, endpoint: Endpoint) -> Answer:
        self.asked.append(endpoint)
        if self.fails:
            raise EndpointFailed("told to")
        return answered(endpoint, provider=self.name)


def test_an_answer_is_there_for_whoever_opens_the_store_next(tmp_path):
    kept = answered()
    with opened(tmp_path) as store:
        store.put(kept)
    with opened(tmp_path) as store:
        assert store.get("netify", GOOGLE) == kept


def test_answers_of_other_providers_kinds_and_endpoints_are_others(store):
    store.put(answered())
    assert store.get("offline", GOOGLE) is None
    assert store.get("netify", Endpoint("name", GOOGLE.value)) is None
    assert store.get("netify", NETFLIX) is None


def test_the_newest_answer_replaces_the_one_before(store):
    store.put(answered(found=False))
    store.put(answered())
    assert store.get("netify", GOOGLE).found


@pytest.mark.parametrize(
    ("found", "age", "good"),
    [
        (True, timedelta(days=13.9), True),
        (True, timedelta(days=14.1), False),
        (False, timedelta(days=0.9), True),
        (False, timedelta(days=1.1), False),
    ],
)
def test_each_kind_of_answer_has_its_own_lifetime(store, found, age, good):
    store.put(answered(found=found, age=age))
    assert (store.get("netify", GOOGLE) is not None) == good


def test_a_changed_lifetime_works_at_once(tmp_path):
    with opened(tmp_path) as store:
        store.put(answered(age=timedelta(days=5)))
        store.put(answered(NETFLIX, found=False, age=timedelta(hours=6)))
    with opened(tmp_path, answer_days=4, not_found_days=0.1) as store:
        assert (store.get("netify", GOOGLE), store.get("netify", NETFLIX)) == (None, None)
    with opened(tmp_path, answer_days=6, not_found_days=1) as store:
        assert store.get("netify", GOOGLE) is not None
        assert store.get("netify", NETFLIX) is not None


def test_a_lifetime_of_zero_asks_each_time(tmp_path):
    lab = Lab()
    with opened(tmp_path, answer_days=0) as store:
        assert [store.answer(GOOGLE, lab)[1] for _ in range(2)] == [True, True]


def test_an_answer_from_far_in_the_future_is_not_good_for_ever(store):
    store.put(answered(age=timedelta(days=-400)))
    assert store.get("netify", GOOGLE) is None


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
    """Regression: diskcache by default deletes the oldest ten per write beyond its size, which would throw paid answers away."""
    many = addresses(4000)
    with opened(tmp_path) as store:
        for endpoint in many:
            store.put(answered(endpoint))
    with opened(tmp_path) as store:
        assert sum(store.get("netify", endpoint) is not None for endpoint in many) == 4000
    with closing(sqlite3.connect(tmp_path / "cache.db")) as file:
        settings = dict(file.execute("SELECT key, value FROM Settings"))
    assert (settings["eviction_policy"], settings["cull_limit"]) == ("none", 0)
    assert settings["size_limit"] > 2**60


def test_a_cache_made_with_other_settings_is_not_culled_either(tmp_path):
    import diskcache

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
    assert json.loads(value)["facts"] == {"app_tag": "dns"}


def test_one_record_that_cannot_be_read_is_asked_for_anew(tmp_path, caplog):
    with opened(tmp_path) as store:
        store.put(answered(provider="lab"))
    with closing(sqlite3.connect(tmp_path / "cache.db")) as file, file:
        assert file.execute("UPDATE Cache SET value = 'scribble'").rowcount == 1
    with opened(tmp_path) as store:
        assert store.answer(GOOGLE, Lab())[1]
    assert "'8.8.8.8' cannot be read" in caplog.text


def test_garbage_in_place_of_the_cache_is_named_with_the_cure(tmp_path):
    (tmp_path / "cache.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreError, match=r"cache\.db: .*damaged .*not a database.*move its folder aside"):
        AnswerStore(tmp_path, answer_days=14, not_found_days=1)


def test_damage_inside_of_the_cache_is_named_with_the_cure(tmp_path):
    with opened(tmp_path) as store:
        for endpoint in addresses(2000):
            store.put(answered(endpoint))
    file = tmp_path / "cache.db"
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 4 :] = b"\x55" * (len(whole) - len(whole) // 4)
    file.write_bytes(whole)

    def read_all() -> None:
        with opened(tmp_path) as store:
            for endpoint in addresses(2000):
                store.get("netify", endpoint)

    with pytest.raises(StoreError, match=r"cache\.db: .*damaged .*move its folder aside"):
        read_all()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cache\.db: .*cannot be used"):
        AnswerStore(tmp_path / "file" / "answers", answer_days=14, not_found_days=1)


def hold_turns(folder: Path, until: float, turns: "multiprocessing.Queue[int]") -> None:
    """Take turn after turn without a break, as a capture with many endpoints does."""

    class Slow(Lab):
        def ask(self, endpoint: Endpoint) -> Answer:
            time.sleep(0.02)
            raise EndpointFailed("again")

    count = 0
    with AnswerStore(folder, answer_days=14, not_found_days=1) as store:
        while time.time() < until:
            with pytest.raises(EndpointFailed):
                store.answer(GOOGLE, Slow())
            count += 1
    turns.put(count)


def test_two_captures_share_the_turns_fairly(tmp_path):
    """Regression: with one polled lock, whoever had it got it again nearly always."""
    with opened(tmp_path):
        pass
    context = multiprocessing.get_context("spawn")
    turns = context.Queue()
    until = time.time() + 5
    processes = [context.Process(target=hold_turns, args=(tmp_path, until, turns)) for _ in range(2)]
    for process in processes:
        process.start()
    counts = sorted(turns.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert counts[0] > 10
    assert counts[1] < 2 * counts[0]
