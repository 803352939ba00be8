"""Captures through the job: good ones, bad ones, and their neighbours in a run."""

import json
import logging
import os
import re
import shutil
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import dagster as dg
import pyarrow.parquet
import pytest

from mt_pipeline.captures.identity import capture_at
from mt_pipeline.captures.records import State
from mt_pipeline.defs.sensors import tick
from mt_pipeline.pipeline.versions import CODE_VERSIONS
from mt_pipeline_tests.building.bulk import write_bulk
from mt_pipeline_tests.building.everything import ODD_TIMES, everything, odd_times
from mt_pipeline_tests.building.files import Frame, compress, cut, timed, write_pcap, write_pcapng
from mt_pipeline_tests.building.odd import GARBAGE, giant
from mt_pipeline_tests.building.traffic import CLIENT, SERVER, arp, dns, tls_session
from mt_pipeline_tests.disks import disk
from mt_pipeline_tests.fake_netify import FakeNetify
from mt_pipeline_tests.pipelines import PACKETS, STAGES, Lab, Ran, capture, files_below, wrapper
from mt_pipeline_tests.services import eventually

ODD_NAMES = [
    """it's "two" words.pcap""",
    "naïve Größe 測定.pcap",
    "-rf.pcap",
    "100%,b;c[1]{2}&x=y\\z.pcap",
    "deeper/and/$(reboot) `reboot` <b>|*no ending",
]
GOOD = MappingProxyType(
    {
        "first.pcap": PACKETS,
        "last.pcap": PACKETS,
        "middle.pcap.gz": PACKETS,
        **dict.fromkeys(ODD_NAMES, PACKETS),
    }
)
TIMES = ("1970", "before 1970", "beyond 9999", "none")
ZOO = "zoo"


@pytest.fixture(scope="module")
def meddler(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a tshark during which, by their names, captures vanish, grow, or it is killed."""
    return wrapper(
        tmp_path_factory.mktemp("meddler") / "tshark",
        f"""case "$*" in
*vanishes.pcap*) "$TSHARK" "$@"; rm {lab.inbox}/*/vanishes.pcap ;;
*grows.pcap*) "$TSHARK" "$@"; printf more >> {lab.inbox}/{ZOO}/grows.pcap ;;
*killed.pcap*) "$TSHARK" "$@" | head -c 150; kill -9 $$ ;;
*) exec "$TSHARK" "$@" ;;
esac""",
    )


@pytest.fixture(scope="module")
def zoo(lab: Lab, meddler: Path) -> Ran:
    """Run the job over good captures with all kinds of bad ones between them."""
    lab.put(f"{ZOO}/first.pcap")
    bad = {
        "text.pcap": b"hello",
        "longer text.pcap": b"Dear diary, today I did not capture anything.\n" * 10,
        "garbage.pcapng": GARBAGE,
        "empty.pcap": b"",
    }
    for name, content in bad.items():
        lab.put(f"{ZOO}/{name}", content)
    (lab.inbox / ZOO / "folder.pcap").mkdir()
    for name in ("vanishes.pcap", "grows.pcap"):
        lab.put(f"{ZOO}/{name}")
    write_pcap(lab.inbox / ZOO / "killed.pcap", timed(dns() * 50))
    for name in ODD_NAMES:
        lab.put(f"{ZOO}/{name}")
    compress(lab.put(f"{ZOO}/middle.pcap"), "gzip")
    write_pcap(lab.inbox / ZOO / "header only.pcap", [])
    write_pcap(lab.inbox / ZOO / "giant.pcap", timed([giant(200_000), *arp()]))
    cut(write_pcap(lab.inbox / ZOO / "torn.pcap", timed(dns())), 20)
    for name in TIMES:
        odd_times(lab.inbox / ZOO / f"time {name}.pcapng", ODD_TIMES[name])
    lab.put(f"{ZOO}/last.pcap")
    names = [
        "first.pcap",
        *bad,
        "folder.pcap",
        "vanishes.pcap",
        "grows.pcap",
        "killed.pcap",
        "never there.pcap",
        "new\nline.pcap",
        "a...b.pcap",
    ]
    names += [
        "middle.pcap.gz",
        *ODD_NAMES,
        "header only.pcap",
        "giant.pcap",
        "torn-cut.pcap",
        *(f"time {name}.pcapng" for name in TIMES),
    ]
    keys = [f"{ZOO}/{name}" for name in [*names, "last.pcap"]]
    return lab.run(*keys, workspace=lab.workspace(tshark=str(meddler)))


def asked_of(lab: Lab, query: str) -> list[tuple[object, ...]]:
    """Ask QuestDB."""
    with lab.database.connect() as connection:
        return connection.execute(query).fetchall()


def reason(zoo: Ran, name: str) -> str:
    """Look up what a run says of a bad capture of the zoo."""
    return zoo.failure_metadata["failed"][f"{ZOO}/{name}"]


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_good_capture_beside_bad_ones_is_loaded_whole(zoo: Ran, lab: Lab, name: str):
    key = f"{ZOO}/{name}"

    assert [key in zoo.materialised(stage) for stage in STAGES] == [True] * 4
    assert lab.rows(ZOO, ("frame_number",), key=key) == [(1,), (2,)]
    assert lab.record(key).state is State.DONE


def test_the_run_fails_once_and_names_the_bad_ones_only(zoo: Ran):
    assert not zoo.success
    assert set(zoo.failure_metadata["failed"]).isdisjoint(zoo.materialised())
    assert len(zoo.failure_metadata["failed"]) + len(zoo.materialised()) == 25
    assert zoo.failure.startswith(
        "10 of 26 captures failed, the others are done. zoo/text.pcap is not a capture: "
    )
    assert zoo.failure_metadata["captures_failed"] == 10


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("text.pcap", "zoo/text.pcap is not a capture: it does not begin like a capture"),
        (
            "longer text.pcap",
            "zoo/longer text.pcap is not a capture: it does not begin like a capture",
        ),
        ("garbage.pcapng", "garbage.pcapng"),
        ("empty.pcap", "zoo/empty.pcap is empty: record it again, or remove it."),
        (
            "folder.pcap",
            "zoo/folder.pcap is not a file but a pipe, a device or a folder: "
            "write what comes out of it to a file, and put that here.",
        ),
        (
            "grows.pcap",
            "zoo/grows.pcap changed while it was read: it is taken again as soon as it is quiet.",
        ),
        ("killed.pcap", "killed.pcap: tshark was ended by signal 9"),
        (
            "never there.pcap",
            "zoo/never there.pcap is not in the inbox any more: copy it there again.",
        ),
        (
            "a...b.pcap",
            "zoo/a...b.pcap cannot be taken: its name contains '...', "
            "which Dagster reads as a range. Rename it.",
        ),
        (
            "new\nline.pcap",
            "./zoo/new\\u000aline.pcap cannot be taken: its name has control characters",
        ),
    ],
)
def test_a_bad_capture_says_in_one_line_which_it_is_and_why(zoo: Ran, name: str, text: str):
    assert text in reason(zoo, name)
    assert "\n" not in reason(zoo, name)


def test_a_bad_capture_leaves_its_reason_in_the_ledger_and_no_file(zoo: Ran, lab: Lab):
    """Documents of a capture that grew were once left under the name of what it was before."""
    for name in ("text.pcap", "empty.pcap", "grows.pcap", "killed.pcap"):
        record = lab.record(f"{ZOO}/{name}")
        state = (
            State.WAITING if name == "killed.pcap" else State.FAILED
        )  # the system kills what lacks memory, which may be no fault of its own
        assert (record.state, record.error) == (state, reason(zoo, name))
    for stage in STAGES[:3]:
        assert not [
            file
            for file in files_below(lab.data)
            if file.startswith(f"{stage}/{ZOO}/")
            and re.search("killed|grows|vanishes|text|empty|part$", file)
        ]


def test_a_capture_that_goes_while_it_is_read_fails_nothing_and_is_forgotten(zoo: Ran, lab: Lab):
    key = f"{ZOO}/vanishes.pcap"

    assert key not in zoo.failure_metadata["failed"]
    assert key not in zoo.materialised()
    assert lab.workspace().ledger.get(key) is None
    assert not lab.instance.has_dynamic_partition("captures", key)


def test_captures_that_a_ring_buffer_deleted_before_their_run_are_let_go(lab: Lab):
    """A capture that was deleted before its run failed for ever, and coloured the assets red."""
    keys = ["ring of fire/1.pcap", "ring of fire/2.pcap", "ring of fire/3.pcap"]
    ledger = lab.workspace().ledger
    for key in keys:
        ledger.take(capture_at(lab.inbox, lab.put(key).relative_to(lab.inbox).as_posix()))
    for deleted in (keys[0], keys[2]):
        (lab.inbox / deleted).unlink()

    assert lab.run(*keys).materialised() == [keys[1]]
    assert [record.key for record in ledger.records(experiment="ring_of_fire")] == [keys[1]]
    assert lab.run(keys[1]).success


def test_a_changed_capture_that_is_deleted_before_its_run_keeps_its_rows(lab: Lab):
    path = lab.put("rows stay/a.pcap")
    assert lab.run("rows stay/a.pcap").success
    loaded = lab.record("rows stay/a.pcap")
    path.write_bytes(b"something else")
    lab.workspace().ledger.take(capture_at(lab.inbox, "rows stay/a.pcap"))
    path.unlink()

    ran = lab.run("rows stay/a.pcap")

    after = lab.record("rows stay/a.pcap")
    assert (ran.success, ran.materialised()) == (True, [])
    assert (after.state, after.error, after.requested_at, after.sha256, after.rows) == (
        State.DONE,
        None,
        None,
        loaded.sha256,
        PACKETS,
    )
    assert len(lab.rows("rows_stay")) == PACKETS
    assert lab.instance.has_dynamic_partition("captures", "rows stay/a.pcap")


def test_a_damaged_capture_alone_shows_what_tshark_said(lab: Lab):
    lab.put("damaged/garbage.pcapng", GARBAGE)

    ran = lab.run("damaged/garbage.pcapng")

    assert "damaged/garbage.pcapng" in ran.failure
    assert "tshark" in ran.failure
    assert ran.failure_metadata["tshark_said"]
    assert ran.failure_metadata["tshark_exit_status"] > 0
    assert ran.materialised("tshark_json") == []


def test_a_capture_without_packets_is_a_success_without_rows(zoo: Ran, lab: Lab):
    key = f"{ZOO}/header only.pcap"

    assert key in zoo.materialised()
    assert (lab.record(key).state, lab.record(key).packets, lab.record(key).rows) == (
        State.DONE,
        0,
        0,
    )
    assert zoo.metadata("questdb_packets", key)["rows"] == 0


def test_a_capture_cut_inside_a_packet_keeps_its_whole_packets(zoo: Ran, lab: Lab):
    key = f"{ZOO}/torn-cut.pcap"

    assert lab.rows(ZOO, key=key) == [(1,)]
    assert lab.record(key).cut
    assert zoo.metadata("tshark_json", key)["cut"] is True


def test_a_frame_of_200_000_bytes_is_a_row(zoo: Ran, lab: Lab):
    assert lab.rows(ZOO, ("frame_len",), key=f"{ZOO}/giant.pcap")[0] == (200_000,)
    assert f"{ZOO}/giant.pcap" in zoo.materialised()


@pytest.mark.parametrize(
    ("time", "stored"), [("1970", 2), ("before 1970", 1), ("beyond 9999", 1), ("none", 1)]
)
def test_a_frame_of_any_time_is_a_row_or_counted_as_skipped(
    zoo: Ran, lab: Lab, time: str, stored: int
):
    key = f"{ZOO}/time {time}.pcapng"
    record = lab.record(key)

    assert (record.state, record.packets) == (State.DONE, 2)
    assert record.rows + sum(record.skipped.values()) == 2
    assert len(lab.rows(ZOO, key=key)) == record.rows
    assert record.rows == stored
    assert (2,) in lab.rows(ZOO, key=key)


def test_what_is_checked_of_each_capture_is_told_in_one_evaluation_of_each_check(
    zoo: Ran, lab: Lab
):
    done = zoo.materialised()
    for check in ("packets_read", "answers_complete", "rows_stored", "flows_reconciled"):
        [evaluation] = zoo.checks(check)
        assert evaluation.passed
        assert evaluation.description.startswith(
            f"all {len(done)} captures, the last of them {done[-1]}: "
        )
    [stored] = zoo.checks("rows_stored")
    assert stored.metadata["rows"].value == sum(lab.record(key).rows for key in done) > len(done)


def test_packets_that_a_mirror_port_records_twice_are_kept_and_counted(lab: Lab):
    key = "mirrored/both.pcap"
    (lab.inbox / "mirrored").mkdir()
    write_pcap(lab.inbox / key, timed([packet for packet in dns() for _ in range(2)]))

    ran = lab.run(key)

    assert ran.metadata("tshark_json", key)["duplicate_packets"] == 2
    assert len(lab.rows("mirrored")) == 4


def test_everything_becomes_rows_with_the_answers_of_netify(lab: Lab):
    path = lab.inbox / "whole" / "everything.pcapng"
    path.parent.mkdir()
    everything(path)
    counted = int(
        subprocess.run(
            [shutil.which("capinfos") or "", "-Mcr", "-T", path],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\t")[1]
    )
    with FakeNetify() as netify:
        workspace = lab.workspace(
            enrichment="netify", netify_api_key="s3cret", netify_url=netify.url, netify_rate=1000
        )
        ran = lab.run("whole/everything.pcapng", workspace=workspace)
        asked = netify.requests()

    assert ran.success, ran.failure
    found = lab.rows(
        "whole",
        (
            "frame_number",
            "ip_dst",
            "ip_dst_netify_app_tag",
            "ip_dst_provider",
            "tls_sni",
            "tls_sni_netify_app_tag",
        ),
    )
    assert [row[0] for row in found] == list(range(1, counted + 1))
    to_server = [row for row in found if str(row[1]) == SERVER]
    assert to_server
    assert all(row[2:4] == ("example-app", "netify") for row in to_server)
    assert all(row[5] == "example-app" for row in found if row[4] == "www.example.com")
    assert len(asked) == len({seen.endpoint for seen in asked}) > 10
    assert not [seen for seen in asked if seen.endpoint.startswith(("192.168.", "10.", "fd00"))]
    assert all(
        seen.header("x-api-key") == ["s3cret"] and "s3cret" not in seen.target for seen in asked
    )
    enrichment = ran.metadata("netify_enrichment", "whole/everything.pcapng")
    assert enrichment["calls"] == len(asked) == enrichment["dagster/row_count"]
    assert "example-app" in enrichment["top_applications"]
    checks = ("packets_read", "answers_complete", "rows_stored", "flows_reconciled")
    assert all(evaluation.passed for name in checks for evaluation in ran.checks(name))
    [(flows, packets)] = asked_of(
        lab, "SELECT count(), sum(packets_out + packets_in) FROM flows_whole"
    )
    assert (flows, packets) == (
        ran.metadata("questdb_packets", "whole/everything.pcapng")["flows"],
        counted,
    )
    assert asked_of(
        lab, "SELECT DISTINCT app_tag FROM flows_whole WHERE tls_sni = 'www.example.com'"
    ) == [("example-app",)]
    assert "s3cret" not in json.dumps(enrichment, default=str)


def test_well_known_names_have_applications_without_a_key_and_without_files(lab: Lab):
    names = ["api-global.netflix.com", "fw.ring.com", "www.example.com"]
    path = lab.inbox / "known" / "a.pcap"
    path.parent.mkdir()
    write_pcap(
        path,
        timed(
            frame
            for number, name in enumerate(names)
            for frame in tls_session(name, client_port=50_000 + number)
        ),
    )

    ran = lab.run("known/a.pcap", workspace=lab.workspace(enrichment="offline"))

    assert ran.success, ran.failure
    columns = (
        "tls_sni",
        "tls_sni_netify_app_tag",
        "tls_sni_netify_app_category_tag",
        "tls_sni_provider",
    )
    assert set(lab.rows("known", columns)) == {
        ("api-global.netflix.com", "netflix", "streaming-media", "offline"),
        ("fw.ring.com", "ring", "device-iot", "offline"),
        ("www.example.com", "Unknown", "Unknown", "offline"),
    }
    assert "netflix" in ran.metadata("netify_enrichment", "known/a.pcap")["top_applications"]


def test_an_endpoint_without_an_answer_fails_its_check_but_not_the_capture(lab: Lab):
    lab.put("unanswered/a.pcap")
    with FakeNetify() as netify:
        netify.say(status=401)
        workspace = lab.workspace(
            enrichment="netify",
            netify_api_key="s3cret",
            netify_url=netify.url,
            netify_rate=1000,
            data_dir=lab.data / "unanswered",
        )
        (lab.data / "unanswered").mkdir()
        (lab.data / "unanswered" / "inbox").symlink_to(lab.inbox)
        ran = lab.run("unanswered/a.pcap", workspace=workspace)

    assert ran.success
    assert len(lab.rows("unanswered")) == PACKETS
    [evaluation] = ran.checks("answers_complete")
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert "MT_NETIFY_API_KEY" in evaluation.description
    assert "s3cret" not in evaluation.description


def test_materialisations_carry_versions_and_what_a_person_wants_to_know(lab: Lab):
    path = lab.inbox / "told" / "a.pcap"
    path.parent.mkdir()
    write_pcap(path, timed(tls_session("www.example.com")))

    ran = lab.run("told/a.pcap")

    for stage in STAGES:
        tags = ran.materialisation(stage, "told/a.pcap").tags
        assert tags["dagster/code_version"] == CODE_VERSIONS[stage]
        assert re.fullmatch(r"[0-9a-f]{12,16}(-[0-9a-f]{12})?", tags["dagster/data_version"])
    documents, endpoints, table = (
        ran.metadata(stage, "told/a.pcap")
        for stage in ("tshark_json", "endpoints", "questdb_packets")
    )
    packets = len(tls_session("www.example.com"))
    assert (documents["packets"], documents["dagster/row_count"], documents["capture_bytes"]) == (
        packets,
        packets,
        path.stat().st_size,
    )
    assert (documents["reused"], documents["cut"], documents["display_filter"]) == (
        False,
        False,
        "none",
    )
    assert (endpoints["public_addresses"], endpoints["server_names"]) == (1, 1)
    assert "www.example.com" in endpoints["top_server_names"]
    assert 0 < endpoints["capture_seconds"] < 1
    assert endpoints["first_packet"] == 1_700_000_000
    assert (table["rows"], table["packets"], table["skipped"], table["table"]) == (
        packets,
        packets,
        0,
        "packets_told",
    )


def test_a_capture_with_the_bytes_of_another_is_loaded_and_told(lab: Lab):
    keys = ["copies/a.pcap", "copies/b.pcap", "copies elsewhere/a.pcap"]
    for key in keys:
        capture(lab.inbox / key, "copies.example.com")

    ran = lab.run(*keys)

    assert [ran.metadata("tshark_json", key).get("same_bytes_as") for key in keys] == [
        None,
        keys[0],
        keys[0],
    ]
    assert (len(lab.rows("copies")), len(lab.rows("copies_elsewhere"))) == (4, 2)


def test_a_copy_that_the_user_wants_left_out_has_no_rows_and_fails_nothing(lab: Lab):
    """The table of another experiment is complete without it."""
    keys = ["one of each/a.pcap", "one of each/b.pcap", "one of each too/a.pcap"]
    for key in keys:
        lab.put(key)

    ran = lab.run(*keys, workspace=lab.workspace(duplicates="skip"))

    assert ran.success
    assert ran.materialised() == [keys[0], keys[2]]
    assert (lab.record(keys[1]).state, lab.record(keys[1]).error) == (
        State.REFUSED,
        "one of each/b.pcap has the same bytes as one of each/a.pcap, "
        "so it is not loaded a second time: MT_DUPLICATES is skip.",
    )
    assert (len(lab.rows("one_of_each")), len(lab.rows("one_of_each_too"))) == (2, 2)


def test_packets_of_any_day_and_year_in_any_order_are_rows_and_those_out_of_order_are_counted(
    lab: Lab,
):
    days = [
        datetime(2031, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2024, 2, 29, tzinfo=UTC),
    ]
    path = lab.inbox / "any order" / "a.pcapng"
    path.parent.mkdir()
    write_pcapng(
        path, [Frame(dns()[0], int(day.timestamp()) * 10**9) for day in days for _ in range(2)]
    )

    ran = lab.run("any order/a.pcapng")

    assert lab.rows("any_order", ("frame_number", "ts")) == [
        (number, days[(number - 1) // 2].replace(tzinfo=None)) for number in range(1, 7)
    ]
    assert ran.metadata("endpoints", "any order/a.pcapng")["packets_out_of_order"] == 1


def test_the_ui_knows_a_capture_as_materialised(lab: Lab):
    lab.put("versions/a.pcap")
    lab.run("versions/a.pcap")

    for stage in STAGES:
        assert "versions/a.pcap" in lab.instance.get_materialized_partitions(dg.AssetKey(stage))


def test_the_second_run_of_a_capture_does_not_start_tshark(lab: Lab, tmp_path: Path):
    counts = tmp_path / "starts"
    workspace = lab.workspace(
        tshark=str(wrapper(tmp_path / "tshark", f'echo x >> {counts}\nexec "$TSHARK" "$@"'))
    )
    lab.put("again/a.pcap")

    first, second = (lab.run("again/a.pcap", workspace=workspace) for _ in range(2))

    assert (first.success, second.success) == (True, True)
    assert counts.read_text() == "x\n"
    assert second.metadata("tshark_json", "again/a.pcap")["reused"] is True
    assert len(lab.rows("again")) == PACKETS


def test_a_changed_inventory_of_devices_counts_with_the_next_load_and_nothing_else_is_made_anew(
    lab: Lab, tmp_path: Path
):
    inventory = tmp_path / "devices.csv"
    inventory.write_text(f"device,address\nPhone,{CLIENT}\n")
    lab.put("owned/a.pcap")
    workspace = lab.workspace(devices=inventory)
    first = lab.run("owned/a.pcap", workspace=workspace)
    assert first.metadata("questdb_packets", "owned/a.pcap")["devices_known"] == 1
    assert {row for pair in lab.rows("owned", ("device_src", "device_dst")) for row in pair} == {
        "Phone",
        None,
    }
    files = [
        path
        for stage in ("tshark_json", "endpoints")
        for path in (lab.data / stage / "owned").rglob("*")
        if path.is_file()
    ]
    made = {path: path.stat().st_ino for path in files}

    inventory.write_text("device,network\nEverything,0.0.0.0/0\n")
    again = lab.run("owned/a.pcap", workspace=workspace)

    assert again.success
    assert set(lab.rows("owned", ("device_src", "device_dst"))) == {("Everything", "Everything")}
    assert {path: path.stat().st_ino for path in files} == made

    inventory.write_text("device,mac\n")
    broken = lab.run("owned/a.pcap", workspace=workspace)
    assert broken.failure.startswith(
        f"owned/a.pcap: {inventory}: it has no devices; add some, or unset MT_DEVICES; "
    )
    assert lab.record("owned/a.pcap").state is State.WAITING, "it is no fault of the capture"


def test_the_filter_of_a_run_wins_over_the_setting(lab: Lab):
    path = lab.inbox / "filtered" / "a.pcap"
    path.parent.mkdir()
    write_pcap(path, timed([*arp(), *dns(), *tls_session()]))
    workspace = lab.workspace(filter="arp")

    def protocols(**config: str) -> set[object]:
        assert lab.run("filtered/a.pcap", workspace=workspace, **config).success
        return {protocol for (protocol,) in lab.rows("filtered", ("protocol",))}

    assert protocols() == {"arp"}
    assert protocols(display_filter="dns") == {"dns"}
    assert {"arp", "dns", "tls"} <= protocols(display_filter="")
    assert lab.record("filtered/a.pcap").filter == ""
    assert len(files_below(lab.data / "tshark_json" / "filtered")) == 1


@pytest.mark.parametrize("where", ["setting", "run"])
def test_a_filter_with_a_typo_says_what_tshark_says_of_it(lab: Lab, where: str):
    lab.put(f"typo_{where}/a.pcap")
    lab.put(f"typo_{where}/b.pcap")

    if where == "setting":
        ran = lab.run(
            f"typo_{where}/a.pcap",
            f"typo_{where}/b.pcap",
            workspace=lab.workspace(filter="ip.adr == 1.2.3.4"),
        )
    else:
        ran = lab.run(
            f"typo_{where}/a.pcap", f"typo_{where}/b.pcap", display_filter="ip.adr == 1.2.3.4"
        )

    assert ran.failure.startswith(
        f"all 2 captures failed. typo_{where}/a.pcap: "
        "display filter not understood: 'ip.adr == 1.2.3.4'. tshark"
    )
    assert "ip.adr" in ran.failure.rpartition("tshark")[2]
    assert ran.materialised("tshark_json") == []


def test_the_last_stage_alone_works_on_the_documents_of_the_last_load(lab: Lab, tmp_path: Path):
    path = lab.inbox / "partly" / "a.pcap"
    path.parent.mkdir()
    write_pcap(path, timed([*arp(), *dns()]))
    lab.run("partly/a.pcap", display_filter="dns")

    broken = lab.workspace(tshark=str(wrapper(tmp_path / "tshark", "exit 9")))
    ran = lab.run(
        "partly/a.pcap", stages=["questdb_packets"], workspace=broken, display_filter="dns"
    )

    assert ran.success, ran.failure
    assert (ran.materialised("tshark_json"), ran.materialised()) == ([], ["partly/a.pcap"])
    assert len(lab.rows("partly")) == 2
    assert lab.record("partly/a.pcap").state is State.DONE


def test_the_last_stage_alone_of_a_capture_that_was_never_loaded_says_what_to_do(lab: Lab):
    lab.put("never/a.pcap")

    ran = lab.run("never/a.pcap", stages=["questdb_packets"])

    assert ran.failure == (
        "never/a.pcap: it was never loaded, so there are no documents to work on; "
        "launch it with tshark_json"
    )


def test_documents_that_were_deleted_by_hand_are_named(lab: Lab):
    lab.put("deleted/a.pcap")
    lab.run("deleted/a.pcap")
    [documents] = (lab.data / "tshark_json" / "deleted").rglob("*.zst")
    documents.unlink()
    for made_of_them in (lab.data / "endpoints" / "deleted").rglob("*.parquet"):
        made_of_them.unlink()

    ran = lab.run("deleted/a.pcap", stages=["questdb_packets"])

    assert (
        ran.failure == f"deleted/a.pcap: {documents} is not there; launch it with tshark_json too"
    )
    assert len(lab.rows("deleted")) == PACKETS


def test_stages_before_the_last_leave_the_verdict_on_a_capture_as_it_is(lab: Lab):
    """A run of some stages, with a typo in its filter, once made a loaded capture a failed one."""
    lab.put("verdict/a.pcap")
    lab.run("verdict/a.pcap")

    assert lab.run(
        "verdict/a.pcap", stages=["tshark_json", "endpoints"], display_filter="dns"
    ).materialised("endpoints") == ["verdict/a.pcap"]
    assert not lab.run(
        "verdict/a.pcap", stages=["tshark_json"], display_filter="no such field"
    ).success

    record = lab.record("verdict/a.pcap")
    assert (record.state, record.error, record.filter) == (State.DONE, None, "")


def test_a_key_that_was_made_up_in_the_ui_says_that_no_file_is_there(lab: Lab):
    ran = lab.run("made up/by hand.pcap")

    assert ran.failure == "made up/by hand.pcap is not in the inbox any more: copy it there again."
    assert lab.workspace().ledger.get("made up/by hand.pcap") is None


def test_a_key_with_dots_stays_below_the_inbox(lab: Lab):
    (lab.data / "secret.pcap").write_bytes(lab.put("dots/a.pcap").read_bytes())

    ran = lab.run("../secret.pcap")

    assert "../secret.pcap cannot be taken" in ran.failure


def test_two_experiments_that_fold_to_one_share_its_view(lab: Lab):
    lab.put("Living Room/a.pcap")
    lab.put("living_room/a.pcap")

    assert lab.run("Living Room/a.pcap", "living_room/a.pcap").success

    assert lab.rows("living_room", ("capture", "frame_number")) == [
        ("Living Room/a.pcap", 1),
        ("Living Room/a.pcap", 2),
        ("living_room/a.pcap", 1),
        ("living_room/a.pcap", 2),
    ]


def test_a_replaced_capture_leaves_exactly_the_rows_of_the_new_one(lab: Lab):
    path = lab.inbox / "replaced" / "a.pcap"
    path.parent.mkdir()
    write_pcap(path, timed(dns() * 5))
    lab.run("replaced/a.pcap")
    write_pcapng(path, timed(arp(), start_ns=1_600_000_000_000_000_000))

    ran = lab.run("replaced/a.pcap")

    assert lab.rows("replaced", ("protocol",)) == [("arp",)] * len(arp())
    assert ran.metadata("questdb_packets", "replaced/a.pcap")["rows_gone"] == 10
    assert lab.inputs("replaced") == {lab.record("replaced/a.pcap").documents}


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (
            "/nowhere/tshark",
            "tshark not found as '/nowhere/tshark'; install it: `sudo apt-get install tshark`",
        ),
        ("old", "tshark 2.6.20 at "),
    ],
)
def test_a_tshark_that_is_missing_or_too_old_is_said_of_each_capture(
    lab: Lab, tmp_path: Path, program: str, text: str
):
    if program == "old":
        old = tmp_path / "tshark"
        old.write_text(
            "#!/bin/sh\n"
            "echo 'TShark (Wireshark) 2.6.20 (Git v2.6.20 packaged as 2.6.20-0+deb10u8)'\n"
        )
        old.chmod(0o755)
        program = str(old)
    name = "tshark_" + Path(program).parent.name[:4].strip("-_")
    lab.put(f"{name}/a.pcap")

    ran = lab.run(f"{name}/a.pcap", workspace=lab.workspace(tshark=program))

    assert text in ran.failure
    assert "install it: `sudo apt-get install tshark` (Debian, Ubuntu)" in ran.failure
    assert lab.record(f"{name}/a.pcap").state is State.WAITING
    assert lab.record(f"{name}/a.pcap").error in ran.failure


def test_a_questdb_that_is_not_there_gives_the_capture_back_and_keeps_what_was_made(lab: Lab):
    lab.put("alone/a.pcap")

    ran = lab.run("alone/a.pcap", workspace=lab.workspace(questdb_pg_port=1))

    assert ran.failure.startswith("alone/a.pcap: QuestDB does not answer at 127.0.0.1:1 (")
    assert "start it with `make run`, or correct MT_QUESTDB_HOST or _PG_PORT" in ran.failure
    assert lab.record("alone/a.pcap").state is State.WAITING
    assert ran.materialised("netify_enrichment") == ["alone/a.pcap"]
    again = lab.run("alone/a.pcap")
    assert again.success
    assert again.metadata("tshark_json", "alone/a.pcap")["reused"] is True


def test_without_any_questdb_the_user_is_told_how_to_start_one(lab: Lab):
    lab.put("nobody/a.pcap")

    ran = lab.run("nobody/a.pcap", workspace=lab.workspace(questdb_host=None))

    assert ran.failure == (
        "nobody/a.pcap: no QuestDB is running: start it with `make run`, "
        "or set MT_QUESTDB_HOST to one of your own, then launch again; "
        "the service takes it up again by itself, unless this happens whenever it is at work"
    )


def test_a_questdb_that_refuses_us_is_named_but_not_the_password(lab: Lab):
    lab.put("refusing/a.pcap")

    ran = lab.run("refusing/a.pcap", workspace=lab.workspace(questdb_password="wr0ng-s3cret"))

    assert "QuestDB" in ran.failure
    assert "refusing/a.pcap" in ran.failure
    assert "wr0ng-s3cret" not in ran.failure + json.dumps(ran.failure_metadata)


def test_flows_that_do_not_have_all_packets_fail_the_capture_and_its_check(lab: Lab):
    lab.put("flows_lost/a.pcap")
    assert lab.run("flows_lost/a.pcap", stages=STAGES[:3]).success
    [sums] = (lab.data / "endpoints" / "flows_lost").rglob("*.sums.parquet")
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(sums).slice(0, 0), sums)

    ran = lab.run("flows_lost/a.pcap")

    assert "flows_lost/a.pcap: the flows have 0 packets and 0 bytes, the rows 2 and " in ran.failure
    [evaluation] = ran.checks("flows_reconciled")
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert ran.materialised() == []
    assert lab.record("flows_lost/a.pcap").state is State.FAILED


def test_a_table_of_the_users_own_is_never_touched_and_harms_no_other_capture(lab: Lab):
    lab.put("their_own/a.pcap")
    lab.put("beside_their_own/a.pcap")
    with lab.database.connect() as connection:
        connection.execute("CREATE TABLE packets_their_own (x INT)")
        connection.execute("INSERT INTO packets_their_own VALUES (42)")

    ran = lab.run("their_own/a.pcap", "beside_their_own/a.pcap")

    assert (
        "1 of 2 captures failed, the others are done. "
        "their_own/a.pcap: QuestDB has a table packets_their_own of your own" in ran.failure
    )
    assert ran.materialised() == ["beside_their_own/a.pcap"]
    with lab.database.connect() as connection:
        assert connection.execute("SELECT x FROM packets_their_own").fetchall() == [(42,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")
def test_a_full_disk_fails_the_capture_with_a_cure_and_leaves_nothing_on_it(lab: Lab):
    path = lab.inbox / "full" / "a.pcap"
    path.parent.mkdir()
    write_bulk(path, 20_000)
    lab.put("beside_full/a.pcap")
    with disk(lab.data / "tshark_json" / "full", "size=64k") as small:
        ran = lab.run("full/a.pcap", "beside_full/a.pcap")
        left = files_below(small)

    assert (
        "1 of 2 captures failed, the others are done. full/a.pcap: the disk is full" in ran.failure
    )
    assert "free some space, then launch the capture again" in ran.failure
    assert left == []
    assert ran.materialised() == ["beside_full/a.pcap"]
    assert lab.run("full/a.pcap").success
    assert len(lab.rows("full")) == 20_000


def test_a_run_that_finds_the_work_done_meanwhile_leaves_it(
    lab: Lab, caplog: pytest.LogCaptureFixture
):
    """Two runs of one capture at once: the second waits for the first, and does nothing then."""
    caplog.set_level(logging.DEBUG, logger="filelock")
    lab.put("twice/a.pcap")
    workspace, ran = lab.workspace(), []
    with workspace.ledger.lock("twice/a.pcap"):
        second = threading.Thread(target=lambda: ran.append(lab.run("twice/a.pcap")))
        second.start()
        assert eventually(lambda: any("not acquired" in text for text in caplog.messages)), (
            "the run did not wait for the lock"
        )
        workspace.ledger.claim(capture_at(lab.inbox, "twice/a.pcap"), run="the first")
        workspace.ledger.finish(
            "twice/a.pcap", sha256="0", documents="0", packets=2, rows=2, skipped={}
        )
    second.join()

    assert ran[0].success
    assert ran[0].materialised("tshark_json") == []
    assert lab.record("twice/a.pcap").run == "the first"


def test_a_capture_that_fails_is_never_taken_for_one_whose_run_was_killed(lab: Lab):
    """The verdict once came after the lock was free: a look in between called the run dead."""
    lab.put("looked at/a.pcap", GARBAGE)
    workspace, states = lab.workspace(), []

    class Looks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                tick(dg.build_sensor_context(instance=lab.instance), workspace)
                states.append(lab.record("looked at/a.pcap").state)

    log, handler = logging.getLogger("mt_pipeline.pipeline.batch"), Looks()
    log.addHandler(handler)
    try:
        ran = lab.run("looked at/a.pcap", workspace=workspace)
    finally:
        log.removeHandler(handler)

    assert states
    assert set(states) <= {State.RUNNING, State.FAILED}
    assert lab.record("looked at/a.pcap").state is State.FAILED
    assert not ran.success
    assert lab.instance.get_run_by_id(ran.run_id).is_failure


def test_a_cancelled_run_says_so_of_what_it_left_undone_and_of_nothing_else(
    lab: Lab, tmp_path: Path
):
    """Captures of the run that were done before once became failed ones."""
    keys = [
        f"cancelled run/{name}.pcap"
        for name in ("at work", "done before", "not begun", "never asked for")
    ]
    for key in keys:
        lab.put(key)
    lab.instance.add_dynamic_partitions("captures", keys)
    lab.run(keys[1])
    workspace = lab.workspace(
        tshark=str(wrapper(tmp_path / "tshark", "kill -INT $PPID\nexec sleep 2"))
    )
    workspace.ledger.take(capture_at(lab.inbox, keys[2]))

    ran = lab.run(*keys, workspace=workspace)

    assert not ran.success
    assert ran.materialised("tshark_json") == []
    at_work, done, not_begun = (lab.record(key) for key in keys[:3])
    assert (at_work.state, at_work.error) == (
        State.FAILED,
        f"{keys[0]}: its run was cancelled; launch it again",
    )
    assert (done.state, done.error) == (State.DONE, None)
    assert (not_begun.state, not_begun.error) == (
        State.FAILED,
        f"{keys[2]}: its run was cancelled; launch it again",
    )
    assert workspace.ledger.get(keys[3]) is None
