"""Compares rows with those of the original (`reference.py`), packet by packet, without QuestDB."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.counts import Counts
from mt_pipeline.enrichment.enrich import enrich
from mt_pipeline.enrichment.netify.client import Netify
from mt_pipeline.packets import endpoints
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.rows.packets import rows
from mt_pipeline.schema.packets import ORIGINAL_COLUMNS
from mt_pipeline.tshark import documents
from mt_pipeline_tests import reference
from mt_pipeline_tests.building import traffic
from mt_pipeline_tests.building.everything import tcp_udp_only
from mt_pipeline_tests.building.files import in_time_order, write_pcap
from mt_pipeline_tests.fake_netify import FakeNetify, Seen, address_body, name_body
from mt_pipeline_tests.packets.parts import sources_in
from mt_pipeline_tests.tshark.parts import tshark

KEY = "s3cret-key-of-the-test"
NAMES = ["www", "split", "first", "second", "noalpn", "quic", "pieces", "upper"]
NOT_FOUND = "noalpn.example.com"


def fact(endpoint: str, what: str) -> str:
    """Make facts that tell endpoints apart, so that one in the place of another shows."""
    return f"{what}-of-{endpoint}"


def teach(netify: FakeNetify) -> reference.Answers:
    """Teach the fake what it knows.

    Returns:
        The same as the original would have it.
    """
    answers: dict[tuple[str, str], dict[str, object]] = {}
    for number, address in enumerate((traffic.SERVER, traffic.OTHER_SERVER)):
        application = {"tag": fact(address, "app"), "category": {"tag": fact(address, "category")}}
        place = {what: {"label": fact(address, what)} for what in ("continent", "country", "city")}
        place["coordinates"] = {"longitude": f"{-71.5 - number}", "latitude": f"{42.25 + number}"}
        netify.say(
            address,
            body=address_body(address, rdns={"application": application}, geolocation=place),
        )
        answers["address", address] = {
            "app_tag": fact(address, "app"),
            "app_category_tag": fact(address, "category"),
            **{f"geo_{what}": fact(address, what) for what in ("continent", "country", "city")},
            "geo_lon": -71.5 - number,
            "geo_lat": 42.25 + number,
        }
    # One of which little is known.
    netify.say(
        traffic.RESOLVER,
        body=address_body(
            traffic.RESOLVER, rdns=None, geolocation={"country": {"label": "Nowhere"}}
        ),
    )
    answers["address", traffic.RESOLVER] = {"geo_country": "Nowhere"}
    for name in (f"{label}.example.com" for label in NAMES):
        application = {"tag": fact(name, "app"), "category": {"tag": fact(name, "category")}}
        netify.say(
            name,
            body=name_body(
                name, application=application, domain={"category": {"tag": fact(name, "domain")}}
            ),
        )
        answers["name", name] = {what: fact(name, kind) for what, kind in KINDS_OF_NAMES.items()}
    netify.say(NOT_FOUND, status=404)
    answers["name", NOT_FOUND] = {}
    return answers


KINDS_OF_NAMES = {"app_tag": "app", "app_category_tag": "category", "domain_tag": "domain"}


@dataclass(frozen=True)
class Walked:
    """What became of a capture.

    Attributes:
        ours: rows as our stages make them.
        theirs: rows as the original makes them.
        endpoints: of the capture.
        seen: what the fake was asked.
        counts: what the enrichment says of itself.
    """

    ours: list[dict[str, object]]
    theirs: list[dict[str, object]]
    endpoints: set[str]
    seen: list[Seen]
    counts: Counts


ASKED = ("address", "name")
"""Kinds of endpoints that the original asks about; other names are asked about by a setting."""


def walk(folder: Path, capture: Path) -> Walked:
    """Take a capture through the stages, and through the reference."""
    written, found = folder / "documents.zst", folder / "endpoints.parquet"
    sources = sources_in(folder)
    with conversations(found) as heard:
        documents.write(tshark(), capture, written, listener=heard)
        heard.write_packets(sources.packets, sources.sums, sources.said)
        heard.write_names(sources.names)
        endpoints.write(heard, found)
    with FakeNetify() as fake:
        answers = teach(fake)
        with (
            Netify(
                url=fake.url, key=KEY, calls_per_second=1_000, rate_file=folder / "rate.sqlite"
            ) as provider,
            AnswerStore(folder / "store", answer_days=14, not_found_days=1) as store,
        ):
            counts = enrich(found, sources.answers, providers=[provider], store=store)
        seen = fake.requests()
    with closing(rows(sources, capture="lab/x.pcap", experiment="lab")) as batches:
        table = pa.Table.from_batches(list(batches)).sort_by("frame_number")
    assert set(table["skipped"].to_pylist()) == {None}
    ours = table.select([column.name for column in ORIGINAL_COLUMNS])
    ours = ours.set_column(0, "ts", ours["ts"].cast(pa.int64()))
    return Walked(
        ours.to_pylist(),
        list(reference.rows(capture, answers)),
        {row["endpoint"] for row in pq.read_table(found).to_pylist() if row["kind"] in ASKED},
        seen,
        counts,
    )


@pytest.fixture(scope="module", params=[False, True], ids=["plain names", "odd names"])
def walked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walked]:
    folder = tmp_path_factory.mktemp("walked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield walk(folder, tcp_udp_only(folder / "x.pcap", odd_names=request.param))


def as_stored(row: dict[str, object]) -> dict[str, object]:
    """Leave out what QuestDB itself leaves out: it has no 0.0.0.0."""
    return {name: None if value == "0.0.0.0" else value for name, value in row.items()}  # noqa: S104


def test_every_packet_has_the_29_columns_of_the_original(walked: Walked):
    assert len(walked.ours) == len(walked.theirs) > 100
    assert list(walked.ours[0]) == list(walked.theirs[0])
    for number, (ours, theirs) in enumerate(zip(walked.ours, walked.theirs, strict=True), start=1):
        assert as_stored(ours) == theirs, f"packet {number}"


def test_the_rows_hold_all_kinds_of_answers(walked: Walked):
    """Equal rows would mean little if nothing were known."""
    said = {column: {row[column] for row in walked.theirs} for column in walked.theirs[0]}
    assert said["tls_sni"] >= {
        "second.example.com",
        "www.example.com",
        "split.example.com",
        "pieces.example.com",
        "noalpn.example.com",
        "Unknown",
    }
    assert said["tls_alpn"] >= {"h2", "h3", "http/1.1", "Unknown"}
    assert said["ip_dst_type"] == {"LOCAL", "PUBLIC"}
    assert said["ip_src_netify_geo_lon"] == {None, -71.5, -72.5}
    assert said["ip_dst_netify_geo_country"] >= {
        "Nowhere",
        "Unknown",
        fact(traffic.SERVER, "country"),
    }
    assert said["tls_sni_netify_domain_tag"] >= {
        "Unknown",
        fact("second.example.com", "domain"),
        fact("quic.example.com", "domain"),
    }
    assert None in said["ip_src"]


def test_each_endpoint_is_asked_exactly_once_and_no_private_address(walked: Walked):
    asked = [seen.endpoint for seen in walked.seen]
    assert sorted(asked) == sorted(walked.endpoints)
    addresses = {traffic.SERVER, traffic.OTHER_SERVER, traffic.RESOLVER}
    names = {
        f"{label}.example.com" for label in ("www", "split", "second", "noalpn", "quic", "pieces")
    }
    assert set(asked) - {"upper.example.com"} == addresses | names
    assert (walked.counts.asked, walked.counts.not_found, walked.counts.failed) == (
        len(asked),
        1,
        0,
    )


def test_the_key_is_in_the_header_of_every_request_and_nowhere_else(walked: Walked):
    for seen in walked.seen:
        assert seen.header("x-api-key") == [KEY]
        others = [value for name, value in seen.headers if name.lower() != "x-api-key"]
        assert KEY not in " ".join([seen.target, *others])


def test_a_name_with_an_odd_spelling_is_kept_and_finds_its_answer(walked: Walked):
    spelled = {row["tls_sni"]: row["tls_sni_netify_app_tag"] for row in walked.ours}
    if "UPPER.Example.COM." in spelled:
        assert spelled["UPPER.Example.COM."] == fact("upper.example.com", "app")
        assert spelled["tab\tin.example.com"] == spelled["10.0.0.1"] == "Unknown"
    assert spelled["www.example.com"] == fact("www.example.com", "app")


def test_a_name_that_looks_like_an_escape_is_the_only_one_told_differently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    names = [
        r"lit\ter.example.com",
        r"lit\001.example.com",
        r"lit\q.example.com",
        r"lit\08.example.com",
    ]
    sessions = [
        traffic.tls_session(name, client_port=60_000 + index, data_packets=0)
        for index, name in enumerate(names)
    ]
    walked = walk(tmp_path, write_pcap(tmp_path / "x.pcap", in_time_order(sessions)))
    pairs = {
        theirs["tls_sni"]: ours["tls_sni"]
        for ours, theirs in zip(walked.ours, walked.theirs, strict=True)
    }
    assert pairs == dict.fromkeys(names) | {
        names[0]: "lit\ter.example.com",
        names[1]: "lit\x01.example.com",
        names[2]: names[2],
        names[3]: names[3],
    }
    for ours, theirs in zip(walked.ours, walked.theirs, strict=True):
        assert {**ours, "tls_sni": None} == {**theirs, "tls_sni": None}
