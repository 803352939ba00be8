"""Random selections over captures of every kind: each cut has the original frames, to the bit.

This needs no database. `api/test_cutting.py` chooses by conditions on rows.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from mt_pipeline.frames.cut import Source, write
from mt_pipeline.frames.models import Wanted
from mt_pipeline_tests.building.originals import Original, originals
from mt_pipeline_tests.frames.parts import parse


def source(path: Path, numbers: Sequence[int], frames: Sequence[Original]) -> Source:
    """Want frames of a capture, with what its rows say of them."""
    wanted = (
        Wanted(number, frames[number - 1].time_ns // 1000, frames[number - 1].wire_length)
        for number in numbers
    )
    return Source(path.name, path, wanted, len(numbers))


def selection(found: Mapping[str, Sequence[Original]], seed: int) -> Mapping[str, Sequence[int]]:
    """Choose captures, and frames of each, at random."""
    chance = random.Random(seed)  # noqa: S311
    names = chance.sample(sorted(found), chance.randint(1, 8))
    return {
        name: sorted(
            chance.sample(
                range(1, len(found[name]) + 1), chance.randint(1, min(30, len(found[name])))
            )
        )
        for name in names
    }


def check(
    folder: Path,
    found: Mapping[str, Sequence[Original]],
    chosen: Mapping[str, Sequence[int]],
    output: Path,
) -> int:
    """Cut frames, compare the file with the originals, and return how many it has."""
    names = sorted(chosen)
    sources = [source(folder / name, chosen[name], found[name]) for name in names]
    written = write(sources, output, application="tests", comment="of a test")
    expected = sorted(
        (found[name][number - 1].time_ns, place, number, name)
        for place, name in enumerate(names)
        for number in chosen[name]
    )
    read = parse(output)
    assert written.frames == len(expected) == len(read.frames)
    for (_, _, number, name), frame in zip(expected, read.frames, strict=True):
        assert frame.frame == found[name][number - 1], (name, number)
        assert frame.comments[0] == f"{name}, frame {number}"
        assert frame.interface.startswith(name)
    return written.frames


def selections(folder: Path, *, count: int) -> list[str]:
    """Run random selections; return what is wrong with them."""
    found = originals(folder / "originals")
    wrong = []
    for seed in range(count):
        try:
            check(folder / "originals", found, selection(found, seed), folder / "cut.pcapng")
        except AssertionError as error:
            wrong.append(f"selection {seed}: {error}")
    return wrong
