"""The faults. Each returns a list of what is wrong at its end.

That is: captures that QuestDB does not store exactly, and messages that are missing.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from mt_pipeline.captures.ledger import Ledger
from mt_pipeline.captures.records import State
from mt_pipeline.service import dagster_home
from mt_pipeline.settings import Settings
from mt_pipeline.system.processes import bound, stop
from mt_pipeline_tests.pipelines import (
    PASSWORD,
    Result,
    ended,
    environment,
    program,
    settings_of,
    wrapper,
)
from mt_pipeline_tests.services import Running, eventually, processes_of, running
from mt_pipeline_tests.soaking import archive
from mt_pipeline_tests.soaking.servers import Spare

VICTIMS: dict[str, Callable[[psutil.Process], bool]] = {
    "run worker": lambda process: "multiprocessing.spawn" in " ".join(process.cmdline()),
    "daemon": lambda process: "dagster._daemon" in process.cmdline(),
    "tshark": lambda process: process.name() == "tshark",
    "QuestDB": lambda process: process.name() == "java",
}
_ENOUGH = 3600


def kills(folder: Path, *, victim: str, captures: int, points: int, seed: int) -> list[str]:
    """SIGKILL one kind of process at random moments while captures are loaded.

    A service that ends by that is started again.
    """
    moments = random.Random(seed)  # noqa: S311
    killed = 0
    with _Service(folder) as service:
        expected = archive.write(service.now.settings.inbox_dir, "dropped", captures)
        while killed < points and _left(service.now.settings, expected):
            time.sleep(moments.uniform(0.2, 3))
            if _kill(service.now, VICTIMS[victim]):
                killed += 1
            service.see_to_it()
        service.until(lambda: not _left(service.now.settings, expected))
        blamed = _failed(service.now.settings) if victim == "QuestDB" else []
        _retry_failed(service.now.settings)
        wrong = blamed + archive.differences(service.now.database, expected)
    return (
        wrong
        if killed == points
        else [*wrong, f"only {killed} of {points} kills of {victim}: too few captures"]
    )


def drops(folder: Path, *, captures: int) -> list[str]:
    """Drop captures into the watched folder while a terminal takes in as many others."""
    with running(folder) as service:
        settings = service.settings
        archived = archive.write(folder / "elsewhere", "archive", captures)
        backfill = program("ingest", folder / "elsewhere" / "archive", settings=settings)
        dropped = archive.write(settings.inbox_dir, "dropped", captures)
        result = _ended(backfill)
        if not eventually(lambda: not _left(settings, dropped), seconds=_ENOUGH):
            return [f"{len(_left(settings, dropped))} captures were never taken up"]
        return _check_exit(result) + archive.differences(service.database, archived | dropped)


def busy(folder: Path, *, captures: int, loops: int) -> list[str]:
    """Drop captures all at once on a busy machine.

    No run may be shown as failed, and tshark may read each capture only once.
    """
    reads = folder / "reads"
    # The file that tshark reads follows -r.
    tshark = wrapper(
        folder / "counted",
        f'( while [ "$1" != -r ]; do shift; done; echo "$2" >> {reads} )\nexec "$TSHARK" "$@"',
    )
    with running(folder, MT_TSHARK=str(tshark)) as service, _busy_loops(loops):
        settings = service.settings
        expected = archive.write(folder / "elsewhere", "dropped", captures)
        (folder / "elsewhere" / "dropped").rename(settings.inbox_dir / "dropped")
        if not eventually(lambda: not _left(settings, expected), seconds=_ENOUGH):
            return [f"{len(_left(settings, expected))} captures were never taken up"]
        if not eventually(lambda: not _runs(service, "QUEUED, NOT_STARTED, STARTING, STARTED")):
            return ["runs go on, and nothing is left to be done"]
        failed = [f"run {run} is shown as failed" for run in _runs(service, "FAILURE, CANCELED")]
        read = Counter(
            line.removeprefix(f"{settings.inbox_dir}/") for line in reads.read_text().splitlines()
        )
        counted = [
            f"{key}: read {read[key]} times"
            for key in sorted(expected.keys() | read)
            if read[key] != 1
        ]
        return failed + counted + archive.differences(service.database, expected)


def outage(folder: Path, *, captures: int, seconds: float) -> list[str]:
    """Stop QuestDB in the middle of a backfill, which must wait, report that, and continue."""
    with _server(folder / "questdb") as server:
        settings = settings_of(
            folder / "data", server.database, questdb_wait_seconds=round(seconds) + 120
        )
        expected = archive.write(settings.inbox_dir, "archive", captures)
        backfill = program("ingest", settings.inbox_dir, settings=settings)
        _until_some_are_in(settings, captures // 4)
        server.kill()
        time.sleep(seconds)
        server.start_again()
        result = _ended(backfill)
        wrong = _check_exit(result) + archive.differences(server.database, expected)
        if "waiting for QuestDB" not in result.err:
            wrong.append(f"it did not report that it waits: {result.err}")
        return wrong


def suspended(folder: Path, *, captures: int) -> list[str]:
    """Let QuestDB suspend the table in the middle of a backfill.

    The message must name the cure. After it one command loads what failed.
    """
    with _server(folder / "questdb") as server:
        settings = settings_of(folder / "data", server.database)
        expected = archive.write(settings.inbox_dir, "archive", captures)
        backfill = program("ingest", settings.inbox_dir, settings=settings)
        _until_some_are_in(settings, captures // 4)
        with server.database.connect() as connection:
            connection.execute("ALTER TABLE captured_packets SUSPEND WAL")
        result = _ended(backfill)
        cure = "ALTER TABLE captured_packets RESUME WAL"
        wrong = [] if cure in result.err else [f"the message lacks the cure: {result.err}"]
        with server.database.connect() as connection:
            connection.execute(cure)
        wrong += _check_exit(_retry_failed(settings))
        return wrong + archive.differences(server.database, expected)


def full_disk(folder: Path, *, captures: int, points: int, seed: int) -> list[str]:
    """Fill the disk of the data repeatedly, with a different amount of free space each time.

    Then there is room, and one command loads the rest.
    """
    moments = random.Random(seed)  # noqa: S311
    with _small_disk(folder / "disk") as disk, _server(folder / "questdb") as server:
        settings = settings_of(disk / "data", server.database)
        expected = archive.write(folder / "elsewhere", "archive", captures)
        source = folder / "elsewhere" / "archive"
        failed = 0
        for _ in range(points):
            with _filled(disk, left=moments.randrange(0, 400_000)):
                failed += _ended(program("ingest", source, settings=settings)).code != 0
        wrong = [] if failed else ["no disk was full"]
        return (
            wrong
            + _check_exit(_ended(program("ingest", source, settings=settings)))
            + archive.differences(server.database, expected)
        )


def clock(
    folder: Path, *, captures: int, jumps: tuple[str, ...] = ("+400d", "-400d", "-2d")
) -> list[str]:
    """Let the clock jump between loads of captures that change each time: the last one counts."""
    wrong = []
    with _server(folder / "questdb") as server:
        settings = settings_of(folder / "data", server.database)
        for number, jump in enumerate(jumps):
            expected = archive.write(settings.inbox_dir, "archive", captures, more=number)
            process = subprocess.run(
                [
                    "/usr/bin/faketime",
                    "-f",
                    jump,
                    sys.executable,
                    "-m",
                    "mt_pipeline.cli.main",
                    "ingest",
                    settings.inbox_dir,
                ],
                env=environment(settings),
                capture_output=True,
                text=True,
                check=False,
            )
            wrong += _check_exit(Result(process.returncode, process.stdout, process.stderr))
            wrong += archive.differences(server.database, expected)
    return wrong


def events(folder: Path, *, count: int) -> list[str]:
    """Let four processes write events into Dagster's database at once, as four runs do."""
    settings = Settings(_env_file=None, data_dir=folder / "data")
    with dagster_home.opened(settings.options()) as opened:
        opened.get_runs_count()  # the service makes the databases before any run does
    command = [
        sys.executable,
        "-m",
        "mt_pipeline_tests.soaking.events",
        str(settings.data_dir),
        str(count // 4),
    ]
    writers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(4)
    ]
    outputs = [writer.communicate()[0] for writer in writers]
    return [
        f"a writer ended with {writer.returncode}: {output}"
        for writer, output in zip(writers, outputs, strict=True)
        if writer.returncode
    ]


class _Service:
    """A service that is started again when it ends by itself, as by a machine's supervisor."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()

    def __enter__(self) -> "_Service":
        self.now: Running = self._open.enter_context(running(self._folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def see_to_it(self) -> None:
        """Start it again if it has ended."""
        if self.now.process.poll() is not None:
            self._open.close()
            self.now = self._open.enter_context(running(self._folder))

    def until(self, holds: Callable[[], object]) -> None:
        """Wait, however often it must be started again."""
        deadline = time.monotonic() + _ENOUGH
        while not holds() and time.monotonic() < deadline:
            time.sleep(1)
            self.see_to_it()


@contextmanager
def _server(folder: Path) -> Iterator[Spare]:
    server = Spare(folder, user="admin", password=PASSWORD)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _small_disk(disk: Path) -> Iterator[Path]:
    disk.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["/bin/umount", "--lazy", disk], check=True)


@contextmanager
def _filled(disk: Path, *, left: int) -> Iterator[None]:
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(bytes(max(0, free - left)))
    yield
    filler.unlink()


@contextmanager
def _busy_loops(count: int) -> Iterator[None]:
    """Keep the machine busy; a loop that nobody ends does so by itself."""
    loop = f"import time; end = time.monotonic() + {_ENOUGH}\nwhile time.monotonic() < end: pass"
    loops = [subprocess.Popen(bound([sys.executable, "-c", loop])) for _ in range(count)]
    try:
        yield
    finally:
        for process in loops:
            stop(process, grace=1)


def _runs(service: Running, statuses: str) -> list[str]:
    """Return the runs that have one of these statuses, as the UI shows them."""
    data = service.query(
        f"{{runsOrError(filter: {{statuses: [{statuses}]}}) {{... on Runs {{results {{runId}}}}}}}}"
    )
    return [run["runId"] for run in data["runsOrError"]["results"]]


def _kill(service: Running, chosen: Callable[[psutil.Process], bool]) -> bool:
    for process in processes_of(service.data):
        try:
            if chosen(process):
                process.kill()
                return True
        except psutil.Error:  # it ended meanwhile
            continue
    return False


def _left(settings: Settings, expected: dict[str, archive.Written]) -> set[str]:
    """Return the keys of the captures that have no verdict yet."""
    finished = {
        record.key
        for record in Ledger(settings.data_dir / "ledger.sqlite").records()
        if record.state in (State.DONE, State.FAILED)
    }
    return set(expected) - finished


def _failed(settings: Settings) -> list[str]:
    """Describe the captures that are blamed for what happened."""
    return [
        f"blamed: {record.error}"
        for record in Ledger(settings.data_dir / "ledger.sqlite").records()
        if record.state is State.FAILED
    ]


def _until_some_are_in(settings: Settings, count: int) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(settings.data_dir / "ledger.sqlite")
    assert eventually(
        lambda: sum(record.state is State.DONE for record in ledger.records()) >= count,
        seconds=_ENOUGH,
    )


def _retry_failed(settings: Settings) -> Result:
    """Load what failed, with the only command that a person may need."""
    return _ended(program("ingest", "--failed", settings=settings))


def _ended(process: "subprocess.Popen[str]") -> Result:
    """Wait for a process, however many captures it loads."""
    return ended(process, timeout=_ENOUGH)


def _check_exit(result: Result) -> list[str]:
    return [] if result.code == 0 else [f"exit {result.code}: {result.err[-2000:]}"]
