"""The network of an address: the table in the package, files of the user, unusable files."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mt_pipeline.enrichment.owners.networks import DATA, SCHEMA, Networks
from mt_pipeline.enrichment.provider import ProviderUnusable
from mt_pipeline_tests.enrichment.city_files import city_file
from mt_pipeline_tests.owners import boundaries

MAXMIND = {"autonomous_system_number": 64500, "autonomous_system_organization": "Lab"}


def of(networks: Networks, *addresses: str | None) -> list[tuple[int | None, str | None]]:
    found = networks.look_up(pa.array(addresses, pa.string()))
    assert found.schema == SCHEMA
    return [(row["asn"], row["organisation"]) for row in found.to_pylist()]


def test_out_of_the_box_addresses_of_both_families_have_a_number_and_an_organisation():
    assert of(
        Networks(), "8.8.8.8", "2001:4860:4860::8888", "1.1.1.1", "2a03:2880:f10c::1", "8.8.8.8"
    ) == [
        (15169, "Google LLC"),
        (15169, "Google LLC"),
        (13335, "Cloudflare, Inc."),
        (32934, "Facebook, Inc."),
        (15169, "Google LLC"),
    ]


def test_ipv4_within_ipv6_is_the_network_of_the_ipv4_address():
    assert (
        of(Networks(), "::ffff:8.8.8.8", "::ffff:808:808", "64:ff9b::808:808")
        == [(15169, "Google LLC")] * 3
    )


def test_what_is_no_public_address_has_no_network():
    addresses = ["10.0.0.1", "0.0.0.0", "255.255.255.255", "fe80::1", "ff02::1", "ffff::", "::"]  # noqa: S104
    odd = ["", "nobody", "8.8.8", "8.8.8.8.8", "8.8.8.8\0", "fe80::1%eth0", "1" * 5000, None]
    assert of(Networks(), *addresses, *odd) == [(None, None)] * (len(addresses) + len(odd))
    assert of(Networks()) == []


def test_the_table_says_of_which_day_it_is_and_is_small():
    provenance = Networks().provenance
    assert provenance.package == "@ip-location-db/asn"
    assert provenance.version.split(".")[2].startswith(provenance.date.replace("-", ""))
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3_500_000
    assert "db-ip.com" in (DATA / "README.md").read_text()


def test_the_table_is_read_without_pandas_which_takes_longer_than_all_else():
    code = (
        "import sys, json; from mt_pipeline.enrichment.owners.networks import Networks; Networks();"
        "print(json.dumps('pandas' in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout) is False


def test_neighbours_are_merged_gaps_have_no_system_and_the_first_of_two_counts():
    ranges = [(0, 9, 1), (10, 19, 1), (20, 29, 2), (40, 49, 2), (45, 59, 3)]
    assert list(boundaries(ranges, shift=0)) == [
        (0, 1),
        (20, 2),
        (30, 0),
        (40, 2),
        (50, 3),
        (60, 0),
    ]
    narrow = [(0x10, 0x13, 1), (0x14, 0x1F, 2), (0x20, 0x2F, 2)]
    assert list(boundaries(narrow, shift=4)) == [(1, 1), (2, 2), (3, 0)]


@pytest.mark.parametrize(
    "record",
    [
        MAXMIND,
        {"asn": "AS64500", "as_name": "Lab", "as_domain": "lab.example"},
        {"asn": 64500, "name": "Lab"},
        {"asn": "64500", "org": " Lab "},
    ],
    ids=["MaxMind and DB-IP", "IPinfo", "number", "IPLocate"],
)
def test_a_file_of_the_user_comes_first_in_each_layout_and_the_table_knows_the_rest(
    tmp_path: Path, record: dict[str, object]
):
    path = city_file(
        tmp_path / "asn.mmdb",
        {
            **dict.fromkeys(["8.8.8.0/24", "2001:4860::/32", "0.0.0.0/8"], record),
            "9.9.9.0/24": {"country_code": "US"},
        },
        kind="GeoLite2-ASN",
    )
    networks = Networks(asn_mmdb=path)
    assert of(
        networks, "8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808", "9.9.9.9", "1.1.1.1", "x"
    ) == [(64500, "Lab")] * 3 + [(19281, "Quad9"), (13335, "Cloudflare, Inc."), (None, None)]
    assert of(networks, "x", None) == [(None, None)] * 2
    assert of(networks) == []
    networks.close()


def test_what_is_odd_in_a_record_is_not_passed_on(tmp_path: Path):
    odd: list[dict[str, object]] = [
        {"autonomous_system_number": True, "autonomous_system_organization": ""},
        {"autonomous_system_number": 2**32, "autonomous_system_organization": "Only a name"},
        {"autonomous_system_number": 64501, "autonomous_system_organization": ["x"]},
        {"asn": "ASN-LAB"},
    ]
    blocks: dict[str, dict[str, object]] = {
        f"8.8.8.{n * 64}/26": each for n, each in enumerate(odd)
    }
    path = city_file(tmp_path / "asn.mmdb", {**blocks, "1.1.1.0/24": MAXMIND}, kind="ASN")
    [without] = of(Networks(), "8.8.8.8")
    assert of(Networks(asn_mmdb=path), *[f"8.8.8.{n * 64 + 1}" for n in range(len(odd))]) == [
        without,
        (None, "Only a name"),
        (64501, None),
        without,
    ]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ({"8.8.8.0/24": {"autonomous_system_number": 15169}}, "has no numbers and organisations"),
        ({"8.8.8.0/24": {"country": {"iso_code": "US"}}}, "has no numbers and organisations"),
        (None, "is not an MMDB"),
    ],
    ids=["without organisations", "a country file", "no MMDB"],
)
def test_a_file_without_organisations_is_refused_with_its_name_the_reason_and_the_cure(
    tmp_path: Path, records: dict[str, dict[str, object]] | None, reason: str
):
    path = tmp_path / "asn.mmdb"
    if records is None:
        path.write_text("<html>sign in</html>")
    else:
        city_file(path, records, kind="GeoLite2-ASN")
    with pytest.raises(ProviderUnusable, match=reason) as raised:
        Networks(asn_mmdb=path)
    assert str(raised.value).startswith(str(path))
    assert "name an ASN file in MT_OFFLINE_ASN_MMDB" in str(raised.value)
