"""Writes mt_pipeline/enrichment/owners/data/ from two packages of npm: `make owners`.

It needs npm, with whatever registry this machine uses. The packages are `@ip-location-db/asn` and
`third-party-web`; `data/README.md` says whose data they are, and under which licences.
"""

import csv
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mt_pipeline.enrichment.owners.networks import DATA, PROVENANCE
from mt_pipeline.packets.domains import registrable_domain
from mt_pipeline.packets.endpoints import is_askable

NETWORKS, WEB = "@ip-location-db/asn", "third-party-web"

_COMPANIES = {
    "amazon web services": "Amazon",
    "amazon ads": "Amazon",
    "amazon pay": "Amazon",
    "firebase": "Google",
    "youtube": "Google",
    "google fundingchoices": "Google",
    "facebook": "Meta",
    "instagram": "Meta",
    "linkedin": "Microsoft",
    "linkedin ads": "Microsoft",
    "bing ads": "Microsoft",
    "github": "Microsoft",
    "skype": "Microsoft",
    "adobe systems": "Adobe",
    "cloudflare cdn": "Cloudflare",
    "fastly insights": "Fastly",
    "heroku": "Salesforce",
    "salesforce.com": "Salesforce",
    "bytedance ltd": "ByteDance",
    "samsung electronics": "Samsung",
    "netflix": "Netflix",
    "freewheel.tv": "Comcast",
    "yahoo!": "Yahoo",
    "aol": "Yahoo",
    "aol / oath / verizon media": "Yahoo",
    "snapchat": "Snap",
    "verizon digital media cdn": "Edgio",
}
"""Companies that the list has under several names, as our own list calls them."""

_CATEGORIES = {"ad": "advertising"}
"""Categories that we call otherwise."""

Range = tuple[int, int, int]


def main() -> None:
    """Write the files."""
    if shutil.which("npm") is None:
        sys.exit("make owners: npm is needed, which downloads the lists; install it")
    with tempfile.TemporaryDirectory() as folder:
        _write_networks(_unpacked(NETWORKS, Path(folder)))
        _write_companies(_unpacked(WEB, Path(folder)))
    for path in sorted(DATA.iterdir()):
        print(f"{path.stat().st_size:>9,} {path.name}")  # noqa: T201


def _unpacked(package: str, folder: Path) -> Path:
    """Download a package, and return the folder with its files."""
    listed = subprocess.run(
        ["npm", "pack", "--json", "--silent", package],  # noqa: S607  # the user's npm
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    [packed] = json.loads(listed.stdout)
    target = folder / package.replace("/", "_")
    with tarfile.open(folder / packed["filename"].replace("@", "").replace("/", "-")) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def _write_networks(package: Path) -> None:
    names: dict[int, Counter[str]] = {}
    for family, shift in (("ipv4", 0), ("ipv6", 64)):
        rows = list(_read_ranges(package / f"asn-{family}-num.csv", names))
        firsts, asns = zip(*boundaries(rows, shift=shift), strict=True)
        _write(f"{family}.parquet", {"first": pa.array(firsts, pa.int64()), "asn": _asns(asns)})
    version = json.loads((package / "package.json").read_text())["version"]
    numbers = sorted(names)
    _write(
        "organisations.parquet",
        {
            "asn": _asns(numbers),
            "name": pa.array([names[asn].most_common(1)[0][0] for asn in numbers], pa.string()),
        },
        {
            "package": NETWORKS,
            "version": version,
            "date": datetime.strptime(version.split(".")[2][:8], "%Y%m%d").date().isoformat(),
        },
    )


def _read_ranges(path: Path, names: dict[int, Counter[str]]) -> Iterator[Range]:
    with path.open(newline="", encoding="utf-8") as lines:
        for first, last, asn, name in csv.reader(lines):
            names.setdefault(int(asn), Counter())[name] += 1
            yield int(first), int(last), int(asn)


def boundaries(ranges: Iterable[Range], *, shift: int) -> Iterator[tuple[int, int]]:
    """Yield the first address of each range and its system, 0 for a gap; neighbours are merged.

    Args:
        ranges: first and last address, both within, and the system.
        shift: bits at the end of an address that count for nothing.
    """
    end, known = -1, 0  # the last address so far, and its system
    for first, last, asn in sorted(ranges):
        begin = max(first >> shift, end + 1)  # of two within the same bits, the first counts
        if begin > last >> shift:
            continue
        if begin > end + 1 and known:
            yield end + 1, 0
            known = 0
        if asn != known:
            yield begin, asn
        end, known = last >> shift, asn
    yield end + 1, 0


def _asns(numbers: Iterable[int]) -> pa.Array:
    return pa.array(numbers, pa.uint32())


def _write(
    name: str, columns: Mapping[str, pa.Array], provenance: Mapping[str, str] | None = None
) -> None:
    encodings = {
        "first": "DELTA_BINARY_PACKED",
        "asn": "BYTE_STREAM_SPLIT",
        "name": "DELTA_BYTE_ARRAY",
    }
    table = pa.table(columns)
    if provenance:
        table = table.replace_schema_metadata({PROVENANCE: json.dumps(provenance)})
    pq.write_table(
        table,
        DATA / name,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        write_statistics=False,
        column_encoding={column: encodings[column] for column in columns},
    )


def _write_companies(package: Path) -> None:
    entities = json.loads((package / "dist" / "entities.json").read_text())
    rows: dict[str, tuple[str, str]] = {}
    for entity in entities:
        company = entity.get("company") or entity["name"]
        company = _COMPANIES.get(company.casefold(), company)
        category = _CATEGORIES.get(entity["category"], entity["category"])
        for pattern in entity["domains"]:
            domain = pattern.removeprefix("*.").removeprefix("www.").lower()
            is_suffix = registrable_domain(f"x.{domain}") == f"x.{domain}"
            if is_askable(domain) and not is_suffix:
                rows.setdefault(domain, (company, category))
    version = json.loads((package / "package.json").read_text())["version"]
    with (DATA / "third_parties.csv").open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {WEB} {version}, MIT License, Copyright (c) 2019 Patrick Hulce\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["domain", "company", "category"])
        writer.writerows((domain, *rows[domain]) for domain in sorted(rows))


if __name__ == "__main__":
    main()
