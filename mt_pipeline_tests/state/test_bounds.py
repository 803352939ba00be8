"""What the state costs its Postgres: connections are kept, a capture takes few transactions."""

from collections.abc import Callable

import pytest

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.netify.rate_limit import SharedRate
from mt_pipeline.state.postgres import Postgres
from mt_pipeline_tests.pipeline.state_move.states import FIRST
from mt_pipeline_tests.pipelines import PACKETS, Lab
from mt_pipeline_tests.postgres import Server

CAPTURES = ANSWERS = 20
KEPT = 2
"""Connections of a process: one for its locks, and one for all else."""

MOST_OF_CAPTURE = 30
"""Transactions of a capture: to take its lock, to look whether it is held, to write, to free it."""

MOST_OF_ANSWER = 20
"""Transactions of an answer that is asked for: its turn, its budget, its rate, its record."""

OWN = 2, 4
"""Connections and transactions of whoever counts."""


class Load:
    """What Postgres counts. Connections and transactions are counted when they have ended."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def of(self, work: Callable[[], object]) -> tuple[int, int]:
        """Do some work; return the connections and the transactions that it took."""
        before = self._numbers()
        work()
        after = self._numbers()
        return after[0] - before[0] - OWN[0], after[1] - before[1] - OWN[1]

    def _numbers(self) -> tuple[int, int]:
        self._server.cut()
        [(sessions, transactions)] = self._server.sql(
            "SELECT sessions, xact_commit + xact_rollback FROM pg_stat_database "
            "WHERE datname = current_database()"
        )
        return int(str(sessions)), int(str(transactions))


@pytest.fixture
def load(postgres_server: Server) -> Load:
    return Load(postgres_server)


class Fast:
    """A paid provider that counts its calls, and knows everything at once."""

    name = "netify"
    kinds = frozenset({"name"})

    def __init__(self, state: Postgres) -> None:
        self._budget = Budget(state, provider=self.name, run="a run", per_day=99, per_run=99)
        self._rate = SharedRate(state, per_second=10_000)

    def ask(self, endpoint: Endpoint) -> Answer:
        self._budget.spend()
        self._rate.wait()
        return Answer(endpoint, self.name, True, FIRST, Facts())


def test_captures_share_two_connections_and_take_few_transactions(
    lab: Lab, postgres_server: Server, load: Load
):
    state = postgres_server.state
    workspace = lab.workspace(
        state_url=state.url, state_password=state.password, backends="parquet"
    )
    keys = [f"bounds/{number}.pcap" for number in range(CAPTURES)]
    for key in keys:
        lab.put(key)

    connections, transactions = load.of(lambda: lab.run(*keys, workspace=workspace))

    assert [record.rows for record in workspace.ledger.records()] == [PACKETS] * CAPTURES
    assert connections <= KEPT
    assert CAPTURES < transactions <= MOST_OF_CAPTURE * CAPTURES


def test_a_process_looks_for_its_tables_once(postgres_server: Server, load: Load):
    state = postgres_server.state
    calls = Budget(state, provider="netify", run="a run", per_day=99, per_run=99)
    Ledger(state)
    calls.spend()

    _, transactions = load.of(lambda: Ledger(state))

    assert transactions <= 0
    again = Budget(state, provider="netify", run="another run", per_day=99, per_run=99)
    assert again.left() == 98


def test_answers_share_two_connections_and_take_few_transactions(
    postgres_server: Server, load: Load
):
    def ask() -> None:
        with AnswerStore(postgres_server.state, answer_days=9, not_found_days=1) as store:
            for number in range(ANSWERS):
                store.answer(Endpoint("name", f"n{number}.example"), Fast(postgres_server.state))

    connections, transactions = load.of(ask)

    assert postgres_server.sql("SELECT count(*) FROM mt_pipeline.answers") == [(ANSWERS,)]
    assert connections <= KEPT
    assert ANSWERS < transactions <= MOST_OF_ANSWER * ANSWERS
