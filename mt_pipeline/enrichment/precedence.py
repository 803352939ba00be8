"""What is known of a batch of endpoints, as columns, and how the facts of providers combine.

A field that is known never changes. What a later provider adds must fit: its category belongs to
its own application, and its city to its own country. Both are added only if the provider does not
contradict the known application or country.
"""

from collections.abc import Sequence
from functools import reduce
from operator import attrgetter

import pyarrow as pa
import pyarrow.compute as pc

from mt_pipeline.enrichment.models import FACTS, NUMBERS, Facts, Kind

TYPES = {name: pa.float64() if name in NUMBERS else pa.string() for name in FACTS}

FACTS_OF: dict[Kind, tuple[str, ...]] = {
    "address": tuple(name for name in FACTS if name not in ("domain_tag", "reverse_name")),
    "name": ("app_tag", "app_category_tag", "domain_tag"),
}
"""The facts that a provider is asked for; a reverse name is taken where an answer has it."""

_NOTHING = Facts()
_values = attrgetter(*FACTS)

_GROUPS = {
    "app_tag": ("app_tag", "app_category_tag"),
    "domain_tag": ("domain_tag",),
    "reverse_name": ("reverse_name",),
    "geo_country": ("geo_continent", "geo_country", "geo_city", "geo_lon", "geo_lat"),
}
"""Fields of one subject, by the field that shows whether two providers agree on it."""


class Known:
    """Columns of a batch: the facts, their providers, and when a paid provider answered."""

    def __init__(self, rows: int) -> None:
        self._facts = {name: pa.nulls(rows, kind) for name, kind in TYPES.items()}
        self._contributors = pa.nulls(rows, pa.string())  # all that filled a field
        self._first_answer = pa.nulls(rows, pa.string())  # the first to answer, even "not found"
        self._asked_at = pa.nulls(rows, pa.timestamp("us", tz="UTC"))

    def lacking(self, kinds: pa.Array) -> pa.Array:
        """Return for each row whether any of the facts of its kind is unknown."""
        lacking = {
            kind: _any([pc.is_null(self._facts[name]) for name in names])
            for kind, names in FACTS_OF.items()
        }
        return pc.if_else(pc.equal(kinds, "address"), lacking["address"], lacking["name"])

    def add(
        self,
        provider: str,
        facts: dict[str, pa.Array],
        answered: pa.Array,
        asked_at: pa.Array | None = None,
    ) -> None:
        """Add the answers of a provider, a value per row.

        Args:
            provider: its name.
            facts: a column per fact, NULL where the provider does not know it.
            answered: whether it answered at all, even "not found".
            asked_at: when it answered; None for a free provider.
        """
        filled = pa.array([False] * len(answered), pa.bool_())
        for lead, names in _GROUPS.items():
            # NULL on either side is no contradiction.
            fits = pc.fill_null(pc.equal(self._facts[lead], facts[lead]), True)
            for name in names:
                is_new = pc.and_(pc.is_null(self._facts[name]), pc.is_valid(facts[name]))
                is_new = pc.and_(fits, is_new)
                self._facts[name] = pc.if_else(is_new, facts[name], self._facts[name])
                filled = pc.or_(filled, is_new)
        contributors = pc.if_else(
            pc.is_null(self._contributors),
            provider,
            pc.binary_join_element_wise(self._contributors, provider, ",", null_handling="skip"),
        )
        self._contributors = pc.if_else(filled, contributors, self._contributors)
        answers = pc.if_else(answered, provider, None).cast(pa.string())
        self._first_answer = pc.coalesce(self._first_answer, answers)
        if asked_at is not None:
            self._asked_at = pc.coalesce(self._asked_at, asked_at)

    def columns(self) -> dict[str, pa.Array]:
        """Return provider, asked_at and the facts."""
        return {
            "provider": pc.coalesce(self._contributors, self._first_answer),
            "asked_at": self._asked_at,
            **self._facts,
        }


def columns_of(facts: Sequence[Facts | None]) -> dict[str, pa.Array]:
    """Return facts as columns; each distinct object is converted once."""
    positions: dict[int, int] = {}
    indices = pa.array(
        [positions.setdefault(id(fact), len(positions)) for fact in facts], pa.int32()
    )
    # A dict preserves the order in which its keys were first added, as `positions` does.
    by_identity = {id(fact): fact for fact in facts}
    distinct = [_values(fact or _NOTHING) for fact in by_identity.values()]
    columns = zip(*distinct, strict=True) if distinct else [()] * len(TYPES)
    return {
        name: pa.array(column, kind).take(indices)
        for (name, kind), column in zip(TYPES.items(), columns, strict=True)
    }


def _any(columns: Sequence[pa.Array]) -> pa.Array:
    return reduce(pc.or_, columns)
