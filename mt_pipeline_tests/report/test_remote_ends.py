"""Who runs the remote ends, on a page: names, owners and applications by source."""

from contextlib import closing

import pytest

from mt_pipeline.backends.loads import Load
from mt_pipeline.backends.questdb import loader
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.server import Server
from mt_pipeline.enrichment.owners.companies import Companies
from mt_pipeline.enrichment.owners.first_parties import FirstParties
from mt_pipeline.enrichment.owners.networks import Networks
from mt_pipeline.enrichment.owners.remote_ends import RemoteEnds
from mt_pipeline.rows.flows import flows
from mt_pipeline.rows.packets import rows
from mt_pipeline_tests.backends.questdb.parts import files_of, packet
from mt_pipeline_tests.report.parts import NAME, Page, bars, page_of

NETFLIX, GOOGLE, DARK = "23.246.11.133", "8.8.8.8", "203.0.115.9"
EXPERIMENT = "report_remote_ends"
KEY = f"{EXPERIMENT}/x.pcap"


@pytest.fixture(scope="module")
def page(questdb: Server) -> Page:
    """Report on four conversations: with a name, with a host, with an owner alone, with nothing."""
    database = Database("127.0.0.1", questdb.http_port, questdb.pg_port, "admin", "quest")
    http = {"frame_protocols": "eth:ethertype:ip:tcp:http"}
    frames = [
        packet(1, frame_len="1000", ip_dst=GOOGLE, **{NAME: "stats.doubleclick.net"}),
        packet(2, frame_len="300", ip_dst=GOOGLE, tcp_stream="1", http_host="a.example", **http),
        packet(3, frame_len="200", ip_dst=NETFLIX, tcp_stream="2", **http),
        packet(4, frame_len="60", ip_dst=DARK, tcp_stream="3"),
        packet(5, frame_len="7", ip_dst="192.168.1.9", tcp_stream="4"),
    ]
    named = {"provider": "offline", "app_tag": "google-ads", "app_category_tag": "advertiser"}
    answers = {("address", address): {} for address in (NETFLIX, GOOGLE, DARK)}
    ends = RemoteEnds(Networks(), Companies(), FirstParties())
    with (
        files_of(frames, answers | {("name", "stats.doubleclick.net"): named}) as files,
        closing(rows(files, capture=KEY, experiment=EXPERIMENT)) as of_packets,
        closing(flows(files, capture=KEY, experiment=EXPERIMENT, remote_ends=ends)) as of_flows,
    ):
        loader.load(database, [Load(KEY, EXPERIMENT, of_packets, of_flows)])
    return Page(page_of(database, EXPERIMENT))


def test_each_source_says_how_many_bytes_it_names_and_what_stays_without(page: Page):
    assert bars(page, "Names known by") == {
        "server name": (1000, 1),
        "host of HTTP": (300, 1),
        "not known": (260, 2),
    }
    assert bars(page, "Applications known by") == {
        "server name": (1000, 1),
        "network": (200, 1),
        "not known": (360, 2),
    }


def test_the_best_name_is_that_of_the_end_else_its_owner(page: Page):
    names = bars(page, "Remote ends")
    assert {"stats.doubleclick.net", "a.example", "not known"} < names.keys()
    assert bars(page, "Organisations").keys() >= {"Google LLC", "not known"}
    [netflix] = [name for name in names if "Netflix" in name]
    assert bars(page, "Organisations")[netflix] == names[netflix] == (200, 1)
    assert bars(page, "Trackers") == {"advertising": (1000, 1), "none known": (560, 3)}


def test_applications_are_those_of_flows(page: Page):
    assert bars(page, "Applications") == {
        "google-ads": (1000, 1),
        "netflix": (200, 1),
        "application not known": (360, 2),
    }
    assert "23.1% of the bytes with a public address have no application" in page.text


def test_destinations_have_their_best_name_and_their_owner(page: Page):
    found = {tuple(row[:4]) for row in page.tables["Destinations"]}
    assert (GOOGLE, "stats.doubleclick.net", "Google LLC", "google-ads") in found
    assert (GOOGLE, "a.example", "Google LLC", "") in found
    assert (DARK, "", "", "") in found
    [(name, application)] = [(row[1], row[3]) for row in found if row[0] == NETFLIX]
    assert (name, application) == ("", "netflix")


def test_whose_data_they_are_is_said_with_a_link_to_the_licence(page: Page):
    assert "https://db-ip.com" in page.links
    assert "https://creativecommons.org/licenses/by/4.0/" in page.links
