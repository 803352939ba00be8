"""Answers as files: NDJSON with an entry per line, and the cache folder of MT_ProcessPKTs.

`AnswerStore.take_in` stores what was read. Lines and files that cannot be read are skipped, and
returned with the reason.
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
from mt_pipeline.packets.endpoints import is_askable
from mt_pipeline.packets.reachability import is_public
from mt_pipeline.system.atomic import whole

logger = logging.getLogger(__name__)

LONGEST_LINE = 1024 * 1024
LONGEST_ENDPOINT = 1000

_FOLDERS: dict[str, Kind] = {"ips": "address", "hostnames": "name"}
_ENDING = ".json"


class ExchangeError(EnrichmentError):
    """A file of answers cannot be written, or holds none; the message names it."""


@dataclass(frozen=True)
class PassedOver:
    """A line or a file that was skipped.

    Attributes:
        what: the line, or the file.
        why: a few words.
        broken: False if it can be read, but no provider is asked about its endpoint.
    """

    what: str
    why: str
    broken: bool = True


def export(store: AnswerStore, output: Path) -> int:
    """Write all answers to a file, which appears when it is complete.

    Returns:
        Number of lines.

    Raises:
        ExchangeError: the file exists already.
        StoreError: the store cannot be read.
        OSError: the file cannot be written.
    """
    exists = ExchangeError(f"{output} is there already: choose another name, or remove it")
    if output.exists() or output.is_symlink():
        raise exists
    lines, unreadable = 0, 0
    try:
        with whole(output, new=True) as partial, partial.open("w", encoding="utf-8") as file:
            for key, text in store.records.items():
                if stored := history.read(text, key):
                    file.writelines(f"{line}\n" for line in stored.to_lines())
                    lines += len(stored.entries)
                else:
                    unreadable += 1
    except FileExistsError:  # created while we wrote
        raise exists from None
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
            f"{source} has no folder `ips` or `hostnames`: "
            "name the cache folder of MT_ProcessPKTs, or a file of `cache export`"
        )
    return (result for folder, kind in folders.items() for result in _bodies(folder, kind))


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
        # JSON can express half a surrogate pair, which UTF-8 cannot.
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ValueError("no JSON in UTF-8") from None
    result = History.from_json(text)
    value: object = result.endpoint.value
    if not isinstance(value, str) or not value or len(value) > LONGEST_ENDPOINT:
        raise ValueError(f"no answer: {str(value)[:80]!r} is no endpoint")
    if not NAME.fullmatch(result.provider):
        raise ValueError(f"no answer: {result.provider[:80]!r} is no name of a provider")
    return result


def _bodies(folder: Path, kind: Kind) -> Iterator[History | PassedOver]:
    """Read the bodies of Netify's answers, a file per endpoint, all with status 200."""
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
    if not path.is_file():  # reading a pipe would block
        raise BrokenBody("no file")
    with path.open("rb") as file:
        body = file.read(LARGEST_BODY + 1)
    if len(body) > LARGEST_BODY:
        raise BrokenBody(f"it has more than {LARGEST_BODY:,} bytes")
    return body
