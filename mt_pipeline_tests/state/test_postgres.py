"""Connections to the Postgres of the state: errors with a cure, restarts, forks."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mt_pipeline.captures.identity import Capture
from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.locks import CaptureBusyError
from mt_pipeline.captures.records import LedgerError
from mt_pipeline.state.postgres import Postgres
from mt_pipeline_tests.postgres import PASSWORD, Server
from mt_pipeline_tests.services import free_ports

CAPTURE = Capture("lab/a.pcap", Path("/inbox"), 7, 2**70)


def test_a_wrong_password_is_named_with_its_cure_and_not_repeated(postgres_server: Server):
    wrong = replace(postgres_server.state, password="s3cret")
    with pytest.raises(LedgerError, match="MT_STATE_PASSWORD") as error:
        Ledger(wrong)
    assert "s3cret" not in str(error.value)
    assert str(wrong) in str(error.value)


def test_a_postgres_that_is_away_or_lacks_the_database_is_named(postgres_server: Server):
    [port] = free_ports(1)
    with pytest.raises(LedgerError, match=rf"127\.0\.0\.1:{port}/db .*see that Postgres runs"):
        Ledger(Postgres(f"postgresql://lab@127.0.0.1:{port}/db", PASSWORD))
    with pytest.raises(LedgerError, match="does not exist: see that Postgres runs"):
        Ledger(replace(postgres_server.state, url=f"{postgres_server.state.url}2"))


def test_a_restart_of_postgres_is_noticed_by_no_later_operation(postgres_server: Server):
    ledger = Ledger(postgres_server.state)
    ledger.claim(CAPTURE, run="r1")
    with ledger.lock("lab/b.pcap"):
        pass
    postgres_server.kill()
    with pytest.raises(LedgerError, match="see that Postgres runs"):
        ledger.get(CAPTURE.key)
    with pytest.raises(LedgerError, match="no lock can be taken"), ledger.lock(CAPTURE.key):
        pass
    postgres_server.start()
    assert ledger.get(CAPTURE.key).mtime_ns == 2**70
    with ledger.lock(CAPTURE.key) as record:
        assert record.run == "r1"
        ledger.check(CAPTURE.key)


def test_a_child_that_is_forked_has_connections_of_its_own(postgres_server: Server):
    ledger = Ledger(postgres_server.state)
    with ledger.lock("lab/a.pcap"):
        child = os.fork()
        if not child:
            try:
                with pytest.raises(CaptureBusyError), ledger.lock("lab/a.pcap", timeout=0):
                    pass
                ledger.claim(CAPTURE, run="child")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert Ledger(postgres_server.state).is_at_work("lab/a.pcap")
        ledger.check("lab/a.pcap")
    assert ledger.get("lab/a.pcap").run == "child"


def test_the_tables_are_beside_those_of_others(postgres_server: Server):
    postgres_server.sql("CREATE TABLE IF NOT EXISTS public.captures (other int)")
    Ledger(postgres_server.state).claim(CAPTURE, run="r1")
    assert postgres_server.sql("SELECT * FROM public.captures") == []
    assert postgres_server.sql("SELECT key FROM mt_pipeline.captures") == [("lab/a.pcap",)]


def test_who_has_the_state_in_the_data_folder_imports_nothing_of_it(tmp_path: Path):
    script = (
        "import sys, pathlib; from mt_pipeline.captures.ledger import Ledger;"
        "from mt_pipeline.enrichment.answers.store import AnswerStore;"
        "from mt_pipeline.enrichment.netify.budget import Budget;"
        "folder = pathlib.Path(sys.argv[1]); Ledger(folder / 'ledger.sqlite').records();"
        "AnswerStore(folder, answer_days=1, not_found_days=1).close();"
        "Budget(folder, provider='a', run='b', per_day=1, per_run=1).spend();"
        "ours = 'mt_pipeline.state.advisory', 'mt_pipeline.state.tables';"
        "print([name for name in sys.modules if name in ours or name.startswith('psycopg')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
