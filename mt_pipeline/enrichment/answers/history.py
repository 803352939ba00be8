"""The history of one provider's answers about one endpoint, and its JSON.

Where histories are stored is in `database.py`; how long an answer is good for, in `store.py`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Self

from mt_pipeline.enrichment.models import Answer, Endpoint, Facts

Texts = Mapping[str, str]
"""Stored records: JSON by key."""


@dataclass(frozen=True)
class Entry:
    """One answer, and the time from its first to its last confirmation.

    Attributes:
        found: False if the provider did not know the endpoint.
        asked_at: when the provider first answered so, in UTC.
        confirmed_at: when the provider last answered so, in UTC.
        facts: the answer.
    """

    found: bool
    asked_at: datetime
    confirmed_at: datetime
    facts: Facts

    def equals(self, found: bool, facts: Facts) -> bool:
        """Return whether an answer equals this one."""
        return self.found == found and self.facts == facts

    def to_record(self) -> dict[str, object]:
        """Return the entry for JSON, without unknown facts."""
        return {
            "found": self.found,
            "asked_at": self.asked_at.isoformat(),
            "confirmed_at": self.confirmed_at.isoformat(),
            "facts": {
                name: value for name, value in asdict(self.facts).items() if value is not None
            },
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Self:
        """Return the entry of a JSON object.

        Entries of the first release have no `confirmed_at`: they were confirmed when asked.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: the object is not an entry.
        """
        asked_at = _moment(record["asked_at"])
        confirmed_at = _moment(record["confirmed_at"]) if "confirmed_at" in record else asked_at
        facts = Facts.from_mapping(record["facts"])  # type: ignore[arg-type]  # raises by itself
        return cls(record["found"] is True, asked_at, confirmed_at, facts)


@dataclass(frozen=True)
class History:
    """The entries of an endpoint, at least one.

    New answers are added in the order in which they arrive, whatever the clock shows. `merged`
    sorts entries by their times.

    Attributes:
        provider: name of the provider.
        endpoint: the endpoint that it was asked about.
        entries: the newest first.
    """

    provider: str
    endpoint: Endpoint
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        if not self.entries:
            raise ValueError("a history needs an entry")

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Return the history of a first answer."""
        return cls(
            answer.provider,
            answer.endpoint,
            (Entry(answer.found, answer.asked_at, answer.asked_at, answer.facts),),
        )

    @property
    def key(self) -> str:
        """Key of the record."""
        return key_of(self.provider, self.endpoint)

    @property
    def newest(self) -> Answer:
        """The newest answer, with the time of its last confirmation."""
        return self._answer(self.entries[0], self.entries[0].confirmed_at)

    def as_of(self, moment: datetime) -> Answer | None:
        """Return the answer that was known at a moment, with the time when it was first given.

        Later confirmations do not change it.
        """
        last = max(
            (entry for entry in self.entries if entry.asked_at <= moment),
            key=lambda entry: entry.asked_at,
            default=None,
        )
        return None if last is None else self._answer(last, last.asked_at)

    def with_answer(self, answer: Answer) -> Self:
        """Return the history with a new answer. One that equals the newest only confirms it."""
        first = self.entries[0]
        if first.equals(answer.found, answer.facts):
            return replace(
                self, entries=(replace(first, confirmed_at=answer.asked_at), *self.entries[1:])
            )
        return replace(self, entries=(*self.of(answer).entries, *self.entries))

    def merged(self, other: Self) -> Self:
        """Return both histories of the endpoint as one, sorted by time.

        Merging the same history again changes nothing.
        """
        answers = {
            (moment, entry.found, entry.facts)
            for entry in (*self.entries, *other.entries)
            for moment in (entry.asked_at, entry.confirmed_at)
        }
        entries: list[Entry] = []
        for moment, found, facts in sorted(answers, key=lambda each: (each[0], repr(each[1:]))):
            if entries and entries[-1].equals(found, facts):
                entries[-1] = replace(entries[-1], confirmed_at=moment)
            else:
                entries.append(Entry(found, moment, moment, facts))
        return replace(self, entries=tuple(reversed(entries)))

    def since(self, moment: datetime) -> Self:
        """Return the history without answers last given before a moment; the newest stays."""
        return replace(
            self,
            entries=(
                self.entries[0],
                *(entry for entry in self.entries[1:] if entry.confirmed_at >= moment),
            ),
        )

    def to_json(self) -> str:
        """Return the history as one line of JSON."""
        return json.dumps(
            {**self._identity(), "entries": [entry.to_record() for entry in self.entries]}
        )

    def to_lines(self) -> list[str]:
        """Return each entry as a line of JSON with provider and endpoint, the oldest first."""
        return [
            json.dumps({**self._identity(), **entry.to_record()})
            for entry in reversed(self.entries)
        ]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the history of a text.

        Args:
            text: from `to_json`, a line of `to_lines`, or a single answer of the first release.

        Raises:
            ValueError: the text is none of them.
        """
        try:
            record = json.loads(text)
            entries = record.get("entries", [record])
            return cls(
                str(record["provider"]),
                Endpoint(record["kind"], record["endpoint"]),
                tuple(map(Entry.from_record, entries)),
            )
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"no answer: {type(error).__name__} {error}") from None

    def _identity(self) -> dict[str, str]:
        return {
            "kind": self.endpoint.kind,
            "endpoint": self.endpoint.value,
            "provider": self.provider,
        }

    def _answer(self, entry: Entry, moment: datetime) -> Answer:
        return Answer(self.endpoint, self.provider, entry.found, moment, entry.facts)


def key_of(provider: str, endpoint: Endpoint) -> str:
    """Return the key of a record."""
    return f"{provider}/{endpoint.kind}/{endpoint.value}"


def merged_records(stored: Texts, news: Iterable[History]) -> Texts:
    """Merge histories with stored records, and return the records that change, by key.

    A stored record that cannot be read is replaced.
    """
    histories: dict[str, History] = {}
    for new in news:
        before = histories.get(new.key) or read(stored.get(new.key), new.key)
        histories[new.key] = new.merged(before or new)
    texts = {key: history.to_json() for key, history in histories.items()}
    return {key: text for key, text in texts.items() if stored.get(key) != text}


def read(text: str | None, key: str | None = None) -> History | None:
    """Return the history of a stored record.

    Returns:
        None without a record, for one that cannot be read, and for one of another key.
    """
    try:
        history = None if text is None else History.from_json(text)
    except ValueError:
        return None
    return None if history and key not in (None, history.key) else history


def _moment(text: object) -> datetime:
    moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # raises by itself
    if moment.tzinfo is None:
        raise ValueError("the time of an answer needs a time zone")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
