"""Applications of names and address blocks.

They come from our own list of services, and from a file in the format of netifyd's
netify-apps.conf, the open edition. A line is `app:ID:TAG`, `dom:ID:DOMAIN`, `net:ID:CIDR` or
`cat:ID:CATEGORY`, which netifyd does not know. A tag may begin with `netify.`. Other lines (`nsd:`,
comments) are ignored. The most specific entry wins: the longest suffix of a name, or the longest
prefix of an address.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import radix

from mt_pipeline.enrichment.models import Facts
from mt_pipeline.enrichment.offline.services import categories, services, suffixes
from mt_pipeline.enrichment.provider import ProviderUnusable
from mt_pipeline.system.named_files import read_text

_CURE = "name the open edition (Apache-2.0) in MT_OFFLINE_APPS, or unset it"
_PROPRIETARY = re.compile(r"proprietary|paid subscription", re.IGNORECASE)


class Apps:
    """The applications of names and addresses."""

    def __init__(self, fallback: Self | None = None) -> None:
        self._fallback = fallback
        self._categories: dict[str, str] = {}
        self._by_suffix: dict[str, Facts] = {}
        self._blocks = radix.Radix()
        self.has_blocks = False

    @classmethod
    def well_known(cls) -> Self:
        """Return those of our own list, which has no address blocks: these change too often."""
        apps = cls()
        facts = {
            service.app: Facts(app_tag=service.app, app_category_tag=service.category)
            for service in services()
        }
        apps._categories = dict(categories())
        apps._by_suffix = {service.domain: facts[service.app] for service in services()}
        return apps

    @classmethod
    def read(cls, path: Path, *, fallback: Self | None = None) -> Self:
        """Read a file.

        Args:
            path: the file.
            fallback: used for names, and categories of applications, that are not in the file.

        Raises:
            ProviderUnusable: the file is missing, has another format, or is the proprietary
                edition.
        """
        apps = cls(fallback)
        entries = list(_entries(path, _read_lines(path)))
        tags = {
            identity: tag.removeprefix("netify.")
            for _, kind, identity, tag in entries
            if kind == "app"
        }
        if not tags:
            raise ProviderUnusable(f"{path} names no application (no line `app:ID:TAG`); {_CURE}")
        apps._categories = {
            tags[identity]: category
            for _, kind, identity, category in entries
            if kind == "cat" and identity in tags
        }
        facts = {
            identity: Facts(app_tag=tag, app_category_tag=apps._category(tag))
            for identity, tag in tags.items()
        }
        for number, kind, identity, value in entries:
            if kind in ("dom", "net") and identity in facts:
                try:
                    apps._add(kind, value, facts[identity])
                except ValueError:
                    raise ProviderUnusable(
                        f"{path}: line {number} has {value[:80]!r}, which is not an address "
                        f"block; fix it, or {_CURE}"
                    ) from None
        return apps

    def _category(self, tag: str) -> str | None:
        return self._categories.get(tag) or (
            self._fallback._category(tag) if self._fallback else None
        )

    def _add(self, kind: str, value: str, facts: Facts) -> None:
        if kind == "dom":
            self._by_suffix[value.strip(".").lower()] = facts
        else:
            self._blocks.add(value).data["facts"] = facts
            self.has_blocks = True

    def look_up_names(self, names: Sequence[str]) -> list[Facts | None]:
        """Return the application of each name."""
        return [self._look_up_name(name) for name in names]

    def look_up_addresses(self, addresses: Sequence[str]) -> list[Facts | None]:
        """Return the application of each address."""
        best = self._blocks.search_best
        nodes = [best(address) for address in addresses]
        return [None if node is None else node.data["facts"] for node in nodes]

    def _look_up_name(self, name: str) -> Facts | None:
        for suffix in suffixes(name):
            if facts := self._by_suffix.get(suffix):
                return facts
        return self._fallback._look_up_name(name) if self._fallback else None


def _read_lines(path: Path) -> list[str]:
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise ProviderUnusable(
            f"{path} cannot be read ({error.strerror or error}); {_CURE}"
        ) from None
    except UnicodeDecodeError:
        raise ProviderUnusable(f"{path} is not a text file; {_CURE}") from None
    if any(_PROPRIETARY.search(line) for line in lines if line.startswith(("#", ";", "//"))):
        raise ProviderUnusable(
            f"{path} is the proprietary edition, by its header, and must not be used; {_CURE}"
        )
    return lines


def _entries(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
    """Yield number, kind, identity and value of the lines with an entry."""
    for number, line in enumerate(lines, 1):
        kind, _, rest = line.strip().partition(":")
        identity, _, value = rest.partition(":")
        if kind in ("app", "cat", "dom", "net"):
            if not value.strip():
                raise ProviderUnusable(
                    f"{path}: line {number} is not of the form {kind}:ID:VALUE; fix it, or {_CURE}"
                )
            yield number, kind, identity, value.strip()
