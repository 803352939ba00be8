"""Loads, queries, purges and compacts an archive of ten years in the embedded QuestDB.

Checks that QuestDB needs few files, few maps and little memory for that.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from mt_pipeline.backends.questdb import server
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.settings import Settings
from mt_pipeline_tests.building.files import Frame, write_pcap
from mt_pipeline_tests.building.traffic import dns
from mt_pipeline_tests.pipelines import PASSWORD, ended, program, settings_of
from mt_pipeline_tests.services import free_ports
from mt_pipeline_tests.soaking import archive
from mt_pipeline_tests.soaking.archive import Written

DAYS = 3_650
MOST_FILES = 20_000
MOST_MEMORY = 2_000_000_000
MOST_MAPS = 40_000
"""Of the 65,530 that Linux lets a process have by default."""

_DAY_NS = 86_400 * 10**9
_START_NS = int(datetime(2016, 1, 1, 12, tzinfo=UTC).timestamp()) * 10**9
_ENOUGH = 7_200


def ten_years(folder: Path, *, captures: int) -> list[str]:
    """Load captures with packets on each of 3,650 days, query them, purge one, compact, query."""
    http, pg = free_ports(2)
    settings = settings_of(
        folder / "data", Database("127.0.0.1", http, pg, "admin", PASSWORD), questdb_host=None
    )
    expected, questdb = _write(settings, captures), settings.data_dir / "questdb"
    reader = Workspace(settings.options()).logins.reader
    with server.start(
        questdb, http_port=http, pg_port=pg, user="admin", password=PASSWORD, reader=reader
    ) as running:
        database = Database("127.0.0.1", http, pg, "admin", PASSWORD)
        wrong = _run(settings, "ingest", settings.inbox_dir)
        wrong += archive.differences(database, expected) + _check_day(database)
        wrong += _check_resources(questdb, running.pid)
        purged = sorted(expected)[len(expected) // 2]
        wrong += (
            _run(settings, "purge", "--capture", purged, "--yes")
            + _run(settings, "compact")
            + _run(settings, "verify", "--hash")
        )
        del expected[purged]
        wrong += archive.differences(database, expected)
        return wrong + _check_resources(questdb, running.pid)


def _write(settings: Settings, captures: int) -> dict[str, Written]:
    """Write captures that fill ten years, with a DNS query and its response every noon."""
    expected, frames, each = {}, dns("www.example.com"), DAYS // captures
    folder = settings.inbox_dir / "decade"
    folder.mkdir(parents=True)
    for number in range(captures):
        last = DAYS if number == captures - 1 else (number + 1) * each
        days = range(number * each, last)
        timed = [
            Frame(data, _START_NS + day * _DAY_NS + at)
            for day in days
            for at, data in enumerate(frames)
        ]
        path = write_pcap(folder / f"{number:05}.pcap", timed)
        expected[f"decade/{path.name}"] = Written(
            len(timed), sum(len(frame.data) for frame in timed)
        )
    return expected


def _run(settings: Settings, *arguments: str | Path) -> list[str]:
    result = ended(program(*arguments, settings=settings), timeout=_ENOUGH)
    if result.code == 0:
        return []
    return [f"{arguments[0]}: exit {result.code}: {result.out[-500:]}{result.err[-1_500:]}"]


def _check_day(database: Database) -> list[str]:
    day = datetime(2016, 1, 1, tzinfo=UTC) + timedelta(days=DAYS // 3)
    with database.connect() as connection:
        rows = connection.execute(
            f"SELECT count() FROM packets_decade WHERE ts IN '{day:%Y-%m-%d}'"
        ).fetchone()
    return [] if rows == (2,) else [f"{day:%Y-%m-%d} has {rows} packets, not 2"]


def _check_resources(questdb: Path, pid: int) -> list[str]:
    """Describe the resources of which QuestDB uses too much."""
    process = psutil.Process(pid)
    status = Path(f"/proc/{pid}/status").read_text()
    used = {
        "files": (sum(path.is_file() for path in (questdb / "db").rglob("*")), MOST_FILES),
        "maps": (len(process.memory_maps(grouped=False)), MOST_MAPS),
        "bytes of memory": (int(status.partition("VmHWM:")[2].split()[0]) * 1024, MOST_MEMORY),
    }
    return [
        f"QuestDB takes {number:,} {what}, more than {most:,}"
        for what, (number, most) in used.items()
        if number > most
    ]
