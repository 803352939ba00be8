"""A power cut under the embedded QuestDB, whose cure is then carried out word by word."""

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
    """Truncate all files of tables newer than the sync, so that only the last resort helps."""
    result = _power_cut(folder, before=0, after=captures, cut=_cut_back)
    return result.wrong if result.moved else [*result.wrong, "the last resort was not needed"]


class _Cut:
    """A pipeline whose QuestDB loses its power, and a person who follows the messages.

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
        return self._open.enter_context(Workspace(self.settings.options()).start_questdb())

    def run(self, *arguments: str | Path) -> Result:
        """Run a command."""
        return ended(program(*arguments, settings=self.settings), timeout=_ENOUGH)

    def done(self, *arguments: str | Path) -> Result:
        """Run a command that must succeed."""
        result = self.run(*arguments)
        if result.code:
            self.wrong.append(
                f"{arguments[0]}: exit {result.code}: {result.out[-500:]}{result.err[-1500:]}"
            )
        return result

    def follow(self) -> None:
        """Run a command, and follow its message."""
        text = self.done("ingest", self.settings.inbox_dir).err
        if "not stopped in order the last time" not in text or "no row is missing" in text:
            self.wrong.append(f"not noticed: {text}")
        if last := _AWAY.search(text):
            self._last_resort(Path(last[1]), inbox=last[2])

    def _last_resort(self, questdb: Path, *, inbox: str) -> None:
        self.moved = True
        self._open.close()
        shutil.move(questdb, questdb.with_name("moved-away"))
        self.start()
        self.run("verify", "--repair")  # finds differences, so it does not exit with 0
        self.done("ingest", inbox)


def _power_cut(folder: Path, *, before: int, after: int, cut: Callable[[Path, Path], int]) -> _Cut:
    """Load, copy the files as synced, load more, kill QuestDB, lose what was not synced, recover.

    Args:
        folder: for all files.
        before: captures that are loaded before the sync.
        after: captures that are loaded after it.
        cut: damages a folder, given its synced copy; returns how many bytes are lost.
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
        here.wrong += archive.differences(Workspace(here.settings.options()).database(), expected)
    return here


def _cut_back(files: Path, copy: Path) -> int:
    """Truncate files to their size in the copy, and those that it lacks to nothing."""
    lost = 0
    for path in _files(files):
        synced = copy / path.relative_to(files)
        size, was = path.stat().st_size, synced.stat().st_size if synced.exists() else 0
        if size > was:
            os.truncate(path, was)
            lost += size - was
    return lost


def _give_back(files: Path, copy: Path) -> int:
    lost = sum(
        path.stat().st_size
        for path in _files(files)
        if not (copy / path.relative_to(files)).exists()
    )
    shutil.rmtree(files)
    shutil.copytree(copy, files)
    return lost


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
