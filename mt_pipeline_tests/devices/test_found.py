"""Devices that name themselves: what tshark reads of it, and the labels that are made of it."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from mt_pipeline.devices.found import Found, FoundDevices
from mt_pipeline.devices.inventory import LONGEST_LABEL, Entry
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.devices.statements import RANKS
from mt_pipeline.packets.conversations import conversations
from mt_pipeline.tshark import documents
from mt_pipeline.tshark.vendors import Vendors
from mt_pipeline_tests.building.devices import (
    ECHO,
    ECHO_ADDRESS,
    asks_dhcp,
    asks_netbios,
    everything_it_says,
    host,
    registers_netbios,
    says_llmnr,
    says_mdns,
    says_ssdp,
    sends_netbios,
    service,
    told_dhcp,
)
from mt_pipeline_tests.building.files import timed, write_pcap
from mt_pipeline_tests.building.traffic import ROUTER_MAC, tls_session, udp_exchange
from mt_pipeline_tests.packets.parts import said_in
from mt_pipeline_tests.tshark.parts import tshark

PHONE = "3c:22:fb:00:00:07"
END = ECHO[-8:]


@pytest.fixture(scope="module")
def vendors(tmp_path_factory: pytest.TempPathFactory) -> Vendors:
    return Vendors.read(tshark(), tmp_path_factory.mktemp("vendors"))


def found_in(
    frames: Iterable[bytes], folder: Path, vendors: Vendors | None = None, taken: Iterable[str] = ()
) -> FoundDevices:
    """Have tshark read frames, and name the devices."""
    path, said = write_pcap(folder / "x.pcap", timed(list(frames))), said_in(folder)
    with conversations(folder / "endpoints") as listener:
        documents.write(tshark(), path, folder / "documents", listener=listener)
        listener.write_packets(folder / "packets", folder / "sums", said)
    vendor_of = vendors.of if vendors else lambda _: None
    return FoundDevices.read(said.announcements, vendor_of, taken=set(taken))


SAID = everything_it_says()


@pytest.mark.parametrize("taken_away", range(len(SAID)))
def test_each_source_takes_over_where_those_before_it_say_nothing(
    tmp_path: Path, vendors: Vendors, taken_away: int
):
    left = SAID[taken_away:]
    frames = [frame for _, _, said in reversed(left) for frame in said]
    source, label, _ = left[0]
    assert found_in(frames, tmp_path, vendors).by_hardware(ECHO) == Found(label, source)


def test_all_that_a_device_says_is_kept(tmp_path: Path, vendors: Vendors):
    frames = [frame for _, _, said in SAID for frame in said]
    known = found_in([*frames, *sends_netbios("ECHO-DGM")], tmp_path, vendors).known[ECHO]
    assert [*known.said] == [*RANKS]
    texts = [text for texts in known.said.values() for text in texts]
    assert texts == [
        *("echo-dhcp", "echo.lan", "echo-mdns", "ECHO-NB", "ECHO-DGM", "echo-llmnr"),
        *("Living Room", "Echo/9.4.0", "_googlecast._tcp", "_hue._tcp"),
        "Amazon Technologies Inc.",
    ]
    assert known.addresses == (ECHO_ADDRESS,)


def test_what_is_said_of_others_names_nobody(tmp_path: Path):
    frames = [
        *told_dhcp("told"),
        *asks_netbios("OTHER"),
        *registers_netbios("WORKGROUP", is_group=True),
        *says_llmnr("other", about="192.168.1.99"),
        *says_mdns(host("reflected.local", "192.168.1.99"), *service("Reflected")),
        *says_mdns(*service("Known"), question="_googlecast._tcp.local"),
    ]
    found = found_in(frames, tmp_path)
    assert {label for label in map(found.label, (ECHO, ROUTER_MAC)) if label} == set()


def test_names_over_ipv6_count_too(tmp_path: Path):
    frames = says_mdns(host("six.local", "fe80::21"), address="fe80::21")
    found = found_in(frames, tmp_path)
    assert found.by_hardware(ECHO) == found.by_address("fe80::21") == Found("six", "mdns")


HOSTILE = {
    "a" * 255: "a" * LONGEST_LABEL,
    "Kitchen, the \"Echo\"; 'x'": "Kitchen, the \"Echo\"; 'x'",
    "a\nb\x07c\td": "a b c d",
    "\x00": None,
    "localhost": None,
    "  ": None,
    "<script>": "<script>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_becomes_one_short_line(tmp_path: Path, name: str):
    label = found_in(asks_dhcp(name), tmp_path).label(ECHO)
    assert (label and label.label) == HOSTILE[name]


@pytest.mark.parametrize(
    ("frames", "label"),
    [
        (asks_dhcp(fqdn="a,b.lan"), "a,b.lan"),
        (says_mdns(*service("Kitchen, left")), "Kitchen, left"),
        (says_ssdp("x, UPnP/1.0, Echo, the 2nd"), f"Echo, the 2nd {END}"),
    ],
)
def test_a_comma_is_part_of_a_name(tmp_path: Path, frames: list[bytes], label: str):
    found = found_in(frames, tmp_path).label(ECHO)
    assert found
    assert found.label == label


def test_two_devices_of_one_name_have_two_labels(tmp_path: Path):
    frames = [*asks_dhcp("iPhone"), *asks_dhcp("iPhone", mac=PHONE)]
    found = found_in(frames, tmp_path)
    assert [found.label(mac) for mac in (ECHO, PHONE)] == [
        Found(f"iPhone {END}", "dhcp"),
        Found("iPhone 00:00:07", "dhcp"),
    ]


def test_a_device_of_ten_names_has_the_first(tmp_path: Path):
    frames = [frame for number in range(100) for frame in asks_dhcp(f"name-{number}")]
    found = found_in(frames, tmp_path)
    assert found.label(ECHO) == Found("name-0", "dhcp")
    assert [len(texts) for texts in found.known[ECHO].said.values()] == [20]


def test_a_name_of_the_inventory_is_nobody_elses(tmp_path: Path):
    found = found_in(asks_dhcp("Ring doorbell"), tmp_path, taken=["Ring doorbell"])
    assert found.label(ECHO) == Found(f"Ring doorbell {END}", "dhcp")


def test_a_router_is_named_at_its_own_address_alone(tmp_path: Path):
    passed_on = [
        frame
        for number in (2, 3)
        for frame in udp_exchange([(False, b"x")], server=f"10.0.0.{number}")
    ]
    own = says_ssdp("UPnP/1.0 MiniUPnPd", mac=ROUTER_MAC, address="192.168.1.1")
    found = found_in([*passed_on, *own, *tls_session()], tmp_path)
    assert found.by_hardware(ROUTER_MAC) is None
    assert found.by_address("192.168.1.1") == Found("MiniUPnPd 00:00:01", "ssdp")
    assert found.by_address("10.0.0.2") is None


@pytest.mark.parametrize(
    ("hardware", "vendor"),
    [
        (ECHO, "Amazon Technologies Inc."),
        ("00:1b:c5:00:00:01", "Converging Systems Inc."),  # a block of 36 bits
        ("02:00:00:00:00:20", None),
        ("ff:ff:ff:ff:ff:ff", None),
        ("", None),
    ],
)
def test_the_vendor_is_that_of_wiresharks_list(
    tmp_path: Path, vendors: Vendors, hardware: str, vendor: str | None
):
    label = FoundDevices(vendor_of=vendors.of).label(hardware)
    assert (label and label.label) == (vendor and f"{vendor} {hardware[-8:]}")


def test_the_list_of_vendors_is_kept(tmp_path: Path, vendors: Vendors):
    Vendors.read(tshark(), tmp_path)
    [path] = tmp_path.iterdir()
    path.write_text("44650d\tKept")
    assert Vendors.read(tshark(), tmp_path).of(ECHO) == "Kept"


def test_the_inventory_comes_first(tmp_path: Path):
    found = found_in([*asks_dhcp("by-itself"), *asks_dhcp("phone", mac=PHONE)], tmp_path)
    devices = Devices([Entry(1, "Kitchen", "mac", ECHO)]).with_found(found)
    ends = [ECHO, PHONE, PHONE, "02:00:00:00:00:99", None]
    labels = devices.of(
        hardware=pa.array(ends),
        public=pa.array([False, False, True, False, False]),
        addresses=pa.nulls(5, pa.string()),
        names=pa.nulls(5, pa.string()),
    )
    assert labels.labels.to_pylist() == ["Kitchen", "phone", None, None, None]
    assert labels.sources.to_pylist() == ["inventory", "dhcp", None, None, None]
