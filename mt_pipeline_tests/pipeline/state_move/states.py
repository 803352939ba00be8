"""States to move, made and read by what uses them in the pipeline."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from mt_pipeline.captures.database import TABLE
from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.sqlite_database import SqliteDatabase
from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline.enrichment.netify import calls, rate_limit
from mt_pipeline.enrichment.netify.rate_limit import SharedRate
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings
from mt_pipeline.state.postgres import Postgres

LATER = datetime(2026, 4, 1, tzinfo=UTC)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def options_of(data: Path, state: Postgres | None = None) -> Options:
    """Return the options of a data folder whose state is there, or in Postgres."""
    where = {"state_url": state.url, "state_password": state.password} if state else {}
    return Settings(
        _env_file=None, data_dir=data, enrichment="none", backends="parquet", **where
    ).options()


def fill(options: Options) -> None:
    """Make a state of which each part has something."""
    ledger = Workspace(options).ledger
    odd = Capture("lab/ünï 'a' \\ %.pcap", options.inbox_dir, 7, 2**70)
    for capture in (odd, Capture("lab/b.pcap", options.inbox_dir, 2**40, 0)):
        with ledger.lock(capture.key):
            ledger.claim(capture, run="r1", filter="tls && ip")
    ledger.hashed(odd.key, "ab" * 32)
    ledger.finish(
        odd.key, sha256="ab" * 32, documents="d", packets=3, rows=2, skipped={"ön": 1}, cut=True
    )
    ledger.answered(odd.key, answers="f", owed=2, answers_by={"netify": {"answered": 3}})
    ledger.fail("lab/b.pcap", "no 'reason'\nat all")
    ledger.refuse(Capture("lab/c.txt", options.inbox_dir, 1, 1), "it is no capture")
    with providers.store(options) as store:
        for moment, app in ((FIRST, "netflix"), (LATER, "youtube")):
            store.put(
                Answer(Endpoint("name", "ü.example"), "netify", True, moment, Facts(app_tag=app))
            )
        store.put(Answer(Endpoint("address", "8.8.8.8"), "netify", False, FIRST, Facts()))
        store.get("netify", Endpoint("address", "8.8.8.8"))
        store.get("other", Endpoint("address", "8.8.4.4"))
    for run in ("r1", "r1", "r2"):
        providers.budget(options, run).spend()
    rate = SharedRate(_rate_place(options), per_second=1000)
    rate.wait()
    rate.hold(3600)


def fill_many(options: Options, count: int) -> None:
    """Make a state of many captures and answers, in a data folder."""
    one = Capture("many/0.pcap", options.inbox_dir, 7, 1)
    ledger = Ledger(options.ledger_file)
    ledger.claim(one, run="r1")
    ledger.finish(one.key, sha256="ab", documents="d", packets=2, rows=2, skipped={})
    with SqliteDatabase(options.ledger_file).write() as db:
        [row] = db.execute(sa.select(TABLE)).mappings()
        copies = [{**row, "key": f"many/{number}.pcap"} for number in range(1, count)]
        db.execute(sa.insert(TABLE), copies)
    with providers.store(options) as store:
        store.take_in(_history(number) for number in range(count))


def content(options: Options) -> Mapping[str, object]:
    """Return all of a state, as its users see it."""
    with providers.store(options) as store:
        answers, usage = dict(store.records.items()), store.tallies()
    runs = [providers.budget(options, run) for run in ("r1", "r2")]
    kept = calls.opened(_rate_place(options), rate_limit.TABLE)
    with kept.transaction(writes=False) as execute:
        pauses = sorted(execute("SELECT one, since, until FROM hold"))
    return {
        "captures": Workspace(options).ledger.records(),
        "answers": answers,
        "usage": usage,
        "calls": [run._calls() for run in runs],
        "pauses": pauses,
    }


def _rate_place(options: Options) -> Path | Postgres:
    return options.state or options.data_dir / "cache" / rate_limit.FILE


def _history(number: int) -> History:
    moment = FIRST + timedelta(seconds=number)
    endpoint = Endpoint("name", f"n{number}.example")
    return History.of(Answer(endpoint, "netify", True, moment, Facts(app_tag="netflix")))
