"""Places of many addresses at once are those that the reader of the file returns for each."""

import ipaddress
import random
from collections.abc import Iterator
from pathlib import Path

import maxminddb
import pytest

from mt_pipeline.enrichment.offline.mmdb_tree import NO_RECORD, Tree
from mt_pipeline.enrichment.offline.places import CityFile
from mt_pipeline_tests.enrichment.city_files import Record, city_file, nested

PADDING = {f"1.0.{number}.0/24": {"padding": f"{number}" * 30_000} for number in range(256)}
"""Records so long that 24 bits do not reach those behind them."""


def blocks(chance: random.Random, *, version: int, bits: int) -> dict[str, Record]:
    """Make blocks of all sizes, some within others, with fewer places than blocks."""
    places = [
        nested("DE", "Germany", f"City {number}", (number, number / 2)) for number in range(40)
    ]
    made: dict[str, Record] = {} if bits == 24 else dict(PADDING)
    for _ in range(200):
        made[
            f"{chance.randrange(2, 224)}.{chance.randrange(256)}.0.0/{chance.randrange(16, 20)}"
        ] = chance.choice(places)
        made[
            str(
                ipaddress.ip_network(
                    (chance.randrange(2 << 24, 224 << 24), chance.randrange(9, 33)), strict=False
                )
            )
        ] = chance.choice(places)
        if version == 6:
            made[
                str(
                    ipaddress.ip_network(
                        (chance.getrandbits(125) | 1 << 125, chance.randrange(4, 129)), strict=False
                    )
                )
            ] = chance.choice(places)
    return dict(
        sorted(made.items(), key=lambda block: int(block[0].partition("/")[2]))
    )  # narrow ones last, or they are written over


def near(made: dict[str, Record], chance: random.Random) -> Iterator[str]:
    """Yield the ends of each block, their neighbours, an address within, and random ones."""
    for network in map(ipaddress.ip_network, made):
        first, last = int(network.network_address), int(network.broadcast_address)
        for number in (first - 1, first, chance.randint(first, last), last, last + 1):
            yield str(type(network.network_address)(number % (1 << network.max_prefixlen)))
    for _ in range(500):
        yield str(ipaddress.IPv4Address(chance.getrandbits(32)))
        yield str(ipaddress.IPv6Address(chance.getrandbits(128)))
        yield f"::ffff:{ipaddress.IPv4Address(chance.getrandbits(32))}"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("bits", [24, 28, 32])
def test_many_addresses_have_the_places_that_the_reader_says_of_each(
    tmp_path: Path, version: int, bits: int
):
    chance = random.Random(f"{version} {bits}")  # noqa: S311  # no secret
    made = blocks(chance, version=version, bits=bits)
    path = city_file(tmp_path / "city.mmdb", made, version=version, bits=bits)
    addresses = list(near(made, chance))
    chance.shuffle(addresses)

    places = CityFile(path)
    found = [
        places.look_up(addresses[start : start + 700]) for start in range(0, len(addresses), 700)
    ]
    places.close()

    assert bits == 24 or path.stat().st_size > 1 << 24
    with maxminddb.open_database(path) as reader:
        numbers = Tree(path, reader.metadata()).records(addresses).tolist()
        assert reader.metadata().record_size == bits
        records = [
            reader.get(address) if version == 6 or ":" not in address else None
            for address in addresses
        ]
    expected = [
        record["city"]["names"]["en"] if record and "city" in record else None for record in records
    ]
    assert [facts and facts.geo_city for batch in found for facts in batch] == expected
    assert len(set(expected)) > 30
    with maxminddb.open_database(
        path, maxminddb.MODE_MEMORY
    ) as slow:  # the one in Python, which has the number of a record
        packed = [
            bytearray(ipaddress.ip_address(address).packed)
            if version == 6 or ":" not in address
            else None
            for address in addresses
        ]
        assert numbers == [
            (address and slow._find_address_in_tree(address)[0]) or NO_RECORD for address in packed
        ]
