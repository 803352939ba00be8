"""Applications that protocols say by themselves."""

from mt_pipeline.enrichment.protocols import applications
from mt_pipeline.tshark import programs


def test_every_protocol_is_one_of_tshark_and_says_one_application():
    printed = programs.run(["tshark", "-G", "protocols"]).stdout
    known = {line.split("\t")[2] for line in printed.splitlines()}
    protocols = applications()["protocol"].to_pylist()
    assert len(set(protocols)) == len(protocols) > 100
    assert set(protocols) <= known


def test_what_carries_any_application_says_none():
    carriers = {"tcp", "udp", "tls", "quic", "http", "http2", "dtls", "websocket", "sctp", "arp"}
    assert carriers.isdisjoint(applications()["protocol"].to_pylist())
