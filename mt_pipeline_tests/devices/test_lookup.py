"""The user's inventory of devices: its formats, what is refused and how, and the look-up."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from mt_pipeline.devices.inventory import DevicesUnusable
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.settings import PROJECT

RING = "02:00:00:00:00:20"


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str | bytes, name: str = "devices.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def label(
    devices: Devices,
    *,
    mac: str | None = None,
    address: str | None = None,
    name: str | None = None,
    public: bool = False,
) -> str | None:
    """Look one end up."""
    texts = {"hardware": mac, "addresses": address, "names": name}
    [found] = devices.of(
        **{what: pa.array([text], pa.string()) for what, text in texts.items()},
        public=pa.array([public]),
    ).labels.to_pylist()
    return found


CSV = """device,mac,address,network,name
Ring doorbell,02:00:00:00:00:20 02:00:00:00:00:21,192.168.1.20 fd00::20,,
Guests,,,192.168.20.0/24 fd00:20::/64,
Ring cloud,,,,*.ring.com ring.com
Ring doorbell,,192.168.1.22,,
"""
TOML = """# of the lab
[[device]]
label = "Ring doorbell"
mac = ["02:00:00:00:00:20", "02:00:00:00:00:21"]
address = ["192.168.1.20", "fd00::20", "192.168.1.22"]

[[device]]
label = "Guests"
network = "192.168.20.0/24 fd00:20::/64"

[[device]]
label = "Ring cloud"
name = ["*.ring.com", "ring.com"]
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("devices.csv", CSV),
        ("devices.txt", CSV.replace("\n", "\r\n")),
        ("semicolons.csv", CSV.replace(",", ";")),
        ("tabs.tsv", CSV.replace(",", "\t")),
        ("order.csv", " Name ,DEVICE,Mac\n*.ring.com ring.com, Ring cloud\n"),
        ("devices.toml", TOML),
        ("devices.TOML", "\ufeff" + TOML),
        ("spreadsheet.csv", "\ufeff" + CSV + ",,,,\n\n"),
        ("quotes.csv", '"device","name"\n"Ring cloud", "*.ring.com\nring.com"\n'),
    ],
)
def test_an_inventory_may_be_written_in_several_ways(written, name: str, text: str):
    devices = Devices.read(written(text, name))
    assert label(devices, name="fw.ring.com") == label(devices, name="ring.com") == "Ring cloud"
    if "doorbell" in text:
        assert len(devices) == 3
        found = [
            label(devices, mac=mac)
            for mac in (RING, "02:00:00:00:00:21", "02:00:00:00:00:22", None)
        ]
        assert found == ["Ring doorbell", "Ring doorbell", None, None]
        found = [
            label(devices, address=address)
            for address in (
                "192.168.1.20",
                "fd00::20",
                "192.168.1.22",
                "192.168.20.7",
                "fd00:20::7",
                "8.8.8.8",
            )
        ]
        assert found == ["Ring doorbell"] * 3 + ["Guests"] * 2 + [None]


@pytest.mark.parametrize(
    "spelled",
    ["02:0a:00:00:00:20", "02-0A-00-00-00-20", "020a.0000.0020", "020A00000020", "2:a:0:0:0:20"],
    ids=["ieee", "windows", "cisco", "bare", "mac os"],
)
def test_a_hardware_address_may_be_spelled_in_any_usual_way(written, spelled: str):
    assert (
        label(Devices.read(written(f"device,mac\nRing,{spelled}\n")), mac="02:0a:00:00:00:20")
        == "Ring"
    )


def test_addresses_may_be_spelled_in_any_way_too(written):
    devices = Devices.read(
        written("device,address,network\nRing,FD00:0:0::20,\nLab,,fd00:0::/32\n")
    )
    assert [label(devices, address=address) for address in ("fd00::20", "fd00::21")] == [
        "Ring",
        "Lab",
    ]


@pytest.fixture
def house(written) -> Devices:
    return Devices.read(
        written(
            "device,mac,address,network,name\n"
            f"Ring,{RING},,,\n"
            "Echo,,192.168.1.21,,\n"
            "Lab,,,192.168.0.0/16,\n"
            "Bench,,,192.168.1.0/24,\n"
            "Amazon,,,,*.amazon.com\n"
            "Alexa,,,,avs-*.amazon.com\n"
            "Any,,,,*\n"
            "Exact,,,,avs-1.amazon.com\n"
        )
    )


def test_hardware_address_comes_before_address_before_narrowest_network_before_name(
    house: Devices,
):
    assert label(house, mac=RING, address="192.168.1.21", name="www.amazon.com") == "Ring"
    assert label(house, address="192.168.1.21", name="www.amazon.com") == "Echo"
    assert label(house, address="192.168.1.22", name="www.amazon.com") == "Bench"
    assert label(house, address="192.168.2.22", name="www.amazon.com") == "Lab"
    assert label(house, address="10.0.0.1", name="www.amazon.com") == "Amazon"


def test_the_hardware_address_of_a_public_end_is_the_routers_and_says_nothing(house: Devices):
    assert label(house, mac=RING, address="8.8.8.8", public=True) is None
    assert label(house, mac=RING, address="8.8.8.8", public=True, name="www.amazon.com") == "Amazon"
    assert label(house, mac=RING) == "Ring"


def test_of_several_patterns_the_one_with_most_characters_beside_wildcards_counts(house: Devices):
    names = [
        "avs-1.amazon.com",
        "avs-2.amazon.com",
        "AVS-2.Amazon.com.",
        "a.b.amazon.com",
        "amazon.com",
        "",
        "x\ny\0",
    ]
    assert [label(house, name=name) for name in names] == [
        "Exact",
        "Alexa",
        "Alexa",
        "Amazon",
        "Any",
        "Any",
        "Any",
    ]


def test_of_equal_patterns_the_first_in_the_file_counts(written):
    devices = Devices.read(written("device,name\nA,*.ring.co?\nB,*.ring.c?m\nC,*.ring.c[o0]m*\n"))
    assert label(devices, name="x.ring.com") == "A"


def test_many_packets_are_looked_up_at_once_and_nothing_is_nobody(house: Devices):
    ends = {
        "hardware": [RING, None, None] * 1000,
        "addresses": [None, "192.168.1.21", None] * 1000,
        "names": [None] * 3000,
    }
    columns = {what: pa.array(texts, pa.string()) for what, texts in ends.items()}
    assert (
        house.of(**columns, public=pa.array([False] * 3000)).labels.to_pylist()
        == ["Ring", "Echo", None] * 1000
    )
    assert Devices().of(**columns, public=pa.array([False] * 3000)).labels.null_count == 3000


TABLE = '[[device]]\nlabel = "A"\n'


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", None, "{path}: it cannot be read (No such file or directory); name another file"),
        (
            "a.csv",
            "device,name\nB\u00fcro,*.x".encode("latin-1"),
            "{path}: it is not UTF-8 text; save it as UTF-8",
        ),
        (
            "a.csv",
            "",
            "{path}, line 1: the header is missing; "
            "begin with a line such as `device,mac,address,network,name`",
        ),
        ("a.csv", f"Ring,{RING}\n", "{path}, line 1: the header is missing"),
        (
            "a.csv",
            "device,mac,owner\n",
            "{path}, line 1: the column 'owner' is unknown or appears twice; "
            "use `device` and some of `mac`, `address`",
        ),
        (
            "a.csv",
            "device,mac,MAC\n",
            "{path}, line 1: the column 'mac' is unknown or appears twice",
        ),
        ("a.csv", "device,mac\n", "{path}: it has no devices; add some"),
        (
            "a.csv",
            "device,mac\n\nRing,aa:bb\n",
            "{path}, line 3: 'aa:bb' is not valid for `mac` (it needs six bytes in hexadecimal); "
            "write it like 02:00:00:00:00:20",
        ),
        ("a.csv", "device,mac\nRing,2:a:0-0:0:20\n", "'2:a:0-0:0:20' is not valid for `mac`"),
        (
            "a.csv",
            "device,address\nRing,192.168.1.0/24\n",
            "{path}, line 2: '192.168.1.0/24' is not valid for `address` (",
        ),
        (
            "a.csv",
            "device,address\nRing,fe80::1%eth0\n",
            "'fe80::1%eth0' is not valid for `address` (it names a network interface)",
        ),
        (
            "a.csv",
            "device,network\nRing,192.168.1.7/24\n",
            "'192.168.1.7/24' is not valid for `network` "
            "(it is an address within 192.168.1.0/24); write it like",
        ),
        (
            "a.csv",
            "device,network\nRing,fe80::%eth0/64\n",
            "'fe80::%eth0/64' is not valid for `network` (",
        ),
        (
            "a.csv",
            "device,network\nRing,192.168.1.*\n",
            "'192.168.1.*' is not valid for `network` (",
        ),
        (
            "a.csv",
            "device,name\nRing,https://ring.com\n",
            "'https://ring.com' is not valid for `name` (a server name has no such characters); "
            "write it like *.example.com",
        ),
        (
            "a.csv",
            f'device,mac\n"A\nB",{RING}\n',
            "{path}, line 2: the label 'A\\nB' has a control character or a line break; remove it",
        ),
        (
            "a.csv",
            f'device,mac\nA,"\n"\nB\x1b[31m,{RING}\n',
            "{path}, line 2: nothing identifies 'A'; add some of `mac`",
        ),
        (
            "a.csv",
            f"device,mac\nB\x1b[31m,{RING}\n",
            "{path}, line 2: the label 'B\\x1b[31m' has a control character",
        ),
        (
            "a.csv",
            f"device,mac\n{'x' * 65},{RING}\n",
            "{path}, line 2: the label 'xxxxxxxxxxxxxxxxxxxx…' has 65 characters; use at most 64",
        ),
        (
            "a.csv",
            f"device,mac\n ,{RING}\n",
            "{path}, line 2: the device has no label; give it one",
        ),
        (
            "a.csv",
            f"device,mac\nRing,{RING},{RING}\n",
            "{path}, line 2: it has more cells than the header",
        ),
        ("a.csv", 'device,mac\n\n"Ring\n', "{path}, line 3: it is not valid CSV ("),
        ("a.toml", "", "{path}: it has no devices; add some"),
        ("a.toml", "[[device]\n", "{path}: it is not valid TOML ("),
        (
            "a.toml",
            '[[devices]]\nlabel = "A"\n',
            "{path}: it has more than tables `[[device]]`; write one per device and nothing else",
        ),
        (
            "a.toml",
            'device = [{label = "A", mac = "x"}]\n',
            "{path}: it has more than tables `[[device]]`",
        ),
        ("a.toml", "\n[device]\n", "{path}: it has more than tables `[[device]]`"),
        (
            "a.toml",
            f"\n{TABLE}macs = []\n",
            "{path}, line 2: 'macs' is unknown; a device has `label` and some of `mac`",
        ),
        ("a.toml", f"{TABLE}mac = []\n", "{path}, line 1: nothing identifies 'A'"),
        (
            "a.toml",
            f"{TABLE}mac = [2]\n",
            "{path}, line 1: `mac` is neither a text nor a list of texts; put it in quotes",
        ),
        (
            "a.toml",
            f'{TABLE}mac = "{RING}"\n\n [[ device ]]\nlabel = 7\n',
            "{path}, line 5: the device has no label",
        ),
    ],
)
def test_what_cannot_be_understood_is_refused_with_file_line_reason_and_cure(
    written, tmp_path: Path, name: str, text: str | bytes | None, expected: str
):
    path = tmp_path / name if text is None else written(text, name)
    with pytest.raises(DevicesUnusable) as raised:
        Devices.read(path)
    message = str(raised.value)
    assert expected.replace("{path}", str(path)) in message
    assert message.startswith(str(path))
    assert message.endswith(", or unset MT_DEVICES")
    assert message.isprintable()


@pytest.mark.parametrize(
    ("column", "ours", "theirs", "value"),
    [
        ("mac", RING, RING.replace(":", "-"), RING),
        ("address", "fd00::20", "FD00:0::20", "fd00::20/128"),
        ("network", "10.0.0.0/8", "10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("name", "*.ring.com", "*.Ring.com.", "*.ring.com"),
    ],
)
def test_two_owners_of_one_thing_are_refused_with_both_lines_and_labels(
    written, column: str, ours: str, theirs: str, value: str
):
    path = written(f"device,{column}\nRing,{ours}\nEcho,{theirs}\n")
    with pytest.raises(DevicesUnusable) as raised:
        Devices.read(path)
    assert str(raised.value) == (
        f"{path}, line 3: 'Echo' has {value}, and so has 'Ring' on line 2; "
        "give it to one of them, or unset MT_DEVICES"
    )


def test_two_owners_in_a_toml_file_are_named_by_the_lines_of_their_tables(written):
    path = written(
        f'[[device]]\nlabel = "A"\nmac = "{RING}"\n# [[device]]\n\n'
        f'[[device]]\nlabel = "B"\nmac = "{RING}"\n',
        "a.toml",
    )
    with pytest.raises(
        DevicesUnusable, match=r"line 6: 'B' has 02:00:00:00:00:20, and so has 'A' on line 1;"
    ):
        Devices.read(path)


def test_what_is_said_twice_of_one_device_is_no_harm(written):
    assert (
        len(
            Devices.read(
                written(f"device,mac,address\nRing,{RING} {RING},10.0.0.1\nRing,{RING},10.0.0.1\n")
            )
        )
        == 1
    )


def test_the_inventories_of_the_docs_can_be_read(written):
    examples = re.findall(
        r"^```(csv|toml)\n(device,.*?|\[\[device.*?)^```$",
        (PROJECT / "docs" / "how-to" / "devices.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert [len(Devices.read(written(text, f"devices.{kind}"))) for kind, text in examples] == [
        4,
        2,
    ]
