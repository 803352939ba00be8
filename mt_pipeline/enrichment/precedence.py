"""What is known of a batch of endpoints so far, as columns, and how the words of one provider are put to those of others.

A field that is known stays as it is. What a later provider adds must fit: its category belongs to its own application and its city to its own
country, so both are taken only if it does not contradict the application, or the country, that is known.
"""

from collections.abc import Sequence
from operator import attrgetter

import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.enrichment.models import FACTS, NUMBERS, Facts, Kind

TYPES = {name: pa.float64() if name in NUMBERS else pa.string() for name in FACTS}

FACTS_OF: dict[Kind, tuple[str, ...]] = {
    "address": tuple(name for name in FACTS if name != "domain_tag"),
    "name": ("app_tag", "app_category_tag", "domain_tag"),
}
"""What can be known of an endpoint of each kind: nobody is asked for more."""

_NOTHING = Facts()
_values = attrgetter(*FACTS)

_TOGETHER = {
    "app_tag": ("app_tag", "app_category_tag"),
    "domain_tag": ("domain_tag",),
    "geo_country": ("geo_continent", "geo_country", "geo_city", "geo_lon", "geo_lat"),
}
"""Fields that speak of one thing, by the one that tells whether two providers mean the same."""


class Known:
    """Columns of a batch: the facts, who gave them, and when a paid provider did."""

    def __init__(self, rows: int) -> None:
        self._facts = {name: pa.nulls(rows, kind) for name, kind in TYPES.items()}
        self._who = pa.nulls(rows, pa.string())  # whoever filled a field
        self._asked = pa.nulls(rows, pa.string())  # the first that said anything, be it "not found"
        self._when = pa.nulls(rows, pa.timestamp("us", tz="UTC"))

    def lacking(self, kinds: pa.Array) -> pa.Array:
        """Say of each row whether something of what can be known is unknown."""
        lacking = {
            kind: _any([pc.is_null(self._facts[name]) for name in names])
            for kind, names in FACTS_OF.items()
        }
        return pc.if_else(pc.equal(kinds, "address"), lacking["address"], lacking["name"])

    def add(
        self,
        provider: str,
        said: dict[str, pa.Array],
        answers: pa.Array,
        when: pa.Array | None = None,
    ) -> None:
        """Take in what a provider said of all rows.

        Args:
            provider: its name.
            said: facts, a column each, NULL where it says nothing.
            answers: whether it said anything of a row, be it that it does not know it.
            when: when it said so; None for a free one.
        """
        filled = pa.array([False] * len(answers), pa.bool_())
        for lead, names in _TOGETHER.items():
            fits = pc.fill_null(
                pc.equal(self._facts[lead], said[lead]), True
            )  # NULL on either side contradicts nothing
            for name in names:
                news = pc.and_(
                    fits, pc.and_(pc.is_null(self._facts[name]), pc.is_valid(said[name]))
                )
                self._facts[name] = pc.if_else(news, said[name], self._facts[name])
                filled = pc.or_(filled, news)
        named = pc.if_else(
            pc.is_null(self._who),
            provider,
            pc.binary_join_element_wise(self._who, provider, ",", null_handling="skip"),
        )
        self._who = pc.if_else(filled, named, self._who)
        self._asked = pc.coalesce(
            self._asked, pc.if_else(answers, provider, None).cast(pa.string())
        )
        if when is not None:
            self._when = pc.coalesce(self._when, when)

    def columns(self) -> dict[str, pa.Array]:
        """Return provider, asked_at and the facts."""
        return {
            "provider": pc.coalesce(self._who, self._asked),
            "asked_at": self._when,
            **self._facts,
        }


def columns_of(facts: Sequence[Facts | None]) -> dict[str, pa.Array]:
    """Turn facts into columns; each distinct object is looked at once."""
    places: dict[int, int] = {}
    indices = pa.array([places.setdefault(id(one), len(places)) for one in facts], pa.int32())
    distinct = [
        _values(one or _NOTHING) for one in {id(one): one for one in facts}.values()
    ]  # dicts keep the order in which keys first came
    columns = zip(*distinct, strict=True) if distinct else [()] * len(TYPES)
    return {
        name: pa.array(column, kind).take(indices)
        for (name, kind), column in zip(TYPES.items(), columns, strict=True)
    }


def _any(columns: Sequence[pa.Array]) -> pa.Array:
    found = columns[0]
    for column in columns[1:]:
        found = pc.or_(found, column)
    return found
