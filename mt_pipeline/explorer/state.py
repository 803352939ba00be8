"""The state of a view: what a query string says. The address of the page has the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline.explorer.errors import AskedWrongError

MEASURES = ("bytes", "packets", "conversations")
AXES = ("time", "start", "joined")
_KINDS = ("is", "not", "is-none", "not-none")
_ONCE = "conversation since until by measure axis vs vs_since vs_until from_s to_s".split()
_MOST_SECONDS = 10**11
_MOST_FILTERS = 1_000
_LONGEST = 100_000


@dataclass(frozen=True)
class Filter:
    """A condition on a dimension.

    Attributes:
        dimension: its id.
        wanted: whether conversations that match stay.
        value: what they match; None for what is not known.
    """

    dimension: str
    wanted: bool
    value: str | None


@dataclass(frozen=True)
class View:
    """The state of a view.

    Attributes:
        experiments: names of those that are seen together.
        filters: on their conversations.
        conversation: the number of one of them within its capture; None for all.
        since: the earliest second since 1970.
        until: the second before which the flows are.
        by: id of the dimension of the timeline.
        measure: what is compared and drawn.
        axis: of the timeline; None to have one chosen.
        vs: name of the experiment to compare with; None for the same ones.
        vs_since: the stretch of it.
        vs_until: its end.
        from_s: while comparing, the earliest second after the start of each.
        to_s: the second before which they are.
    """

    experiments: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    conversation: int | None = None
    since: int | None = None
    until: int | None = None
    by: str = "app"
    measure: str = "bytes"
    axis: str | None = None
    vs: str | None = None
    vs_since: int | None = None
    vs_until: int | None = None
    from_s: int | None = None
    to_s: int | None = None

    @property
    def compares(self) -> bool:
        """Whether two experiments or stretches are compared."""
        return (self.vs, self.vs_since, self.vs_until) != (None, None, None)


@dataclass(frozen=True)
class Asked:
    """A query string: the state of the view, and what one call adds.

    Attributes:
        view: the state.
        more: the parameters of the call.
    """

    view: View
    more: Mapping[str, str]

    def number(self, name: str, default: int, *, most: int) -> int:
        """Return a parameter of the call that is a number from 0 to `most`."""
        value = _number(name, self.more[name]) if name in self.more else default
        return min(max(value, 0), most)

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        """Return a parameter of the call that is one of some words."""
        return _choice(name, self.more.get(name, default), choices)

    def dimension(self, name: str, default: str | None = None) -> str:
        """Return a parameter of the call that is the id of a dimension."""
        if name not in self.more and default is None:
            raise AskedWrongError(f"the address needs {name}=, such as {name}=app")
        return _choice(name, self.more.get(name, default or ""), list(DIMENSIONS))


def parse(query: str, more: Sequence[str] = ()) -> Asked:
    """Return what a query string asks.

    Args:
        query: as in an address, without the question mark.
        more: names of the parameters that the call has besides the state.

    Raises:
        AskedWrongError: it cannot be understood.
    """
    if len(query) > _LONGEST:
        raise AskedWrongError("the address is too long: take some filters off")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise AskedWrongError("the address is not UTF-8: open the page anew") from None
    experiments, filters = list[str](), list[Filter]()
    once, others = dict[str, str](), dict[str, str]()
    for name, value in pairs:
        if name == "e":
            experiments.append(value)
        elif name in more:
            others[name] = value
        elif name in DIMENSIONS:
            filters.append(_filter(name, value))
        elif name in _ONCE:
            once[name] = value
        else:
            raise AskedWrongError(f"the address has {name!r}, which nothing here is called")
    if len(filters) > _MOST_FILTERS:
        raise AskedWrongError(f"more than {_MOST_FILTERS:,} filters: take some off")
    return Asked(_view(tuple(dict.fromkeys(experiments)), tuple(filters), once), others)


def _view(experiments: tuple[str, ...], filters: tuple[Filter, ...], once: dict[str, str]) -> View:
    words = {
        name: _choice(name, once[name], choices)
        for name, choices in (("by", list(DIMENSIONS)), ("measure", MEASURES), ("axis", AXES))
        if name in once
    }
    seconds = {
        name: _number(name, value)
        for name, value in once.items()
        if name.endswith(("conversation", "since", "until", "_s"))
    }
    view = View(experiments, filters, vs=once.get("vs"))
    return View(**{**vars(view), **words, **seconds})


def _filter(dimension: str, value: str) -> Filter:
    kind, colon, text = value.partition(":")
    if kind not in _KINDS or (colon == ":") is not (kind in ("is", "not")):
        raise AskedWrongError(
            f"{dimension}={value!r} is no filter: write is:TEXT, not:TEXT, is-none or not-none"
        )
    return Filter(dimension, kind.startswith("is"), text if colon else None)


def _number(name: str, value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise AskedWrongError(f"{name}={value!r} is no whole number") from None
    if abs(number) > _MOST_SECONDS:
        raise AskedWrongError(f"{name}={number} is too large")
    return number


def _choice(name: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise AskedWrongError(f"{name}={value!r} must be one of {', '.join(choices)}")
    return value
