"""The part of `make bench` about answers: endpoints a second, by store and by free provider.

`bench.py` runs it. BENCH_ANSWERS (200,000) is the number of answers in the store.
"""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline.enrichment.offline.provider import Offline
from mt_pipeline.enrichment.provider import Provider
from mt_pipeline.settings import PROJECT
from mt_pipeline_tests.enrichment.city_files import city_file, nested
from mt_pipeline_tests.enrichment.parts import addresses, endpoints_file

AT_MOST = 200_000
"""Endpoints that are looked up."""

PUTS = 200


class Silent:
    """A paid provider that must never be asked."""

    name = "paid"
    kinds = frozenset({"address", "name"})

    def ask(self, endpoint: Endpoint) -> Answer:
        raise AssertionError(f"{endpoint} is in the store")


def main(say: Callable[[str], None]) -> None:
    count = int(os.environ.get("BENCH_ANSWERS", "200000"))
    with tempfile.TemporaryDirectory(prefix="mt-bench-", dir=PROJECT) as name:
        folder = Path(name)
        say(f"\nbuilding a store of {count:,} answers")
        everybody = addresses(count)
        build(folder / "answers", everybody)
        sampled = random.Random(1).sample(everybody, min(count, AT_MOST))  # noqa: S311  # nothing secret
        endpoints = endpoints_file(folder / "endpoints", sampled)
        size = (folder / "answers" / "cache.db").stat().st_size
        say(
            f"{size:,} bytes; {len(sampled):,} endpoints are looked up\n\n"
            f"{'answers':<50} {'seconds':>9} {'endpoints/s':>11}"
        )
        for what, seconds, number in (
            *of_the_store(folder, endpoints, sampled),
            *of_free_providers(folder, endpoints, len(sampled)),
        ):
            say(f"{what:<50} {seconds:>9.3f} {number / seconds:>11,.0f}")


def opened(folder: Path) -> AnswerStore:
    return AnswerStore(folder, answer_days=14, not_found_days=1)


def build(folder: Path, endpoints: Sequence[Endpoint]) -> None:
    """Store an answer of an hour ago for each endpoint, in random order."""
    moment = datetime.now(UTC) - timedelta(hours=1)
    facts = Facts("example-app", "business", None, "Europe", "Germany", "Berlin", 13.405, 52.52)
    mixed = random.Random(2).sample(endpoints, len(endpoints))  # noqa: S311
    with opened(folder) as store:
        for some in range(0, len(mixed), 10_000):
            store.take_in(
                History.of(Answer(endpoint, Silent.name, True, moment, facts))
                for endpoint in mixed[some : some + 10_000]
            )


def of_the_store(
    folder: Path, endpoints: Path, sampled: Sequence[Endpoint]
) -> Iterator[tuple[str, float, int]]:
    answers = folder / "answers"
    forget(answers / "cache.db")
    with opened(answers) as store:
        for what in ("a cold store", "a warm store"):
            yield (
                f"enrich from {what}",
                timed(lambda: enrich(endpoints, folder / "out", providers=[Silent()], store=store)),
                len(sampled),
            )
        some = sampled[:PUTS]
        yield (
            "put",
            timed(
                lambda: [
                    store.put(Answer(endpoint, Silent.name, True, datetime.now(UTC)))
                    for endpoint in some
                ]
            ),
            len(some),
        )
        yield (
            "get",
            timed(lambda: [store.get(Silent.name, endpoint) for endpoint in sampled[:10_000]]),
            len(sampled[:10_000]),
        )
    yield "open and close", timed(lambda: opened(answers).close()), 1


def of_free_providers(
    folder: Path, endpoints: Path, number: int
) -> Iterator[tuple[str, float, int]]:
    blocks = {
        f"8.{high}.{low}.0/24": nested("DE", "Germany", f"City {high}", (13.405, 52.52))
        for high in range(32)
        for low in range(256)
    }
    cities = city_file(folder / "city.mmdb", blocks)
    apps = folder / "apps.conf"
    apps.write_text("".join(f"app:{n}:netify.app-{n}\nnet:{n}:8.{n}.0.0/16\n" for n in range(200)))
    for what, provider in (
        ("countries of allocation", Offline()),
        ("a city file", Offline(city_mmdb=cities)),
        ("countries and applications", Offline(apps=apps)),
    ):
        yield (
            f"enrich by offline, {what}",
            timed(lambda provider=provider: looked_up(endpoints, folder / "out", provider)),
            number,
        )
        provider.close()


def looked_up(endpoints: Path, output: Path, provider: Provider) -> None:
    assert enrich(endpoints, output, providers=[provider]).answered


def forget(file: Path) -> None:
    """Let the system forget what it remembers of a file."""
    with file.open("rb") as opened_file:
        os.fsync(opened_file.fileno())
        os.posix_fadvise(opened_file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started
