"""With MT_ROTATION, files that dumpcap rotates get the rows of one file, in any order of loads."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import duckdb
import pytest

from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.rotation import Handover
from mt_pipeline.cli import refresh_job
from mt_pipeline.cli.ingestion import ingest
from mt_pipeline.cli.progress_bars import Bars
from mt_pipeline.packets.inheritance import HANDED_ON
from mt_pipeline.pipeline import refresh
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.schema.packets import COLUMNS
from mt_pipeline.settings import Settings
from mt_pipeline_tests.building.devices import ECHO, asks_dhcp
from mt_pipeline_tests.building.files import START_NS, timed, write_pcap
from mt_pipeline_tests.building.traffic import CLIENT_MAC, dns, quic_session, tls_session
from mt_pipeline_tests.pipelines import capture, environment, files_below

DUMPCAP = shutil.which("dumpcap") or "dumpcap"
PACKETS_OF_A_FILE = 30
COLUMNS_OF_A_FILE = {
    *("capture", "experiment", "frame_number", "stream_index", "protocol", "conversation")
}
NAMED = [column.name for column in COLUMNS if column.name not in COLUMNS_OF_A_FILE]


def traffic() -> list[bytes]:
    """Return packets of mixed conversations; long ones have their hello in the first file."""
    conversations = [
        tls_session("www.netflix.com", data_packets=40),
        tls_session("api.ring.com", alpn=("http/1.1",), data_packets=30, client_port=50_001),
        tls_session(None, alpn=(), data_packets=10, client_port=50_002),
        quic_session("www.youtube.com"),
        dns(),
    ]
    at = [
        (place / len(frames), number, frame)
        for number, frames in enumerate(conversations)
        for place, frame in enumerate(frames)
    ]
    late = [
        (0.6 + 0.002 * place, 9, frame)
        for place, frame in enumerate(tls_session("www.spotify.com", client_port=50_003))
    ]
    return [frame for _, _, frame in sorted([*at, *late])]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcap(
        tmp_path_factory.mktemp("rotation") / "whole.pcap", timed(traffic(), step_ns=10**8 + 1_003)
    )


@pytest.fixture(scope="module")
def ring(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Let dumpcap rotate the packets."""
    folder = tmp_path_factory.mktemp("ring")
    command = [
        DUMPCAP,
        "-q",
        "-i",
        "-",
        "-b",
        f"packets:{PACKETS_OF_A_FILE}",
        "-w",
        folder / "ring.pcapng",
    ]
    with whole.open("rb") as packets:
        subprocess.run(command, stdin=packets, stderr=subprocess.DEVNULL, check=True)
    files = sorted(folder.iterdir())
    assert len(files) == 4
    return files


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Give a data folder whose rows are files, which need no server."""
    return Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("lab") / "data",
        enrichment="offline",
        backends="parquet",
        rotation=True,
    )


@pytest.fixture(scope="module")
def once(settings: Settings, whole: Path) -> str:
    """Load all packets as one capture. Returns the experiment."""
    settings.inbox_dir.mkdir(parents=True)
    ingested(settings, [Path(shutil.copy(whole, settings.inbox_dir / "in_one_go.pcap"))])
    return "in_one_go"


def put(settings: Settings, files: Sequence[Path], experiment: str) -> list[str]:
    (settings.inbox_dir / experiment).mkdir(parents=True)
    return [
        f"{experiment}/{shutil.copy(file, settings.inbox_dir / experiment / file.name).name}"
        for file in files
    ]


def ingested(settings: Settings, paths: Sequence[Path]) -> None:
    with Bars() as bars:
        assert ingest(settings, paths, name=None, display_filter=None, bars=bars)


def asked(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        for table in ("packets", "flows"):
            connection.read_parquet(
                f"{settings.data_dir}/parquet/{table}/**/*.parquet", hive_partitioning=True
            ).create_view(table)
        return connection.execute(query).fetchall()


def rows(settings: Settings, experiment: str) -> list[tuple[object, ...]]:
    return asked(
        settings,
        f"SELECT {', '.join(NAMED)} FROM packets WHERE experiment = '{experiment}' ORDER BY ts",
    )


def flows(settings: Settings, experiment: str) -> list[tuple[object, ...]]:
    """Read the seconds of all conversations; one that is cut by the end of a file has two rows."""
    who = (
        "ts, local, port_local, remote, port_remote, "
        "tls_sni, tls_sni_domain, tls_alpn, app_tag, app_category_tag"
    )
    counts = "sum(packets_out), sum(bytes_out), sum(packets_in), sum(bytes_in)"
    return asked(
        settings,
        f"SELECT {who}, {counts} FROM flows WHERE experiment = '{experiment}' "
        "GROUP BY ALL ORDER BY ALL",
    )


def holds(settings: Settings, experiment: str, keys: Sequence[str], once: str) -> None:
    """Compare with one file: rows, flows, ledger; and no file of earlier loads is left."""
    assert rows(settings, experiment) == rows(settings, once)
    assert flows(settings, experiment) == flows(settings, once)
    records = [record_of(settings, key) for key in keys]
    assert {record.state for record in records} == {State.DONE}
    assert [record.follows for record in records] == [
        "",
        *(record.leaves for record in records[:-1]),
    ]
    stages = ("endpoints", "enrichment")
    stored = [
        f"{stage}/{file}"
        for stage in stages
        for file in files_below(settings.data_dir / stage)
        if file.startswith(f"{experiment}/")
    ]
    made = [
        getattr(CaptureFiles(settings.data_dir, record.key, record.follows), what)(record.documents)
        for record in records
        for what in ("names", "left", "endpoints", "packets", "sums", "enrichment")
    ]
    made += [
        path
        for record in records
        for path in astuple(
            CaptureFiles(settings.data_dir, record.key, record.follows).said(record.documents)
        )
    ]
    for record in records:
        files = CaptureFiles(settings.data_dir, record.key, record.follows)
        made += [files.left_said(record.documents, kind) for kind in HANDED_ON]
        if record.follows:
            known = files.known(record.documents)
            made += [getattr(known, kind) for kind in HANDED_ON]
    assert stored == sorted(str(path.relative_to(settings.data_dir)) for path in made)


def record_of(settings: Settings, key: str) -> Record:
    record = Workspace(settings.options()).ledger.get(key)
    assert record is not None
    return record


def test_without_the_setting_a_file_is_by_itself(settings: Settings, once: str, ring: list[Path]):
    keys = put(settings, ring[:2], "alone")
    ingested(settings.model_copy(update={"rotation": False}), [settings.inbox_dir / "alone"])

    applications = {
        application
        for (application,) in asked(
            settings, f"SELECT tls_sni_netify_app_tag FROM packets WHERE experiment = '{once}'"
        )
    }
    assert len(applications - {"Unknown"}) == 4, "names to lose"
    assert asked(settings, f"SELECT DISTINCT tls_sni FROM packets WHERE capture = '{keys[1]}'") == [
        ("Unknown",)
    ]
    assert record_of(settings, keys[0]).leaves == ""


def test_loaded_in_their_order_the_files_have_the_names_of_one_go(
    settings: Settings, ring: list[Path], once: str
):
    keys = put(settings, ring, "forwards")

    ingested(settings, [settings.inbox_dir / "forwards"])

    holds(settings, "forwards", keys, once)
    both = "packets one JOIN packets other USING (ts) WHERE one.protocol <> other.protocol"
    differ = asked(
        settings,
        f"SELECT DISTINCT one.protocol, other.protocol FROM {both} "
        f"AND one.experiment = '{once}' AND other.experiment = 'forwards'",
    )
    assert differ == [("quic", "udp")], "tshark sees no hello"


def test_loaded_backwards_each_catches_up_with_the_one_before(
    settings: Settings, ring: list[Path], once: str
):
    keys = put(settings, ring, "backwards")
    for key in reversed(keys):
        ingested(settings, [settings.inbox_dir / key])

    holds(settings, "backwards", keys, once)


def test_loaded_by_two_processes_at_once_they_are_the_same(
    settings: Settings, ring: list[Path], once: str, monkeypatch: pytest.MonkeyPatch
):
    keys = put(settings, ring, "at_once")
    # So many that two processes share them, and the second begins with the third of the rotation.
    for name in "abcdefgh":
        capture(settings.inbox_dir / "beside" / f"{name}.pcap")
    for name, value in environment(settings, MT_ROTATION="1", MT_BACKENDS="parquet").items():
        monkeypatch.setenv(name, value)

    ingested(settings, [settings.inbox_dir / "beside", settings.inbox_dir / "at_once"])

    holds(settings, "at_once", keys, once)


def test_when_it_is_switched_on_the_first_file_brings_the_others_with_it(
    settings: Settings, ring: list[Path], once: str
):
    keys = put(settings, ring, "switched_on")
    ingested(settings.model_copy(update={"rotation": False}), [settings.inbox_dir / "switched_on"])
    assert rows(settings, "switched_on") != rows(settings, once)

    ingested(settings, [settings.inbox_dir / keys[0]])

    holds(settings, "switched_on", keys, once)


def test_what_a_run_that_was_killed_left_behind_is_due_for_a_refresh(
    settings: Settings, ring: list[Path]
):
    """A run that is killed after the load of a file has not brought the next file up to date."""
    keys = put(settings, ring[:3], "killed")
    ingested(settings, [settings.inbox_dir / "killed"])
    ledger, record = Workspace(settings.options()).ledger, record_of(settings, keys[1])
    numbers = {
        "sha256": record.sha256,
        "documents": record.documents,
        "packets": record.packets,
        "rows": record.rows,
        "skipped": record.skipped,
    }
    handover = Handover(follows="what it left before", leaves=record.leaves)
    ledger.finish(keys[1], **numbers, handover=handover)
    assert [record.key for record in refresh.owing(Workspace(settings.options()))] == [keys[1]]

    assert refresh_job.run(
        settings, experiment="killed", capture=None, as_of=None, echo=lambda _: None
    )

    assert refresh.owing(Workspace(settings.options())) == []
    assert record_of(settings, keys[1]).follows == record.follows


def test_answers_of_dns_and_names_of_devices_count_in_the_next_files(
    settings: Settings, once: str, tmp_path: Path
):
    """Also where the file between says nothing, and where the first one comes last."""
    talk = [ethernet_of_the_echo(tls_session(None, client_port=50_000 + n)) for n in range(2)]
    frames = [[*asks_dhcp("echo-kitchen"), *dns("asked.example.com")], *talk]
    for experiment, order in (("said", (0, 1, 2)), ("said_late", (1, 2, 0))):
        files = [
            write_pcap(
                tmp_path / f"r_0000{n}_2026010112000{n}.pcap",
                timed(frames[n], start_ns=START_NS + n * 60_000_000_000),
            )
            for n in range(3)
        ]
        keys = put(settings, files, experiment)
        for place in order:
            ingested(settings, [settings.inbox_dir / keys[place]])
        found = asked(
            settings,
            "SELECT DISTINCT capture, remote_name, remote_name_source, device_local_source, "
            f"device_local FROM flows WHERE experiment = '{experiment}' "
            "AND remote = '93.184.216.34' ORDER BY ALL",
        )
        named = ("asked.example.com", "dns", "dhcp", "echo-kitchen")
        assert found == [(keys[1], *named), (keys[2], *named)]


def ethernet_of_the_echo(frames: Sequence[bytes]) -> list[bytes]:
    """Have the client's frames come from the hardware address of the Echo."""
    client, echo = (bytes.fromhex(mac.replace(":", "")) for mac in (CLIENT_MAC, ECHO))
    return [frame[:12].replace(client, echo) + frame[12:] for frame in frames]
