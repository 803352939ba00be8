"""Only the account that runs the pipeline can read what it writes, and none of it is in /tmp."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mt_pipeline.service import dagster_home
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline.system import private
from mt_pipeline.system.passwords import password_in
from mt_pipeline_tests.pipelines import capture, environment
from mt_pipeline_tests.services import free_ports, open_to_others
from mt_pipeline_tests.system.test_processes import only_linux

# The umask is that of most accounts, which lets others read files. Any use of /tmp changes its
# modification time, even if no file remains.
_WATCHED = """
import json, os, subprocess, sys
os.umask(0o022)
shared = ["/tmp", "/var/tmp", "/dev/shm"]
changed = lambda: [os.stat(folder).st_mtime_ns for folder in shared]
before = changed()
for command in json.loads(sys.argv[1]):
    subprocess.run([sys.executable, "-m", *command], check=True)
print("was used:", [folder for folder, now, then in zip(shared, changed(), before) if now != then])
"""
# The project may itself lie below one of them, so it is bound to where it was.
_PRIVATE_DISKS = """
mount --bind "$PWD" /mnt || exit 99
for folder in /tmp /var/tmp /dev/shm; do mount -t tmpfs tmpfs $folder || exit 99; done
[ -e "$PWD/pyproject.toml" ] || { mkdir -p "$PWD" && mount --bind /mnt "$PWD"; } && cd "$PWD"
exec "$@"
"""


def settings_of_ours(folder: Path) -> Settings:
    http, pg = free_ports(2)
    return Settings(
        _env_file=None,
        data_dir=folder,
        questdb_http_port=http,
        questdb_pg_port=pg,
        enrichment="offline",
    )


@only_linux
def test_nothing_that_is_made_can_be_read_by_others_and_nothing_is_made_in_tmp():
    folder = PROJECT / "build" / f"private-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        file = capture(folder / "captures" / "kitchen" / "monday.pcap")
        settings = settings_of_ours(folder / "data")
        own = {name: value for name, value in environment(settings).items() if name != "TMPDIR"} | {
            "MT_BACKENDS": "questdb,parquet"
        }
        commands = [
            ["mt_pipeline.service.setup"],
            ["mt_pipeline.cli.main", "ingest", str(file), "--name", "kitchen"],
            [
                "mt_pipeline.cli.main",
                "report",
                "kitchen",
                "--output",
                str(folder / "data" / "report.html"),
            ],
            ["mt_pipeline.cli.main", "verify"],
            ["mt_pipeline.cli.main", "purge", "--name", "kitchen", "--yes"],
            ["mt_pipeline.cli.main", "ingest", "--failed"],
        ]
        disks = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            _PRIVATE_DISKS,
            "sh",
        ]
        done = subprocess.run(
            [*disks, sys.executable, "-c", _WATCHED, json.dumps(commands)],
            env=own,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 99:
            pytest.skip("this machine lets nobody mount a disk")

        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "was used: []"
        files = [path for path in settings.data_dir.rglob("*") if path.is_file()]
        assert len(files) > 100
        assert open_to_others(settings.data_dir) == []
        options = settings.options()
        secrets = (options.questdb_password_file, options.questdb_reader_password_file)
        for password in map(Path.read_bytes, secrets):
            assert password.strip().decode() not in done.stdout + done.stderr
            assert [
                file
                for file in files
                if file not in secrets and password.strip() in file.read_bytes()
            ] == []
        for secret in secrets:
            assert secret.stat().st_mode & 0o777 == 0o600
    finally:
        shutil.rmtree(folder)


def test_an_older_data_folder_is_shut_and_what_is_the_users_own_stays(tmp_path: Path):
    data, inbox = tmp_path / "data", tmp_path / "srv" / "captures"
    for folder in (data / "inbox" / "kitchen", inbox):
        folder.mkdir(parents=True)
        folder.chmod(0o755)
    (data / "ledger.sqlite").touch(0o644)
    data.chmod(0o2775)

    dagster_home.prepare(Settings(_env_file=None, data_dir=data, inbox=inbox).options())

    assert data.stat().st_mode & 0o7777 == 0o2700
    assert (data / "ledger.sqlite").stat().st_mode & 0o777 == 0o644
    assert {folder.stat().st_mode & 0o777 for folder in (data / "inbox" / "kitchen", inbox)} == {
        0o755
    }


def test_a_link_to_a_data_folder_stays_one(tmp_path: Path):
    (tmp_path / "large disk").mkdir(0o755)
    (tmp_path / "data").symlink_to(tmp_path / "large disk")

    dagster_home.prepare(Settings(_env_file=None, data_dir=tmp_path / "data").options())

    assert (tmp_path / "data").is_symlink()
    assert (tmp_path / "large disk").stat().st_mode & 0o777 == 0o700


def test_a_folder_for_temporary_files_is_named_if_sockets_have_room_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)  # the whole path of a test may be too long
    deep = tmp_path / ("d" * 100)

    assert private.temporary(Path("data/tmp")) == {"TMPDIR": "data/tmp"}
    assert private.temporary(deep) == {}


def test_what_was_left_long_ago_is_tidied_up(tmp_path: Path):
    private.temporary(tmp_path / "tmp")
    for name, days in (("old", 8), ("new", 1)):
        (tmp_path / "tmp" / f"{name} folder").mkdir()
        for path in ((tmp_path / "tmp" / name), (tmp_path / "tmp" / f"{name} folder" / "file")):
            path.touch()
        for path in (tmp_path / "tmp").glob(f"{name}*"):
            os.utime(path, (0, path.stat().st_mtime - days * 86400))

    private.tidy(tmp_path / "tmp")

    assert {path.name for path in (tmp_path / "tmp").iterdir()} == {"new", "new folder"}


def test_no_place_that_all_accounts_share_is_named_in_the_code():
    named = re.compile(r"/tmp\b|/var/tmp|/dev/shm|gettempdir|mktemp\(")  # noqa: S108  they are what is looked for
    files = [
        path
        for path in (PROJECT / "mt_pipeline").rglob("*")
        # The sandbox has a /tmp of its own, in a namespace of its own.
        if path.suffix in (".py", ".lua", ".env") and path.name != "sandbox.py"
    ]

    assert len(files) > 100
    lines = [
        (path.name, line.strip())
        for path in files
        for line in path.read_text().splitlines()
        if named.search(line.partition("#")[0])
    ]
    assert lines == []


def test_a_password_is_made_once_whoever_comes_first(tmp_path: Path):
    file = tmp_path / "new" / "password"
    script = (
        "import sys; from pathlib import Path; "
        "from mt_pipeline.system.passwords import password_in; "
        "print(password_in(Path(sys.argv[1])))"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", script, file], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    passwords = {process.communicate()[0].strip() for process in several}

    assert passwords == {file.read_text().strip()} == {password_in(file)}
    assert len(password_in(file)) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert password_in(tmp_path / "another") != password_in(file)


@pytest.mark.parametrize("before", ["", "\n"])
def test_a_password_file_that_a_full_disk_left_empty_gets_one(tmp_path: Path, before: str):
    (tmp_path / "password").write_text(before)

    assert len(password_in(tmp_path / "password")) == 32


def test_a_password_of_the_users_own_stays_and_is_shut_to_others(tmp_path: Path):
    (tmp_path / "password").write_text("my own\n")

    assert password_in(tmp_path / "password") == "my own"
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
