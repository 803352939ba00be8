"""Answers as files: NDJSON with an entry of a history per line, and the folder in which MT_ProcessPKTs kept what Netify said.

What was read goes into the store by `AnswerStore.take_in`. A line or a file that cannot be read is told and passed over.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mt_pipeline.enrichment.answers import history
from mt_pipeline.enrichment.answers.history import History
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts, Kind
from mt_pipeline.enrichment.netify.client import Netify
from mt_pipeline.enrichment.netify.responses import BrokenBody, facts_of
from mt_pipeline.enrichment.netify.statuses import LARGEST_BODY
from mt_pipeline.enrichment.plugins import NAME
from mt_pipeline.enrichment.provider import EnrichmentError
from mt_pipeline.packets.endpoints import is_askable, is_public
from mt_pipeline.system.atomic import whole

logger = logging.getLogger(__name__)

LONGEST_LINE = 1024 * 1024
LONGEST_ENDPOINT = 1000

_FOLDERS: dict[str, Kind] = {"ips": "address", "hostnames": "name"}
_ENDING = ".json"


class ExchangeError(EnrichmentError):
    """A file of answers cannot be written or is none; the message names it."""


@dataclass(frozen=True)
class PassedOver:
    """What was not taken in.

    Attributes:
        what: the line, or the file.
        why: a few words.
        broken: False if it is fine, but nothing that anybody may be asked about.
    """

    what: str
    why: str
    broken: bool = True


def export(store: AnswerStore, output: Path) -> int:
    """Write all answers to a file, which appears when it is whole.

    Returns:
        How many lines it has.

    Raises:
        ExchangeError: there is such a file already.
        StoreError: the store cannot be read.
        OSError: the file cannot be written.
    """
    there = ExchangeError(f"{output} is there already: choose another name, or remove it")
    if output.exists() or output.is_symlink():
        raise there
    lines, unreadable = 0, 0
    try:
        with whole(output, new=True) as beside, beside.open("w", encoding="utf-8") as file:
            for key, text in store.records.everything():
                if known := history.read(text, key):
                    file.writelines(f"{line}\n" for line in known.to_lines())
                    lines += len(known.entries)
                else:
                    unreadable += 1
    except FileExistsError:  # it came while we wrote
        raise there from None
    if unreadable:
        logger.warning("%s records cannot be read, and are not in %s", f"{unreadable:,}", output)
    return lines


def read(source: Path) -> Iterator[History | PassedOver]:
    """Read an exported file, or the cache folder of MT_ProcessPKTs.

    Raises:
        ExchangeError: it is neither.
        OSError: it cannot be read.
    """
    if not source.is_dir():
        return _lines(source)
    folders = {source / name: kind for name, kind in _FOLDERS.items() if (source / name).is_dir()}
    if not folders:
        raise ExchangeError(
            f"{source} has no folder `ips` or `hostnames`: name the cache folder of MT_ProcessPKTs, or a file of `cache export`"
        )
    return (found for folder, kind in folders.items() for found in _bodies(folder, kind))


def _lines(source: Path) -> Iterator[History | PassedOver]:
    with source.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                yield PassedOver(f"line {number}", f"it is longer than {LONGEST_LINE:,} bytes")
                while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
            elif line.strip():
                try:
                    yield _line(line)
                except ValueError as error:
                    yield PassedOver(f"line {number}", str(error))


def _line(line: bytes) -> History:
    try:
        text = line.decode()
        json.dumps(
            json.loads(text), ensure_ascii=False
        ).encode()  # JSON can say half a surrogate pair, which no file of ours can hold
    except (ValueError, RecursionError):
        raise ValueError("no JSON in UTF-8") from None
    known = History.from_json(text)
    value: object = known.endpoint.value
    if not isinstance(value, str) or not value or len(value) > LONGEST_ENDPOINT:
        raise ValueError(f"no answer: {str(value)[:80]!r} is no endpoint")
    if not NAME.fullmatch(known.provider):
        raise ValueError(f"no answer: {known.provider[:80]!r} is no name of a provider")
    return known


def _bodies(folder: Path, kind: Kind) -> Iterator[History | PassedOver]:
    """Read what Netify said, a file per endpoint; only what it said with status 200 was ever kept."""
    for path in folder.iterdir():
        if not path.name.endswith(_ENDING):
            yield PassedOver(str(path), f"its name does not end in {_ENDING}")
            continue
        endpoint = path.name.removesuffix(_ENDING).lower().rstrip(".")
        if not (is_public(endpoint) if kind == "address" else is_askable(endpoint)):
            yield PassedOver(str(path), "nothing that anybody is asked about", broken=False)
            continue
        try:
            facts = facts_of(kind, _body(path))
            moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except OSError as error:
            yield PassedOver(str(path), error.strerror or str(error))
        except (BrokenBody, ValueError, OverflowError) as error:
            yield PassedOver(str(path), str(error))
        else:
            yield History.of(
                Answer(
                    Endpoint(kind, endpoint),
                    Netify.name,
                    facts is not None,
                    moment,
                    facts or Facts(),
                )
            )


def _body(path: Path) -> bytes:
    if not path.is_file():  # a pipe would be waited for
        raise BrokenBody("no file")
    with path.open("rb") as file:
        body = file.read(LARGEST_BODY + 1)
    if len(body) > LARGEST_BODY:
        raise BrokenBody(f"it has more than {LARGEST_BODY:,} bytes")
    return body
