"""Experiments that are loaded once for all tests of the explorer, into both back ends."""

from collections.abc import Iterator

import pytest

from mt_pipeline.backends.questdb.server import Server
from mt_pipeline_tests.building.everything import everything
from mt_pipeline_tests.building.files import START_NS, in_time_order, write_pcap
from mt_pipeline_tests.building.traffic import (
    OTHER_SERVER,
    RESOLVER,
    SERVER,
    SERVER6,
    arp,
    dns,
    tls_session,
)
from mt_pipeline_tests.enrichment.city_files import city_file, nested
from mt_pipeline_tests.explorer.loaded import FIRST, ODD, SECOND, Loaded
from mt_pipeline_tests.explorer.naming import HOSTILE, LABELS
from mt_pipeline_tests.grafana.loaded import DEVICES
from mt_pipeline_tests.grafana.reference import Reference
from mt_pipeline_tests.pipelines import Lab, capture, open_lab
from mt_pipeline_tests.services import drop_everything

BOTH = ("questdb", "parquet")
MONTH = 30 * 86_400 * 10**9


@pytest.fixture(scope="package")
def lab(questdb: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Open a data folder with its Dagster instance, for all tests of the explorer."""
    with open_lab(tmp_path_factory.mktemp("lab") / "data", questdb) as opened:
        drop_everything(opened.database)
        yield opened


@pytest.fixture(scope="package")
def loaded(lab: Lab) -> Loaded:
    folder = lab.inbox / FIRST
    (folder / "monday").mkdir(parents=True)
    everything(folder / "all.pcapng")
    names = ["www.netflix.com", "www.netflix.com", *HOSTILE]
    sessions = [tls_session(name, client_port=40_100 + number) for number, name in enumerate(names)]
    transit = [
        dns(client=SERVER, client_port=53_100),
        tls_session("www.youtube.com", client=OTHER_SERVER, client_port=50_003),
    ]
    write_pcap(
        folder / "monday" / "names.pcap",
        in_time_order([*sessions, dns("www.netflix.com"), arp(), *transit], step_ns=17_000_003),
    )
    later = [
        *(dns("twice.example.com", client_port=port) for port in (53_200, 53_201)),
        tls_session("www.netflix.com", client_port=50_200),
    ]
    write_pcap(
        folder / "later.pcap",
        in_time_order(later, start_ns=START_NS + MONTH, step_ns=400_000_003),
    )
    write_pcap(
        lab.inbox / f"{SECOND}.pcap",
        in_time_order([tls_session("www.netflix.com"), dns()], start_ns=1_800_000_000_500_000_000),
    )
    odd = [f"{ODD}/{label}/a.pcap" for label in LABELS]
    for key in odd:
        capture(lab.inbox / key)
    places = {
        f"{SERVER}/32": nested("US", "United States", "Springfield", (-89.6, 39.8)),
        f"{OTHER_SERVER}/32": nested("IE", "Ireland", "Dublin", (-6.3, 53.3)),
        f"{RESOLVER}/32": nested("US", "United States"),
        f"{SERVER6}/128": nested("CI", "Côte d'Ivoire", "Grand-Bassam", (-3.7, 5.2)),
    }
    cities = city_file(lab.data / "cities.mmdb", places)
    inventory = lab.data / "devices.csv"
    inventory.write_text(
        "device,address\n" + "".join(f"{device},{address}\n" for address, device in DEVICES.items())
    )
    keys = (
        f"{FIRST}/all.pcapng",
        f"{FIRST}/monday/names.pcap",
        f"{FIRST}/later.pcap",
        f"{SECOND}.pcap",
        *odd,
    )
    workspace = lab.workspace(
        backends=BOTH, enrichment="offline", offline_city_mmdb=cities, devices=inventory
    )
    ran = lab.run(*keys, workspace=workspace)
    assert ran.success, ran.failure
    return Loaded(lab, keys, Reference(lab, ran, keys, ()))
