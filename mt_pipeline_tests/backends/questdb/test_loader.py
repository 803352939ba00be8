"""Loading: what readers of the view see meanwhile and afterwards, and which errors are raised."""

import threading
import time
import traceback
from dataclasses import replace

import pyarrow as pa
import pytest

from mt_pipeline.backends.loads import Loaded, LoadFailed, NameTaken, Part, RowsMissing, Unreachable
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.removal import count, remove
from mt_pipeline.backends.questdb.table_loader import load_table
from mt_pipeline_tests.backends.questdb.parts import (
    SERVER,
    START,
    Packet,
    Threads,
    batches_of,
    frames,
    load,
    packet,
    packets,
    select,
    time_of,
    view,
)
from mt_pipeline_tests.soaking.servers import Spare

MANY = 6_000


def numbers(database: Database, experiment: str) -> list[int]:
    return [number for _, number, _ in frames(database, experiment)]


def test_all_packets_are_rows_that_can_be_read(database: Database):
    progress: list[int] = []
    loaded = load(
        database,
        packets(250),
        capture="all/a.pcap",
        experiment="all",
        between=lambda _: None,
        progress=progress.append,
    )
    assert loaded == Loaded(rows=250, read=250, skipped={}, replaced=0, has_view=True)
    assert frames(database, "all") == [
        ("all/a.pcap", number, time_of(number)) for number in range(1, 251)
    ]
    assert progress == [100, 200, 250]


def test_no_packets_are_no_rows_and_an_empty_view(database: Database):
    assert load(database, [], capture="none/a.pcap", experiment="none") == Loaded(
        rows=0, read=0, skipped={}, replaced=0, has_view=True
    )
    assert view(database, "none") == []


LAYERS = (
    "ip_src ip_dst ipv6_src ipv6_dst ip_src_type ip_dst_type ip_proto "
    "port_src port_dst stream_index"
)


def values(row: dict[str, object], names: str) -> list[object]:
    return [row[name] for name in names.split()]


ANSWERS = {
    ("address", SERVER): {
        "provider": "netify",
        "app_tag": "netflix",
        "geo_city": "São Paulo",
        "geo_lon": -46.625,
        "geo_lat": 0.1 + 0.2,
    }
}


def odd_packets() -> list[Packet]:
    """Build five packets: TCP, broadcast, UDP over IPv6, ARP, and one of unknown protocols."""
    ipv6 = {
        "frame_protocols": "eth:ethertype:ipv6:udp",
        "ip_src": None,
        "ip_dst": None,
        "ip_proto": None,
        "ipv6_nxt": "17",
        "tcp_stream": None,
        "tcp_srcport": None,
        "tcp_dstport": None,
    }
    ipv6 |= {
        "ipv6_src": "fd00:1::20",
        "ipv6_dst": "2a00:1450:4001:831::200e",
        "udp_srcport": "1",
        "udp_dstport": "65535",
        "udp_stream": "2147483647",
    }
    return [
        packet(
            1,
            frame_len="200000",
            tcp_srcport="65535",
            tcp_dstport="0",
            vlan_id="4095",
            tls_handshake_extensions_server_name="a.example",
        ),
        packet(2, tcp_stream="1", ip_src="0.0.0.0", ip_dst="255.255.255.255"),  # noqa: S104
        packet(3, **ipv6),
        packet(4, frame_protocols="eth:ethertype:arp", frame_len="2147483647"),
        packet(5, frame_protocols=None, frame_len="2147483648"),  # longer than the column holds
    ]


def test_what_is_stored_is_what_the_packets_have(database: Database):
    load(database, odd_packets(), capture="fields/a.pcap", experiment="fields", answers=ANSWERS)
    tcp, broadcast, udp6, arp, unknown = view(database, "fields")

    tcp_layers = ["192.168.1.20", SERVER, None, None, "LOCAL", "PUBLIC", "TCP", 65535, 0, 0]
    assert values(tcp, LAYERS) == tcp_layers
    addresses, types = [None, "255.255.255.255", None, None], ["LOCAL", "LOCAL"]
    assert values(broadcast, LAYERS) == [*addresses, *types, "TCP", 50000, 443, 1]
    # Nobody was asked about the other end of the third: it is none of these answers' endpoints.
    addresses = [None, None, "fd00:1::20", "2a00:1450:4001:831::200e"]
    assert values(udp6, LAYERS) == [*addresses, *types, "UDP", 1, 65535, 2_147_483_647]
    for row in (arp, unknown):
        assert values(row, LAYERS) == [None] * 4 + ["Unknown"] * 3 + [None] * 3
    assert [row["frame_len"] for row in (tcp, arp, unknown)] == [200_000, 2_147_483_647, None]
    names = (
        "tls_sni tls_alpn tls_sni_netify_app_tag tls_sni_provider vlan_id protocol dns_name eth_src"
    )
    assert values(tcp, names) == ["a.example", "Unknown", "Unknown", None, 4095, "tcp", None, None]
    assert values(arp, names) == ["Unknown", "Unknown", "Unknown", None, None, "arp", None, None]


def test_what_is_stored_is_what_the_answers_have(database: Database):
    load(database, odd_packets(), capture="facts/a.pcap", experiment="facts", answers=ANSWERS)
    tcp, broadcast, *_ = view(database, "facts")

    names = (
        "ip_dst_provider ip_dst_netify_app_tag ip_dst_netify_geo_city "
        "ip_dst_netify_geo_lon ip_dst_netify_geo_lat ip_dst_netify_geo_country"
    )
    assert values(tcp, names) == ["netify", "netflix", "São Paulo", -46.625, 0.1 + 0.2, "Unknown"]
    assert values(broadcast, names) == [None, "Unknown", "Unknown", None, None, "Unknown"]


def test_any_server_name_is_stored_as_it_is(database: Database):
    names = [
        "comma,in.example.com",
        "quote'and\"quote.example.com",
        "tab\tin\nline.example.com",
        "back\\slash.example.com",
        "näme.例え.example",
    ]
    names += ["x" * 300, "%s = $1; --", "NaN", "null", "None", " "]
    sent = [
        packet(
            number,
            tcp_stream=str(number),
            tls_handshake_extensions_server_name=name,
            dns_qry_name=name,
            http_host=name,
        )
        for number, name in enumerate(names)
    ]
    load(database, sent, capture="names/a.pcap", experiment="names")
    assert [
        (row["tls_sni"], row["dns_name"], row["http_host"]) for row in view(database, "names")
    ] == [(name, name, name) for name in names]


def test_nul_bytes_in_names_are_left_out(database: Database):
    sent = [
        packet(1, dns_qry_name="nul\0in\0side.example", http_host="\0first.example"),
        packet(2, dns_qry_name="plain.example"),
    ]
    assert load(database, sent, capture="nul/a.pcap", experiment="nul").rows == 2
    assert [(row["dns_name"], row["http_host"]) for row in view(database, "nul")] == [
        ("nulinside.example", "first.example"),
        ("plain.example", None),
    ]


@pytest.mark.parametrize(
    "key", ["a'b", 'a"b', "100 %s {} $1", "a\\b,c;d", "日本 ñ", "--; DROP TABLE x"]
)
def test_any_capture_key_is_stored_counted_loaded_again_and_removed(database: Database, key: str):
    capture, neighbour = f"keys/{key}.pcap", f"keys/{key}.pcap2"
    load(database, packets(3), capture=neighbour, experiment="keys")
    assert load(database, packets(3), capture=capture, experiment="keys").rows == 3
    assert load(database, packets(2), capture=capture, experiment="keys") == Loaded(
        rows=2, read=2, skipped={}, replaced=1, has_view=True
    )
    assert [number for stored, number, _ in frames(database, "keys") if stored == capture] == [1, 2]
    assert remove(database, capture) == 2
    assert [stored for stored, *_ in frames(database, "keys")] == [neighbour] * 3
    assert remove(database, neighbour) == 3


def test_packets_whose_time_cannot_be_stored_are_skipped_and_counted_by_reason(database: Database):
    times = [
        "-1.0",
        "-0.000000001",
        "253402300800.0",
        "999999999999.0",
        "nonsense",
        None,
        "0.0",
        "253402300799.999999",
    ]
    sent = [packet(number, frame_time_epoch=time) for number, time in enumerate(times, start=1)]
    assert load(database, sent, capture="times/a.pcap", experiment="times") == Loaded(
        rows=2,
        read=8,
        skipped={"time before 1970": 2, "time after 9999": 2, "time not readable": 2},
        replaced=0,
        has_view=True,
    )
    rows = [(row["frame_number"], row["ts"].isoformat()) for row in view(database, "times")]
    assert rows == [(7, "1970-01-01T00:00:00"), (8, "9999-12-31T23:59:59.999999")]


def test_packets_of_one_moment_are_rows_of_their_own(database: Database):
    sent = packets(5, frame_time_epoch=f"{START}.000000000")
    assert load(database, sent, capture="moment/a.pcap", experiment="moment").rows == 5
    assert numbers(database, "moment") == [1, 2, 3, 4, 5]


def test_loading_the_same_again_leaves_exactly_the_same_rows(database: Database):
    answers = {("address", SERVER): {"provider": "netify", "app_tag": "netflix"}}
    first = load(
        database,
        packets(30),
        capture="twice_the_same/a.pcap",
        experiment="twice_the_same",
        answers=answers,
    )
    before = view(database, "twice_the_same")
    assert (
        load(
            database,
            packets(30),
            capture="twice_the_same/a.pcap",
            experiment="twice_the_same",
            answers=answers,
        )
        == first
    )
    assert view(database, "twice_the_same") == before


def test_a_load_after_the_clock_was_set_back_counts_as_the_last_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    load(database, packets(30), capture="set_back/a.pcap", experiment="set_back")
    monkeypatch.setattr(time, "time_ns", lambda: START * 10**9)
    assert (
        load(
            database, packets(20, frame_len="61"), capture="set_back/a.pcap", experiment="set_back"
        ).replaced
        == 10
    )
    assert [row["frame_len"] for row in view(database, "set_back")] == [61] * 20


@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        (packets(20), 10),
        (packets(30)[4::5], 24),
        ([packet(number, frame_time_epoch=f"{START + number}.5") for number in range(1, 31)], 30),
        ([packet(number, frame_number=str(31 - number)) for number in range(1, 31)], 30),
        ([packet(number, frame_time_epoch="-1.0") for number in range(1, 31)], 30),
        ([], 30),
    ],
    ids=[
        "fewer packets",
        "another filter",
        "other times",
        "another order",
        "all skipped",
        "nothing",
    ],
)
def test_loading_a_changed_capture_leaves_exactly_its_rows(
    database: Database, changed: list, gone: int
):
    load(database, packets(3), capture="changed/other.pcap", experiment="changed")
    load(database, packets(30), capture="changed/a.pcap", experiment="changed")
    loaded = load(database, changed, capture="changed/a.pcap", experiment="changed")
    sent = [fields for fields in changed if not fields["frame_time_epoch"].startswith("-")]
    assert (loaded.rows, loaded.replaced) == (len(sent), gone)
    of_a = [frame for frame in frames(database, "changed") if frame[0] == "changed/a.pcap"]
    assert sorted(number for _, number, _ in of_a) == sorted(
        int(fields["frame_number"]) for fields in sent
    )
    assert count(database, experiment="changed") == len(sent) + 3
    # And back: rows that were gone are there again.
    load(database, packets(30), capture="changed/a.pcap", experiment="changed")
    assert [frame for frame in frames(database, "changed") if frame[0] == "changed/a.pcap"] == [
        ("changed/a.pcap", number, time_of(number)) for number in range(1, 31)
    ]


def test_loading_again_with_other_answers_replaces_all_of_a_row(database: Database):
    hello = {"tls_handshake_extensions_server_name": "a.example", "dns_qry_name": "a.example"}
    load(
        database,
        packets(2, **hello),
        capture="replaced/a.pcap",
        experiment="replaced",
        answers={("address", SERVER): {"app_tag": "old"}},
    )
    load(
        database,
        packets(2),
        capture="replaced/a.pcap",
        experiment="replaced",
        answers={("address", SERVER): {"geo_city": "Rome"}},
    )
    rows = view(database, "replaced")
    assert [
        (
            row["tls_sni"],
            row["dns_name"],
            row["ip_dst_netify_app_tag"],
            row["ip_dst_netify_geo_city"],
        )
        for row in rows
    ] == [("Unknown", None, "Unknown", "Rome")] * 2


@pytest.mark.parametrize("again", [MANY, MANY // 2], ids=["the same", "half of it"])
def test_a_reader_never_sees_a_hole_while_a_capture_is_loaded_again(database: Database, again: int):
    experiment = f"hole_{again}"
    load(database, packets(MANY), capture=f"{experiment}/a.pcap", experiment=experiment)
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        with database.connect() as connection:
            while not done.is_set():
                seen.append(
                    connection.execute(f"SELECT count() FROM packets_{experiment}").fetchone()[0]
                )

    with Threads() as threads:
        threads.start(read)
        try:
            for _ in range(2):
                load(
                    database, packets(again), capture=f"{experiment}/a.pcap", experiment=experiment
                )
        finally:
            done.set()
    assert len(seen) > 10
    assert min(seen) == again
    assert max(seen) == MANY
    assert seen == sorted(seen, reverse=True)  # at once from the old to the new


def test_captures_of_one_experiment_are_loaded_at_once_without_disturbing_each_other(
    database: Database,
):
    def work(capture: str, rows: int) -> None:
        for sent in (packets(rows + 200), packets(rows)):
            assert load(
                database,
                sent,
                capture=capture,
                experiment="loaded_at_once",
                between=lambda _: None,
            ).rows == len(sent)

    with Threads() as threads:
        for number in range(3):
            threads.start(work, f"loaded_at_once/{number}.pcap", 300 + number)
    assert frames(database, "loaded_at_once") == [
        (f"loaded_at_once/{number}.pcap", frame, time_of(frame))
        for number in range(3)
        for frame in range(1, 301 + number)
    ]


def test_beyond_the_most_views_rows_are_loaded_all_the_same(database: Database):
    full = replace(database, max_views=0)
    loaded = load(full, packets(3), capture="unseen/a.pcap", experiment="unseen")
    assert (loaded.rows, loaded.has_view) == (3, False)
    assert select(database, "SELECT count() FROM views() WHERE view_name = 'packets_unseen'") == [
        (0,)
    ]
    assert count(database, experiment="unseen") == 3


def test_a_users_own_table_in_the_way_is_named_before_anything_is_loaded(database: Database):
    with database.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS packets_in_the_way (x INT, ts TIMESTAMP)")
    with pytest.raises(NameTaken, match="packets_in_the_way"):
        load(database, packets(3), capture="in_the_way/a.pcap", experiment="in_the_way")
    assert count(database, experiment="in_the_way") == 0


def test_removed_rows_are_counted_and_in_no_view_and_can_be_loaded_again(database: Database):
    for name, rows in (("a", 3), ("b", 4)):
        load(database, packets(rows), capture=f"removed/{name}.pcap", experiment="removed")
    assert count(database, experiment="removed") == 7
    assert remove(database, "removed/a.pcap") == 3
    assert remove(database, "removed/a.pcap") == 0
    assert remove(database, "removed/never.pcap") == 0
    assert [capture for capture, *_ in frames(database, "removed")] == ["removed/b.pcap"] * 4
    assert count(database, experiment="removed") == 4
    assert load(database, packets(3), capture="removed/a.pcap", experiment="removed").replaced == 0
    assert count(database, experiment="removed") == 7


def test_a_database_without_our_table_has_nothing_to_count_or_remove(spare: Spare):
    assert count(spare.database, experiment="x") == 0
    assert remove(spare.database, "x/x.pcap") == 0


def test_rows_that_questdb_refuses_fail_the_load_with_its_word_for_it(
    database: Database, near: bool
):
    column, pattern = ("frame_len", "no number.*INT") if near else ("ip_src", r"line \d.*ip_src")
    experiment = f"refused_{column}"
    with batches_of(packets(3), capture=f"{experiment}/a.pcap", experiment=experiment) as batches:
        values = pa.array(["1", "no number", None]).dictionary_encode()
        wrong = [
            batch.set_column(batch.schema.get_field_index(column), column, values)
            for batch in batches
        ]
    with pytest.raises(LoadFailed, match=f"refuses rows.*{pattern}"):
        load_table(database, [Part(f"{experiment}/a.pcap", experiment, iter(wrong))])
    assert count(database, experiment=experiment) == 0
    assert (
        load(database, packets(3), capture=f"{experiment}/a.pcap", experiment=experiment).rows == 3
    )


def test_what_ends_the_batches_ends_the_load(database: Database):
    def fail(piece: int) -> None:
        if piece == 2:
            raise OSError("the documents are gone")

    with pytest.raises(OSError, match="the documents are gone"):
        load(database, packets(300), capture="ended/a.pcap", experiment="ended", between=fail)
    assert load(database, packets(250), capture="ended/a.pcap", experiment="ended").rows == 250
    assert count(database, experiment="ended") == 250


def test_a_capture_that_came_twice_in_one_load_is_not_taken_for_whole(database: Database):
    # Rows with the same keys replace each other, so fewer are stored than were sent.
    with pytest.raises(
        RowsMissing, match=r"twice/a.pcap: sent 6 rows, but QuestDB stores 3.*launch"
    ) as missing:
        load(database, packets(3) + packets(3), capture="twice/a.pcap", experiment="twice")
    assert missing.value.loaded == Loaded(rows=3, read=6, skipped={}, replaced=0, has_view=True)


def test_nobody_there_is_told_within_seconds():
    away = Database("127.0.0.1", 1, 1, "admin", "quest", retry_seconds=1)
    started = time.monotonic()
    for attempt in (
        lambda nobody: load(nobody, packets(3), capture="x/x.pcap", experiment="x"),
        lambda nobody: remove(nobody, "x/x.pcap"),
        lambda nobody: count(nobody, experiment="x"),
    ):
        with pytest.raises(Unreachable, match=r"127.0.0.1:1 .*MT_QUESTDB_HOST"):
            attempt(away)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("near", ["far"], indirect=True)
def test_only_sql_there_is_told_after_the_patience(database: Database):
    only_sql = replace(database, http_port=1, retry_seconds=1)
    with pytest.raises(Unreachable, match=r"127.0.0.1:1 went away.*launch"):
        load(only_sql, packets(3), capture="x/no_http.pcap", experiment="x")


def test_a_server_killed_and_started_again_during_a_load_costs_nothing(spare: Spare):
    load(spare.database, packets(300), capture="killed/a.pcap", experiment="killed")
    half_way, killed, loaded = threading.Event(), threading.Event(), []

    def stop_half_way(piece: int) -> None:
        if piece == 4:
            half_way.set()
            killed.wait(120)

    def work() -> None:
        loaded.append(
            load(
                spare.database,
                packets(1000),
                capture="killed/a.pcap",
                experiment="killed",
                between=stop_half_way,
            )
        )

    with Threads() as threads:
        threads.start(work)
        assert half_way.wait(120)
        spare.kill()
        killed.set()
        spare.start_again()
    assert loaded == [Loaded(rows=1000, read=1000, skipped={}, replaced=0, has_view=True)]
    assert frames(spare.database, "killed") == [
        ("killed/a.pcap", number, time_of(number)) for number in range(1, 1001)
    ]


def test_a_server_that_stays_away_is_told_without_the_password_and_the_next_load_makes_it_good(
    spare: Spare, caplog: pytest.LogCaptureFixture
):
    load(spare.database, packets(500), capture="away/a.pcap", experiment="away")
    killed = threading.Event()

    def kill_half_way(piece: int) -> None:
        if piece == 2:
            spare.kill()
            killed.set()

    with pytest.raises(
        Unreachable, match=r"127.0.0.1:\d+ went away.*launch the capture again"
    ) as away:
        load(
            replace(spare.database, retry_seconds=1),
            packets(400, frame_len="61"),
            capture="away/a.pcap",
            experiment="away",
            between=kill_half_way,
        )
    assert killed.is_set()
    assert (
        spare.database.password not in "".join(traceback.format_exception(away.value)) + caplog.text
    )
    spare.start_again()
    assert len(view(spare.database, "away")) == 500
    assert (
        load(
            spare.database, packets(400, frame_len="61"), capture="away/a.pcap", experiment="away"
        ).rows
        == 400
    )
    assert [row["frame_len"] for row in view(spare.database, "away")] == [61] * 400


def test_a_suspended_table_fails_the_load_with_what_to_do(spare: Spare):
    load(spare.database, packets(3), capture="suspended/a.pcap", experiment="suspended")
    with spare.database.connect() as connection:
        connection.execute(
            "ALTER TABLE captured_packets SUSPEND WAL WITH 'DISK FULL', 'no space left on device'"
        )
    with pytest.raises(
        LoadFailed,
        match=r"suspended captured_packets .DISK FULL no space left on device.*"
        r"ALTER TABLE captured_packets RESUME WAL",
    ) as suspended:
        load(spare.database, packets(5), capture="suspended/a.pcap", experiment="suspended")
    assert spare.database.password not in "".join(traceback.format_exception(suspended.value))
    assert len(view(spare.database, "suspended")) == 3
    with spare.database.connect() as connection:
        connection.execute("ALTER TABLE captured_packets RESUME WAL")
    assert (
        load(spare.database, packets(5), capture="suspended/a.pcap", experiment="suspended").rows
        == 5
    )
