"""A state moves whole, to a place that has none, while nobody works, or it does not move."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.enrichment.answers.files import FILE
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.options import Options
from mt_pipeline.pipeline.state_move.move import move
from mt_pipeline.pipeline.state_move.parts import BATCH, MoveError, Part
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.state.postgres import SCHEMA, StateError
from mt_pipeline_tests.pipeline.state_move.states import content, fill, fill_many, options_of
from mt_pipeline_tests.pipelines import files_below
from mt_pipeline_tests.postgres import Server


@pytest.fixture
def here(tmp_path: Path) -> Options:
    """Give a data folder with a state."""
    options = options_of(tmp_path / "data")
    fill(options)
    return options


def moved(options: Options, target: Server | None) -> dict[Part, int]:
    state = target.state if target else None
    return move(Workspace(options), state, progress=lambda *_: None)


def tables(server: Server) -> list[tuple[object, ...]]:
    return server.sql("SELECT tablename FROM pg_tables WHERE schemaname = %s", SCHEMA)


def test_all_of_it_arrives_and_comes_back_as_it_was(
    here: Options, postgres_server: Server, tmp_path: Path
):
    before, files = content(here), files_below(here.data_dir)

    counts = moved(here, postgres_server)

    there = options_of(tmp_path / "another", postgres_server.state)
    assert counts == dict(zip(Part, (2, 2, 1, 2, 2, 3), strict=True))
    assert content(there) == before
    assert content(here) == before
    assert set(files_below(here.data_dir)) == {*files, "service.lock"}

    assert moved(there, None) == counts
    assert content(options_of(tmp_path / "another")) == before
    assert content(there) == before


def test_what_is_there_already_is_moved_again_without_harm(here: Options, postgres_server: Server):
    assert moved(here, postgres_server) == moved(here, postgres_server)


def test_the_state_goes_on_where_it_came_to(here: Options, postgres_server: Server):
    moved(here, postgres_server)
    there = options_of(here.data_dir, postgres_server.state)
    ledger = Workspace(there).ledger
    with ledger.lock("lab/b.pcap") as record:
        assert record
        ledger.file_deleted("lab/b.pcap", record)
    providers.budget(there, "r1").spend()
    assert providers.budget(there).spent_today() == 4
    assert providers.budget(here).spent_today() == 3


@pytest.mark.parametrize("back", [False, True], ids=["to Postgres", "to the folder"])
def test_a_place_with_another_state_is_refused_and_stays(
    here: Options, postgres_server: Server, tmp_path: Path, back: bool
):
    other = options_of(tmp_path / "other")
    fill(other)
    moved(other, postgres_server)
    there = options_of(here.data_dir, postgres_server.state)
    of_folder, of_postgres = content(here), content(there)

    with pytest.raises(MoveError, match="of another state") as error:
        moved(there, None) if back else moved(here, postgres_server)

    assert ("move ledger.sqlite and cache" if back else "DROP SCHEMA") in str(error.value)
    assert (content(here), content(there)) == (of_folder, of_postgres)


def test_nothing_moves_while_somebody_is_at_work(here: Options, postgres_server: Server):
    there = options_of(here.data_dir, postgres_server.state)
    with Workspace(here).ledger.lock("lab/b.pcap"), pytest.raises(MoveError, match="a run is at"):
        moved(here, postgres_server)
    with Workspace(here).service_lock, pytest.raises(MoveError, match="a service, or another"):
        moved(here, postgres_server)
    assert tables(postgres_server) == []

    child = held_by_a_child(lambda: Workspace(there).ledger.lock("a run"))
    try:
        for options, target in ((here, postgres_server), (there, None)):
            with pytest.raises(MoveError, match=r"a service or a run is at work in postgresql:"):
                moved(options, target)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def held_by_a_child(lock: Callable[[], object]) -> int:
    """Have another process take a lock, and keep it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            with lock():  # type: ignore[attr-defined]
                os.write(writer, b"!")
                signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"!"
    os.close(reader)
    return child


def test_of_two_moves_at_once_one_is_refused(tmp_path: Path, postgres_server: Server):
    here, other = options_of(tmp_path / "data"), options_of(tmp_path / "other")
    fill_many(here, BATCH)
    fill(other)
    refused = []

    def meanwhile(part: str, _: int) -> None:
        if part == Part.CAPTURES:
            for options in (here, other):
                with pytest.raises(MoveError, match="another move") as error:
                    moved(options, postgres_server)
                refused.append(error)

    move(Workspace(here), postgres_server.state, progress=meanwhile)

    assert len(refused) == 2
    assert content(options_of(here.data_dir, postgres_server.state)) == content(here)


def killed_while_moving(options: Options, target: Server | None, part: Part) -> None:
    """Move in a process that is killed in the middle of a part."""

    def kill(what: str, _: int) -> None:
        if what == part:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            move(Workspace(options), target.state if target else None, progress=kill)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("part", [Part.ANSWERS, Part.CAPTURES])
def test_a_move_that_is_killed_leaves_postgres_empty_and_can_be_done_again(
    tmp_path: Path, postgres_server: Server, part: Part
):
    here = options_of(tmp_path / "data")
    fill_many(here, 2 * BATCH)
    before = content(here)

    killed_while_moving(here, postgres_server, part)

    assert tables(postgres_server) == []
    assert content(here) == before
    moved(here, postgres_server)
    assert content(options_of(here.data_dir, postgres_server.state)) == before


@pytest.mark.parametrize("part", [Part.ANSWERS, Part.CAPTURES])
def test_a_move_back_that_is_killed_leaves_no_half_file_and_goes_on(
    tmp_path: Path, postgres_server: Server, part: Part
):
    here = options_of(tmp_path / "data")
    fill_many(here, 2 * BATCH)
    before = content(here)
    moved(here, postgres_server)
    back = options_of(tmp_path / "new", postgres_server.state)
    files = options_of(tmp_path / "new")

    killed_while_moving(back, None, part)

    assert Ledger(files.ledger_file).records() == []
    assert content(files)["answers"] in ({}, before["answers"])
    assert content(back) == before
    moved(back, None)
    assert content(files) == before


def test_a_state_that_is_nowhere_or_where_it_shall_go_is_not_moved(
    tmp_path: Path, here: Options, postgres_server: Server
):
    with pytest.raises(MoveError, match="has no ledger"):
        moved(options_of(tmp_path / "empty"), postgres_server)
    assert files_below(tmp_path / "empty") == []
    with pytest.raises(MoveError, match=r"is in .*data already"):
        moved(here, None)
    there = options_of(here.data_dir, postgres_server.state)
    with pytest.raises(MoveError, match="take it out"):
        moved(there, postgres_server)
    with pytest.raises(MoveError, match="there is no state in postgresql:"):
        moved(options_of(tmp_path / "empty", postgres_server.state), None)


def test_answers_that_cannot_be_read_stay_behind(here: Options, postgres_server: Server):
    with providers.store(here) as store:
        store.records.change(["netify/name/bad"], lambda _: {"netify/name/bad": "no \0 answer"})

    assert moved(here, postgres_server)[Part.ANSWERS] == 2
    assert FILE in [Path(file).name for file in files_below(here.data_dir)]


def test_a_postgres_that_goes_away_meanwhile_is_named_with_the_cure(
    tmp_path: Path, postgres_server: Server
):
    here = options_of(tmp_path / "data")
    fill_many(here, BATCH + 1)
    with pytest.raises(StateError, match="stays as it was") as error:
        move(Workspace(here), postgres_server.state, progress=lambda *_: postgres_server.cut())
    assert str(postgres_server.state.password) not in str(error.value)
    assert tables(postgres_server) == []
