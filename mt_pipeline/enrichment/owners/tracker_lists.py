"""Lists of trackers of the user: EasyList, hosts files, or a domain per line, each line as it is.

- EasyList: `||example.com^` is taken, also with the options of `_OPTION`; `@@||example.com^` takes
  a name out again. Rules about paths, parts of pages or single sites are not about a name, and are
  left out.
- hosts: `0.0.0.0 example.com`.
- Domains: `example.com`, `*.example.com`, `.example.com`.

A domain covers all names below it. Only hashes of the domains are kept.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mt_pipeline.enrichment.offline.services import suffixes
from mt_pipeline.enrichment.provider import ProviderUnusable
from mt_pipeline.packets.domains import public_suffixes
from mt_pipeline.system.named_files import open_bytes

LARGEST_LIST = 256 * 2**20
"""Bytes; a hosts file with two million lines has 60 to 80 MB."""

_CHUNK = 2**20
"""Bytes read at once; a line without an end in as many is left out."""

_CURE = (
    "name a list in EasyList, hosts or domain-per-line form in MT_TRACKER_LISTS, or leave it out"
)
_PAGE = re.compile(rb"\s*<(!doctype|html|head|body|meta|\?xml|!--)", re.IGNORECASE)

# All lines of a chunk are matched at once, which is ten times as fast as one by one. Nothing is
# tried twice (`++`), so that no line takes long.
_OPTION = rb"(?:3p|all|doc|document|important|popup|third-party)"
_NAME = rb"(?![\d.]++\s)[a-z0-9_-]++(?:\.[a-z0-9_-]++)++"
_RULE = rb"\|\|(?:\*\.)?+(" + _NAME + rb")\^?+(?:\$" + _OPTION + rb"(?:," + _OPTION + rb")*+)?+"
_ADDRESS = rb"(?:0\.0\.0\.0|127\.0\.0\.1|255\.255\.255\.255|::[01]?|fe80::1%lo0)[ \t]++"
_NAMES = rb"(?:" + _ADDRESS + rb"|\*?\.)?(" + _NAME + rb"(?:[ \t]++" + _NAME + rb")*+)\.?+"
_LISTED = re.compile(
    rb"^[ \t]*+(?:" + _RULE + rb"|" + _NAMES + rb")[ \t]*+(?:(?<=[ \t])#.*+)?+\r?+$", re.MULTILINE
)
_EXCEPTED = re.compile(rb"^@@" + _RULE + rb"[ \t]*+\r?+$", re.MULTILINE)

Hashes = npt.NDArray[np.int64]

_NONE: Hashes = np.array([], np.int64)


class TrackerLists:
    """The names of all lists."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the lists.

        Args:
            paths: the files.

        Raises:
            ProviderUnusable: a file is missing, too large, no such list, or has no domain.
        """
        # Listed by mistake, a suffix of everyone would be a tracker with all names below it.
        of_everyone = np.sort([hash(suffix) for suffix in public_suffixes()])
        listed, excepted = [_NONE], [_NONE]
        for path in paths:
            found, exceptions = _read(path)
            found = found[~_are_in(of_everyone, found)]
            if not len(found):
                raise ProviderUnusable(f"{path} has no domain; {_CURE}")
            listed.append(found)
            excepted.append(exceptions)
            del found
        self._listed, self._excepted = _sorted(listed), _sorted(excepted)

    def __len__(self) -> int:
        """Return the number of distinct domains."""
        return int(np.count_nonzero(np.diff(self._listed))) + bool(len(self._listed))

    def contain(self, names: Sequence[str]) -> list[bool]:
        """Return for each name whether it, or a domain above it, is listed and none excepted."""
        if not names:
            return []
        of_names = [[hash(suffix) for suffix in suffixes(name)] for name in names]
        asked = np.array([number for numbers in of_names for number in numbers], np.int64)
        firsts = np.cumsum([0, *map(len, of_names[:-1])])
        is_listed = np.logical_or.reduceat(_are_in(self._listed, asked), firsts)
        is_excepted = np.logical_or.reduceat(_are_in(self._excepted, asked), firsts)
        answer: list[bool] = (is_listed & ~is_excepted).tolist()
        return answer


def _sorted(parts: list[Hashes]) -> Hashes:
    """Empty the list into one array, sorted in place: of millions, each copy takes 16 MB."""
    hashes = np.concatenate(parts)
    parts.clear()
    hashes.sort()
    return hashes


def _are_in(hashes: Hashes, asked: Hashes) -> npt.NDArray[np.bool_]:
    if not len(hashes):
        return np.zeros(len(asked), np.bool_)
    at = np.minimum(np.searchsorted(hashes, asked), len(hashes) - 1)
    return np.equal(hashes[at], asked)


def _read(path: Path) -> tuple[Hashes, Hashes]:
    """Return the hashes of the domains of a list, and of its exceptions.

    Python's hashes differ from process to process, so that no list can be made to collide. That any
    of ten million names has the hash of one of two million others is a chance of one in a million.
    """
    listed, excepted = array("q"), array("q")
    try:
        with open_bytes(path) as file:
            for chunk in _chunks(path, file):
                listed.extend(map(hash, _names(_LISTED, chunk)))
                if b"@@" in chunk:
                    excepted.extend(map(hash, _names(_EXCEPTED, chunk)))
    except OSError as error:
        raise ProviderUnusable(
            f"{path} cannot be read ({error.strerror or error}); {_CURE}"
        ) from None
    return np.frombuffer(listed, np.int64), np.frombuffer(excepted, np.int64)


def _names(pattern: re.Pattern[bytes], chunk: bytes) -> list[str]:
    found = (match[match.lastindex or 0] for match in pattern.finditer(chunk))
    return b" ".join(found).decode("ascii").split()


def _chunks(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines in lower case, many at once."""
    size, rest = 0, b""
    while read := file.read(_CHUNK):
        if not size:
            read = read.removeprefix(b"\xef\xbb\xbf")
            if _PAGE.match(read):
                raise ProviderUnusable(
                    f"{path} is a page, not a list: download the list itself, often behind a link "
                    f"`raw`, or {_CURE}"
                )
        size += len(read)
        if size > LARGEST_LIST:
            raise OSError(f"it has more than {LARGEST_LIST / 2**20:,.0f} MiB")
        if b"\0" in read or (not rest and read.startswith(b"\x1f\x8b")):
            raise ProviderUnusable(f"{path} is not a text: unpack it if it is packed, or {_CURE}")
        lines, end, rest = (rest[-_CHUNK:] + read).lower().rpartition(b"\n")
        yield lines + end
    yield rest + b"\n"
