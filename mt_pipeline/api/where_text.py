"""The text form of conditions, as `--where` takes it: text becomes a tree of `where.py`.

    where    = both ("or" both)*
    both     = one ("and" one)*
    one      = "not" one | "(" where ")" | column test
    test     = ("=" | "!=" | "<" | "<=" | ">" | ">=") value
             | ("contains" | "startswith" | "endswith") value
             | ["not"] "in" "(" value ("," value)* ")"
    value    = word | 'text' | "text" | "(none)"

A quote within quotes is written twice. Words of the language may be in any case.
"""

import re
from collections.abc import Callable

from mt_pipeline.api.where import (
    NONE,
    ORDERED,
    TEXTUAL,
    All,
    AnyOf,
    Comparison,
    None_,
    Value,
    Where,
    WhereError,
)

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<none>\(none\))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,)
    | (?P<word>[^\s()'"=<>!,]+)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_KEYWORDS = ("and", "or", "not", "in", *TEXTUAL)
_EXAMPLE = """write such as `tls_sni = 'example.com' and not protocol in (dns, mdns)`"""
_LONGEST = 100_000
_MOST_DEPTH = 50


def parse(text: str) -> Where:
    """Return the condition that a text describes.

    Raises:
        WhereError: with the place where the text is not understood, and an example.
    """
    if len(text) > _LONGEST:
        raise WhereError(f"the condition has more than {_LONGEST:,} characters: shorten it")
    return _Parser(text).whole()


class _Parser:
    """Reads one text from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Where:
        where = self._or()
        if self._kind() != "end":
            raise self._error("`and` or `or`")
        return where

    def _or(self) -> Where:
        return self._joined("or", self._and, AnyOf)

    def _and(self) -> Where:
        return self._joined("and", self._one, All)

    def _joined(self, word: str, part: Callable[[], Where], kind: type[All] | type[AnyOf]) -> Where:
        parts = [part()]
        while self._take(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else kind(tuple(parts))

    def _one(self) -> Where:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise WhereError(f"the condition is nested more than {_MOST_DEPTH} times: simplify it")
        try:
            if self._take("not"):
                return ~self._one()
            if self._take("("):
                where = self._or()
                self._expect(")")
                return where
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Where:
        if self._kind() != "word" or self._word() in _KEYWORDS:
            raise self._error("a column")
        column = self._take_any()
        for sign in ("=", "=="):
            if self._take(sign):
                return Comparison(column, "=", (self._value(),))
        for sign in ("!=", "<>"):
            if self._take(sign):
                return ~Comparison(column, "=", (self._value(),))
        for operator in (*ORDERED, *TEXTUAL):
            if self._take(operator):
                return Comparison(column, operator, (self._value(),))
        if self._take("not"):
            self._expect("in")
            return ~self._among(column)
        self._expect("in", "an operator")
        return self._among(column)

    def _among(self, column: str) -> Where:
        self._expect("(")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect(")")
        return Comparison(column, "in", tuple(values))

    def _value(self) -> Value | None_:
        kind = self._kind()
        if kind == "none":
            self._next += 1
            return NONE
        if kind == "text":
            quoted = self._take_any()
            return quoted[1:-1].replace(quoted[0] * 2, quoted[0])
        if kind != "word":
            raise self._error("a value")
        return self._take_any()

    def _kind(self) -> str:
        return self._tokens[self._next][0]

    def _word(self) -> str:
        return self._tokens[self._next][1].lower()

    def _take(self, token: str) -> bool:
        found = self._kind() in ("word", "sign") and self._word() == token
        self._next += found
        return found

    def _take_any(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1][1]

    def _expect(self, token: str, shown: str = "") -> None:
        if not self._take(token):
            raise self._error(shown or f"`{token}`")

    def _error(self, expected: str) -> WhereError:
        before = self._text[: self._tokens[self._next][2]].strip()
        after = f" after {before[-40:]!r}" if before else ""
        return WhereError(f"the condition needs {expected}{after}: {_EXAMPLE}")


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Return the kind, the text and the place of each token; the last is of the kind `end`."""
    tokens, place = list[tuple[str, str, int]](), 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise WhereError(
                f"the condition has {text[place:].strip()[:20]!r} where nothing like it can be: "
                f"close each quote; {_EXAMPLE}"
            )
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind], match.start(kind)))
        place = match.end()
    return [*tokens, ("end", "", end)]
