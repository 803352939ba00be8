"""Experiments that are loaded once for all tests of the dashboards."""

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
    dns,
    tls_session,
)
from mt_pipeline_tests.enrichment.city_files import city_file, nested
from mt_pipeline_tests.grafana.loaded import (
    AWKWARD,
    BROKEN,
    DEVICES,
    FIRST,
    HOSTILE,
    SECOND,
    Loaded,
)
from mt_pipeline_tests.pipelines import Lab, open_lab
from mt_pipeline_tests.services import drop_everything


@pytest.fixture(scope="package")
def lab(questdb: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Open a data folder with its Dagster instance, for all tests of the dashboards."""
    with open_lab(tmp_path_factory.mktemp("lab") / "data", questdb) as opened:
        drop_everything(opened.database)
        yield opened


@pytest.fixture(scope="package")
def loaded(lab: Lab) -> Iterator[Loaded]:
    folder = lab.inbox / FIRST
    folder.mkdir(parents=True)
    everything(folder / AWKWARD)
    names = ["www.netflix.com", "www.netflix.com", *HOSTILE]
    sessions = [tls_session(name, client_port=50_100 + number) for number, name in enumerate(names)]
    transit = [
        dns(client=SERVER, client_port=53_100),
        tls_session("www.youtube.com", client=OTHER_SERVER, client_port=50_003),
    ]
    write_pcap(folder / "names.pcap", in_time_order([*sessions, dns("www.netflix.com"), *transit]))
    write_pcap(
        (lab.inbox / f"{SECOND}.pcap"),
        in_time_order([tls_session("www.netflix.com"), dns()], start_ns=1_800_000_000_500_000_000),
    )
    # Named as tcpdump names the next file of a rotation: conversation 1 of names.pcap1 is not
    # conversation 11 of names.pcap.
    later = [
        *(dns("twice.example.com", client_port=port) for port in (53_200, 53_201)),
        tls_session("www.netflix.com", client_port=50_200),
    ]
    write_pcap(
        folder / "names.pcap1",
        in_time_order(later, start_ns=START_NS + 2 * 10**9, step_ns=400_000_003),
    )
    places = {
        f"{SERVER}/32": nested("US", "United States", "Springfield", (-89.6, 39.8)),
        f"{OTHER_SERVER}/32": nested("IE", "Ireland", "Dublin", (-6.3, 53.3)),
        f"{RESOLVER}/32": nested("US", "United States"),
        f"{SERVER6}/128": nested("CI", "Côte d'Ivoire", "Grand-Bassam", (-3.7, 5.2)),
    }
    cities = city_file(lab.data / "cities.mmdb", places)
    keys = (f"{FIRST}/{AWKWARD}", f"{FIRST}/names.pcap", f"{FIRST}/names.pcap1", f"{SECOND}.pcap")
    inventory = lab.data / "devices.csv"
    inventory.write_text(
        "device,address\n" + "".join(f"{device},{address}\n" for address, device in DEVICES.items())
    )
    ran = lab.run(
        *keys,
        workspace=lab.workspace(enrichment="offline", offline_city_mmdb=cities, devices=inventory),
    )
    assert ran.success, ran.failure
    lab.put(f"{BROKEN}.pcap", b"no capture at all")
    assert not lab.run(f"{BROKEN}.pcap").success
    with lab.database.connect() as connection:
        times = (
            "SELECT cast(min(first_ts) AS LONG), cast(max(last_ts) AS LONG) "
            "FROM flows WHERE experiment = %s"
        )
        start, end = connection.execute(times, (FIRST,)).fetchone() or (0, 0)
        # Links have milliseconds: the range begins within the first second.
        yield Loaded(lab, connection, ran, keys, start // 1000 * 1000, end // 1000 * 1000 + 1000)
