"""First, support and third party; and the user's table of first parties."""

from pathlib import Path

import pyarrow as pa
import pytest

from mt_pipeline.enrichment.owners.companies import Companies
from mt_pipeline.enrichment.owners.first_parties import FirstParties, PartiesUnusable
from mt_pipeline.enrichment.owners.parties import FirstParty, Party, parties, party

RING = FirstParty(frozenset(["ring.com"]), frozenset(["amazon"]))
NOBODY = FirstParty()


@pytest.mark.parametrize(
    ("first", "name", "company", "role", "expected"),
    [
        (RING, "fw.ring.com", "Amazon", None, "first"),
        (RING, "ring.com", None, None, "first"),
        (RING, "notring.com", None, None, "third"),
        (RING, None, "Amazon", "hosting", "first"),
        (RING, "x.akamaihd.net", "Akamai", "cdn", "support"),
        (RING, "app.adjust.com", "Adjust", "attribution", "third"),
        (RING, "www.example.com", None, None, "third"),
        (RING, None, "Google", None, "third"),
        (RING, None, None, "listed", "third"),
        (RING, None, None, None, None),
        (NOBODY, "fw.ring.com", "Amazon", None, None),
        (NOBODY, "0.pool.ntp.org", "NTP Pool", "time", "support"),
        (NOBODY, "ad.doubleclick.net", "Google", "advertising", None),
        (FirstParty(companies=frozenset(["google"])), "ad.doubleclick.net", "Google", "x", "first"),
    ],
)
def test_the_party_of_a_remote_end(
    first: FirstParty, name: str | None, company: str | None, role: str | None, expected: Party
):
    assert party(first, name=name, company=company, role=role) == expected


def test_rows_of_many_devices_are_decided_together(tmp_path: Path):
    companies = Companies()
    table = written(tmp_path, "device,first_party\nBell,ring.com\nPlug,tuya.com\n", companies)
    ends = pa.RecordBatch.from_pydict(
        {
            "device": ["Bell", "Plug", "Bell", "Plug", None, "Bell"],
            "name": ["fw.ring.com", "fw.ring.com", "m.tuyaeu.com", "m.tuyaeu.com", None, None],
            "company": ["Amazon", "Amazon", "Tuya", "Tuya", "Akamai", None],
            "role": [None, None, None, None, "cdn", None],
        },
        schema=pa.schema([(name, pa.string()) for name in ("device", "name", "company", "role")]),
    )
    found = parties(ends, lambda device: table.of("home", device))
    assert found.to_pylist() == ["first", "third", "third", "first", "support", None]


def written(folder: Path, text: str | bytes, companies: Companies) -> FirstParties:
    path = folder / "parties.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return FirstParties.read(path, companies)


def test_a_domain_stands_for_its_company_and_rows_of_experiment_and_device_add_up(tmp_path: Path):
    table = written(
        tmp_path,
        "experiment,device,first_party\n"
        "Kitchen,,apple.com\n"
        ",Echo,Amazon\n"
        "kitchen,Bell,ring.com\n"
        ",,own-lab.org\n",
        Companies(),
    )
    own = frozenset(["own-lab.org"])
    assert table.of("hall", None) == FirstParty(own)
    assert table.of("hall", "Echo") == FirstParty(own, frozenset(["amazon"]))
    assert table.of("kitchen", "Echo") == FirstParty(
        own | {"apple.com"}, frozenset(["apple", "amazon"])
    )
    assert table.of("kitchen", "Bell") == FirstParty(
        own | {"apple.com", "ring.com"}, frozenset(["apple", "amazon"])
    )
    assert not FirstParties().of("kitchen", "Bell")


def test_spreadsheets_separate_cells_by_semicolons_and_columns_may_be_missing(tmp_path: Path):
    table = written(tmp_path, "\ufeffExperiment;First_Party\r\nhome;Tuya\r\n;;\r\n", Companies())
    assert table.of("home", "any") == FirstParty(companies=frozenset(["tuya"]))
    assert not table.of("other", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: the header is not as it must be"),
        ("device,owner\nA,b.example\n", "line 1: the header is not as it must be"),
        ("first_party\nb.example\n", "line 1: the header is not as it must be"),
        ("<!doctype html>\n", "line 1: the header is not as it must be"),
        ("device,first_party\n", "it has no rows"),
        ("device,first_party\nEcho,\n", "line 2: it has no first party"),
        ("device,first_party\nEcho,a.example,b.example\n", "line 2: it has more cells"),
        ("device,first_party\nEcho,Amazn\n", "line 2: 'Amazn' is neither a domain nor a company"),
        ("device,first_party\nEcho,Amazn\n", "did you mean 'Amazon'?"),
        ("device,first_party\nEcho,http://a.example/x\n", "is neither a domain nor"),
        ('device,first_party\nEcho,"a\n', "it is not valid CSV"),
        (b"device,first_party\n\xff\xfe\n", "it is not UTF-8 text"),
    ],
)
def test_a_table_that_is_not_understood_is_refused_with_line_reason_and_cure(
    tmp_path: Path, text: str | bytes, reason: str
):
    with pytest.raises(PartiesUnusable) as raised:
        written(tmp_path, text, Companies())
    assert reason in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "parties.csv"))
    assert str(raised.value).endswith("or unset MT_PARTIES")


def test_a_table_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(PartiesUnusable, match="it cannot be read"):
        FirstParties.read(tmp_path / "none.csv", Companies())
