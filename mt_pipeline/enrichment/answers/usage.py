"""Count hits and misses of the store by provider, over all processes, in a small JSON file."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from mt_pipeline.system.atomic import whole

logger = logging.getLogger(__name__)

FILE = "tally.json"


@dataclass(frozen=True)
class Tally:
    """Numbers of look-ups.

    Attributes:
        hits: look-ups with a good stored answer.
        misses: look-ups without one.
        calls_saved: hits that saved a call to a paid provider.
    """

    hits: int = 0
    misses: int = 0
    calls_saved: int = 0

    def __add__(self, other: Self) -> "Tally":
        return Tally(
            self.hits + other.hits, self.misses + other.misses, self.calls_saved + other.calls_saved
        )


def read(folder: Path) -> dict[str, Tally]:
    """Return the tally of each provider; none if the file cannot be read."""
    try:
        stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {
            provider: Tally(**{name: int(number) for name, number in numbers.items()})
            for provider, numbers in stored.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        logger.warning(
            "%s cannot be read (%s): hits and misses are counted anew", folder / FILE, error
        )
        return {}


def add(folder: Path, news: Mapping[str, Tally]) -> None:
    """Add to the tallies. The caller keeps other processes from writing.

    Raises:
        OSError: the file cannot be written.
    """
    before = read(folder)
    total = {
        **before,
        **{provider: before.get(provider, Tally()) + tally for provider, tally in news.items()},
    }
    with whole(folder / FILE) as partial:
        partial.write_text(
            json.dumps({provider: asdict(tally) for provider, tally in total.items()}),
            encoding="utf-8",
        )
