"""A power cut under the embedded QuestDB. What the program says then is done, word by word."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from mt_pipeline.backends.questdb import server
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings
from mt_pipeline_tests.pipelines import PASSWORD, Result, ended, program, settings_of
from mt_pipeline_tests.services import free_ports
from mt_pipeline_tests.soaking import archive

_ENOUGH = 3600
_AWAY = re.compile(
    "stop all, move (.+?) away, then `mt-pipeline verify --repair` and `mt-pipeline ingest (.+?)`"
)


def lost(folder: Path, *, captures: int) -> list[str]:
    """Give every file back what it had at a sync between two loads."""
    return _power_cut(folder, before=captures, after=captures, cut=_give_back).wrong


def emptied(folder: Path, *, captures: int) -> list[str]:
    """Cut back all files of tables that were made after the sync, which leaves nothing of them: only the last resort helps."""
    done = _power_cut(folder, before=0, after=captures, cut=_cut_back)
    return done.wrong if done.moved else [*done.wrong, "the last resort was not needed"]


class _Cut:
    """A pipeline whose QuestDB loses its power, and a person who does what is said.

    Attributes:
        wrong: what is wrong at the end.
        moved: whether QuestDB's folder was moved away, the last resort.
    """

    def __init__(self, folder: Path) -> None:
        http, pg = free_ports(2)
        self.settings: Settings = settings_of(
            folder / "data", Database("127.0.0.1", http, pg, "admin", PASSWORD), questdb_host=None
        )
        self.questdb = self.settings.data_dir / "questdb"
        self.wrong: list[str] = []
        self.moved = False
        self._open = ExitStack()

    def __enter__(self) -> "_Cut":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def start(self) -> server.Server:
        """Start QuestDB for the commands that follow, which is quicker than one for each."""
        return self._open.enter_context(Workspace(self.settings).start_questdb())

    def said(self, *arguments: str | Path) -> Result:
        """Run a command."""
        return ended(program(*arguments, settings=self.settings), timeout=_ENOUGH)

    def done(self, *arguments: str | Path) -> Result:
        """Run a command that must succeed."""
        told = self.said(*arguments)
        if told.code:
            self.wrong.append(
                f"{arguments[0]}: exit {told.code}: {told.out[-500:]}{told.err[-1500:]}"
            )
        return told

    def follow(self) -> None:
        """Do what the next command says."""
        told = self.done("ingest", self.settings.inbox_dir)
        if "not stopped in order the last time" not in told.err or "no row is missing" in told.err:
            self.wrong.append(f"not noticed: {told.err}")
        if last := _AWAY.search(told.err):
            self._last_resort(Path(last[1]), inbox=last[2])

    def _last_resort(self, questdb: Path, *, inbox: str) -> None:
        self.moved = True
        self._open.close()
        shutil.move(questdb, questdb.with_name("moved-away"))
        self.start()
        self.said("verify", "--repair")  # it has found differences, so it has a status
        self.done("ingest", inbox)


def _power_cut(folder: Path, *, before: int, after: int, cut: Callable[[Path, Path], int]) -> _Cut:
    """Load, copy what a sync would leave, load more, kill QuestDB, take from its files what was not synced, do what is said, and count.

    Args:
        folder: for all of it.
        before: captures that are loaded before the sync.
        after: captures that are loaded after it.
        cut: what happens to a folder, given its copy of the sync; says how many bytes are lost.
    """
    with _Cut(folder) as here:
        inbox, files, copy = here.settings.inbox_dir, here.questdb / "db", folder / "synced"
        running = here.start()
        expected = archive.write(inbox, "synced", before)
        if before:
            here.done("ingest", inbox)
        shutil.copytree(files, copy)
        expected |= archive.write(inbox, "after", after)
        here.done("ingest", inbox)  # acknowledged, and counted
        running.process.kill()
        running.process.wait()
        if not cut(files, copy):
            here.wrong.append("nothing was lost")
        here.start()
        here.follow()
        here.done("verify", "--hash")
        here.wrong += archive.differences(Workspace(here.settings).database(), expected)
    return here


def _cut_back(files: Path, copy: Path) -> int:
    """Cut files back to their size in the copy; those that are not in it to nothing."""
    gone = 0
    for path in _files(files):
        synced = copy / path.relative_to(files)
        size, was = path.stat().st_size, synced.stat().st_size if synced.exists() else 0
        if size > was:
            os.truncate(path, was)
            gone += size - was
    return gone


def _give_back(files: Path, copy: Path) -> int:
    gone = sum(
        path.stat().st_size
        for path in _files(files)
        if not (copy / path.relative_to(files)).exists()
    )
    shutil.rmtree(files)
    shutil.copytree(copy, files)
    return gone


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
