"""`mt-pipeline devices`: an inventory of what devices say, which can be used as it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mt_pipeline.devices.inventory import read
from mt_pipeline_tests.building.devices import (
    ECHO,
    ECHO_ADDRESS,
    asks_dhcp,
    everything_it_says,
    says_ssdp,
)
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import ROUTER_MAC, tcp_session, tls_session, udp_exchange
from mt_pipeline_tests.pipelines import Lab, Result, rows

Terminal = Callable[..., Result]

HOSTILE = '"]\nmac = 1 # \\u0000 \x07,;'
ODD_MAC, PHONE = "3c:22:fb:00:00:01", "3c:22:fb:00:00:07"


@pytest.fixture(scope="module")
def house(lab: Lab) -> None:
    """Load two captures: the second one of devices that share a name, of a router, of nonsense."""
    passed_on = [
        frame
        for number in (2, 3)
        for frame in udp_exchange([(False, b"x")], server=f"10.0.0.{number}")
    ]
    captures = {
        "monday": [frame for _, _, said in everything_it_says() for frame in said],
        "tuesday": [
            *asks_dhcp("echo-dhcp", mac=PHONE),
            *asks_dhcp(HOSTILE, mac=ODD_MAC),
            *says_ssdp("UPnP/1.0 MiniUPnPd", mac=ROUTER_MAC, address="192.168.1.1"),
            *passed_on,
            *tls_session(),
            *tcp_session([(True, b"x")], client=ECHO_ADDRESS, server="192.168.1.1"),
        ],
    }
    for name, frames in captures.items():
        path = lab.inbox / "house" / f"{name}.pcap"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pcap(path, timed(frames))
    assert lab.run("house/monday.pcap", "house/tuesday.pcap").success


@pytest.mark.usefixtures("house")
def test_what_is_printed_is_an_inventory(terminal: Terminal, tmp_path: Path):
    done = terminal("devices", "House")

    assert (done.code, done.err) == (0, "")
    path = tmp_path / "devices.toml"
    path.write_text(done.out)
    entries = {entry.value: entry.label for entry in read(path)}
    assert entries == {
        ECHO: "echo-dhcp a1:b2:c3",
        PHONE: "echo-dhcp 00:00:07",
        ODD_MAC: '"] mac = 1 # \\u0000 ,;',
        "192.168.1.1/32": "MiniUPnPd 00:00:01",
    }
    assert "# dhcp: echo-dhcp, echo.lan\n# mdns: echo-mdns\n" in done.out
    assert "# vendor: Amazon Technologies Inc.\n# address: 192.168.1.21\n[[device]]" in done.out


@pytest.mark.usefixtures("house")
def test_json_says_the_same(terminal: Terminal):
    by_hardware = {
        each["hardware"]: each for each in json.loads(terminal("devices", "house", "--json").out)
    }
    echo, router = by_hardware[ECHO], by_hardware[ROUTER_MAC]
    assert [echo[what] for what in ("label", "source", "addresses", "is_router")] == [
        *("echo-dhcp a1:b2:c3", "dhcp", [ECHO_ADDRESS], False)
    ]
    assert {"source": "mdns", "what": "instance", "text": "Living Room"} in echo["said"]
    assert router["is_router"]


def test_rows_have_the_same_names_and_say_the_source(lab: Lab, house: None):
    flows = {row for row in rows_of_flows(lab) if row[0] is not None}
    assert flows >= {
        ("echo-dhcp", "dhcp", "house/monday.pcap"),
        ("echo-dhcp", "dhcp", "house/tuesday.pcap"),
        ("MiniUPnPd 00:00:01", "ssdp", "house/tuesday.pcap"),
    }
    assert ("echo-dhcp",) in rows(lab.database, "house", ["device_src"])


def rows_of_flows(lab: Lab) -> list[tuple[object, ...]]:
    with lab.database.connect() as connection:
        return connection.execute(
            "SELECT DISTINCT device_local, device_local_source, capture FROM flows_house"
        ).fetchall()


@pytest.mark.usefixtures("house")
def test_captures_whose_files_are_gone_are_counted(terminal: Terminal, lab: Lab):
    [path] = lab.data.glob("endpoints/house/*monday*/*.announcements.parquet")
    kept = path.read_bytes()
    path.unlink()
    done = terminal("devices", "house")
    path.write_bytes(kept)
    assert done.code == 0
    assert ECHO not in done.out
    assert done.err.startswith("mt-pipeline: 1 capture is left out: ")


@pytest.mark.usefixtures("house")
def test_an_unknown_experiment_is_one_line(terminal: Terminal):
    done = terminal("devices", "huose")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("mt-pipeline: no capture of huose is loaded; did you mean 'house'?")
