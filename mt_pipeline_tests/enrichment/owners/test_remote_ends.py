"""Who runs a remote end, which party that is, and whether it is a tracker."""

import pyarrow as pa
import pytest

from mt_pipeline.enrichment.owners.companies import Companies
from mt_pipeline.enrichment.owners.first_parties import FirstParties
from mt_pipeline.enrichment.owners.networks import Networks
from mt_pipeline.enrichment.owners.remote_ends import RemoteEnds
from mt_pipeline.rows import flows
from mt_pipeline_tests.backends.questdb.parts import files_of, packet

GOOGLE = (15169, "Google LLC")


@pytest.fixture(scope="module")
def remote_ends(tmp_path_factory: pytest.TempPathFactory) -> RemoteEnds:
    table = tmp_path_factory.mktemp("parties") / "parties.csv"
    table.write_text("experiment,device,first_party\nkitchen,,ring.com\n,the phone,google.com\n")
    companies = Companies()
    return RemoteEnds(Networks(), companies, FirstParties.read(table, companies))


def look_up(
    remote_ends: RemoteEnds,
    address: str | None,
    name: str | None,
    *,
    experiment: str = "lab",
    device: str | None = None,
) -> tuple[object, ...]:
    [row] = remote_ends.look_up(
        experiment=experiment,
        addresses=pa.array([address], pa.string()),
        names=pa.array([name], pa.string()),
        devices=pa.array([device], pa.string()),
    ).to_pylist()
    return tuple(row.values())[:4]


def test_an_address_has_a_network_and_a_name_says_whose_it_is(remote_ends: RemoteEnds):
    asn, organisation, party, tracker = look_up(remote_ends, "8.8.8.8", "stats.doubleclick.net")
    assert (asn, party, tracker) == (GOOGLE[0], None, "advertising")
    assert "google" in str(organisation).lower()
    assert look_up(remote_ends, None, "doubleclick.net") == (None,) * 4, "it is not PUBLIC"
    assert look_up(remote_ends, "8.8.8.8", None)[0] == GOOGLE[0]


def test_the_first_party_is_that_of_the_experiment_or_of_the_device(remote_ends: RemoteEnds):
    ring = ("9.9.9.9", "api.ring.com")
    assert look_up(remote_ends, *ring, experiment="kitchen")[2] == "first"
    assert look_up(remote_ends, *ring, device="the phone")[2] == "third"
    assert look_up(remote_ends, *ring)[2] is None, "nobody is said to be the first party"


def test_flows_say_it_of_public_ends_only(remote_ends: RemoteEnds):
    name = {"tls_handshake_extensions_server_name": "stats.doubleclick.net"}
    frames = [
        packet(1, ip_dst="8.8.8.8", **name),
        packet(2, ip_dst="192.168.1.9", tcp_stream="1", **name),
    ]
    with files_of(frames, {("address", "8.8.8.8"): {}}) as files:
        [batch] = flows.flows(files, capture="x/x.pcap", experiment="x", remote_ends=remote_ends)
    of_remote = {
        row["remote"]: (row["remote_asn"], row["remote_tracker"]) for row in batch.to_pylist()
    }
    assert of_remote == {"8.8.8.8": (GOOGLE[0], "advertising"), "192.168.1.9": (None, None)}


def test_a_network_that_serves_one_application_says_it_where_no_more_than_the_protocol_is_known(
    remote_ends: RemoteEnds,
):
    netflix, google = "23.246.11.133", "8.8.8.8"
    http, dns = ({"frame_protocols": f"eth:ethertype:ip:tcp:{name}"} for name in ("http", "dns"))
    name = {"tls_handshake_extensions_server_name": "cdn.example.com"}
    frames = [
        packet(1, ip_dst=netflix, **http),
        packet(2, ip_dst=netflix, tcp_stream="1", tcp_srcport="50001", **dns),
        packet(3, ip_dst=netflix, tcp_stream="2", tcp_srcport="50002", **name),
        packet(4, ip_dst=google, tcp_stream="3", **dns),
    ]
    answers = {
        ("address", netflix): {},
        ("address", google): {},
        ("name", "cdn.example.com"): {"app_tag": "named", "app_category_tag": "cdn"},
    }
    with files_of(frames, answers) as files:
        [batch] = flows.flows(files, capture="x/x.pcap", experiment="x", remote_ends=remote_ends)
    of_network = ("netflix", "streaming-media", "network")
    assert [
        (row["app_tag"], row["app_category_tag"], row["app_source"]) for row in batch.to_pylist()
    ] == [of_network, of_network, ("named", "cdn", "name"), ("dns", "network", "protocol")]
