"""All that one provider said of one endpoint, in time: entries, the newest first; as JSON and back.

Where histories are kept, and how long an answer is good for, is not said here: see `records.py` and `store.py`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Self

from mt_pipeline.enrichment.models import Answer, Endpoint, Facts

Texts = Mapping[str, str]
"""Records as they are kept, by key."""


@dataclass(frozen=True)
class Entry:
    """What was said, and from when to when it was said again.

    Attributes:
        found: False if the provider did not know the endpoint.
        asked_at: when it first said so, in UTC.
        confirmed_at: when it last said so.
        facts: what it said.
    """

    found: bool
    asked_at: datetime
    confirmed_at: datetime
    facts: Facts

    def says(self, found: bool, facts: Facts) -> bool:
        """Say whether this is what was said."""
        return self.found == found and self.facts == facts

    def to_record(self) -> dict[str, object]:
        """Return the entry as JSON has it, without the facts that are not known."""
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
        """Read an entry; one that was never confirmed, as the first release wrote it, has no such time.

        Raises:
            KeyError, TypeError, AttributeError, ValueError: it is none.
        """
        asked_at = _moment(record["asked_at"])
        confirmed_at = _moment(record["confirmed_at"]) if "confirmed_at" in record else asked_at
        facts = Facts.from_mapping(record["facts"])  # type: ignore[arg-type]  # raises by itself
        return cls(record["found"] is True, asked_at, confirmed_at, facts)


@dataclass(frozen=True)
class History:
    """The entries of an endpoint, at least one.

    Live answers come in the order in which they were given, whatever the clock said; `merged` puts entries into the order of their times.

    Attributes:
        provider: who said it.
        endpoint: of what.
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
        """Begin a history."""
        return cls(
            answer.provider,
            answer.endpoint,
            (Entry(answer.found, answer.asked_at, answer.asked_at, answer.facts),),
        )

    @property
    def key(self) -> str:
        """Where it is kept."""
        return key_of(self.provider, self.endpoint)

    @property
    def newest(self) -> Answer:
        """The newest answer, as of the time when it was last confirmed."""
        return self._answer(self.entries[0], self.entries[0].confirmed_at)

    def as_of(self, moment: datetime) -> Answer | None:
        """Return what was known at a moment, as of the time when it was first said: later confirmations change nothing of it."""
        last = max(
            (entry for entry in self.entries if entry.asked_at <= moment),
            key=lambda entry: entry.asked_at,
            default=None,
        )
        return None if last is None else self._answer(last, last.asked_at)

    def with_answer(self, answer: Answer) -> Self:
        """Add an answer that was just given: one that says the same as the newest only confirms it."""
        first = self.entries[0]
        if first.says(answer.found, answer.facts):
            return replace(
                self, entries=(replace(first, confirmed_at=answer.asked_at), *self.entries[1:])
            )
        return replace(self, entries=(*self.of(answer).entries, *self.entries))

    def merged(self, other: Self) -> Self:
        """Put two histories of the endpoint into one, in the order of time; merging the same again changes nothing."""
        seen = {
            (moment, entry.found, entry.facts)
            for entry in (*self.entries, *other.entries)
            for moment in (entry.asked_at, entry.confirmed_at)
        }
        entries: list[Entry] = []
        for moment, found, facts in sorted(seen, key=lambda sight: (sight[0], repr(sight[1:]))):
            if entries and entries[-1].says(found, facts):
                entries[-1] = replace(entries[-1], confirmed_at=moment)
            else:
                entries.append(Entry(found, moment, moment, facts))
        return replace(self, entries=tuple(reversed(entries)))

    def since(self, moment: datetime) -> Self:
        """Leave out what was last said before a moment; the newest stays in any case."""
        return replace(
            self,
            entries=(
                self.entries[0],
                *(entry for entry in self.entries[1:] if entry.confirmed_at >= moment),
            ),
        )

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(
            {**self._whose(), "entries": [entry.to_record() for entry in self.entries]}
        )

    def to_lines(self) -> list[str]:
        """Return each entry as a line of JSON that says by itself whose it is, the oldest first."""
        return [
            json.dumps({**self._whose(), **entry.to_record()}) for entry in reversed(self.entries)
        ]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote, a line of `to_lines`, or the single answer that the first release kept.

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

    def _whose(self) -> dict[str, str]:
        return {
            "kind": self.endpoint.kind,
            "endpoint": self.endpoint.value,
            "provider": self.provider,
        }

    def _answer(self, entry: Entry, moment: datetime) -> Answer:
        return Answer(self.endpoint, self.provider, entry.found, moment, entry.facts)


def key_of(provider: str, endpoint: Endpoint) -> str:
    """Name the place where a history is kept."""
    return f"{provider}/{endpoint.kind}/{endpoint.value}"


def taken_in(kept: Texts, news: Iterable[History]) -> Texts:
    """Merge histories with what is kept, by key, and return the records that change; one that cannot be read gives way."""
    histories: dict[str, History] = {}
    for new in news:
        before = histories.get(new.key) or read(kept.get(new.key), new.key)
        histories[new.key] = new.merged(before or new)
    texts = {key: history.to_json() for key, history in histories.items()}
    return {key: text for key, text in texts.items() if kept.get(key) != text}


def read(text: str | None, key: str | None = None) -> History | None:
    """Read what is kept, under this key if one is given; None if there is nothing, nothing that can be read, or what belongs elsewhere."""
    try:
        known = None if text is None else History.from_json(text)
    except ValueError:
        return None
    return None if known and key not in (None, known.key) else known


def _moment(text: object) -> datetime:
    moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # raises by itself
    if moment.tzinfo is None:
        raise ValueError("the time of an answer needs a time zone")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
