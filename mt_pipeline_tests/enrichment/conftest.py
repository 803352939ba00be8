"""Fixtures of this room: the fake API, a provider that asks it, and a store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.netify.client import Netify, RetryPolicy
from mt_pipeline_tests.enrichment.parts import KEY, QUICK
from mt_pipeline_tests.fake_netify import FakeNetify


@pytest.fixture
def fake_netify(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNetify]:
    """Serve a fake Netify for one test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeNetify() as fake:
        yield fake


@pytest.fixture
def netify(tmp_path: Path) -> Iterator[Callable[..., Netify]]:
    """Return a function that makes a provider of the fake; keywords replace its arguments."""
    made: list[Netify] = []

    def make(fake: FakeNetify, *, retry: RetryPolicy = QUICK, **changes: object) -> Netify:
        arguments = {
            "url": fake.url,
            "key": KEY,
            "calls_per_second": 1000,
            "rate_file": tmp_path / "cache" / "rate.sqlite",
            "retry": retry,
        }
        made.append(Netify(**{**arguments, **changes}))
        return made[-1]

    yield make
    for provider in made:
        provider.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnswerStore]:
    """Open an empty store."""
    with AnswerStore(tmp_path / "cache" / "answers", answer_days=14, not_found_days=1) as opened:
        yield opened
