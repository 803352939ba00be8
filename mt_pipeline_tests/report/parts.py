"""Shared by the tests of reports: make the page of an experiment, and read a page as people do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.captures.records import Record
from mt_pipeline.report.page import Made, render
from mt_pipeline.report.queries import Experiment
from mt_pipeline.report.sources import Files
from mt_pipeline.report.summary import summarise

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

NAME = "tls_handshake_extensions_server_name"
"""Key of the server name in a packet's fields."""

HOSTILE = [
    "</title></style><script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>.example.com",
    "{{ 7 * 7 }} {% raw %} %s %(x)s $HOME $1$ \\",
    "a\u202egnp.exe\u200f.example.com",
    "two\nlines\r\tand \x1b[31mred\u2028.example.com",
    "пример.рф 例え.テスト 🦆 e\u0301",
    "x" * 2000,
]
"""Names that others may choose."""


def page_of(
    database: Database,
    experiment: str,
    *,
    records: Mapping[str, Record] | None = None,
    files: Files | None = None,
) -> str:
    """Make the page of an experiment."""
    with database.connect() as connection:
        summary = summarise(Experiment(connection, experiment))
    return render(
        experiment,
        summary,
        Made(records or {}, "4.0.17", frozenset(records or {}), files or Files()),
        now=NOW,
    )


class Page(HTMLParser):
    """A page as a person reads it.

    Attributes:
        tables: rows of cells, by the caption of the table or the label of its parent.
        figures: numbers in large letters at the top, by their names.
        text: all text.
        tags: opening tags, with their attributes.
        links: targets of all links.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.figures: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self._table: list[list[str]] = []
        self._name = ""
        self.feed(html)
        self.close()
        assert self._open == []

    @property
    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.tags if "href" in attributes]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self._open.append(tag)
        if tag == "div" and "aria-label" in dict(attributes):
            self._name = dict(attributes)["aria-label"] or ""
        elif tag == "caption":
            self._name = ""
        elif tag == "table":
            self._table = []
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._table[-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._name] = self._table[1:]

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if "caption" in self._open and "small" not in self._open:
            self._name += data.strip()
        elif "td" in self._open or "th" in self._open:
            self._table[-1][-1] += data.strip("\n")
        elif "dt" in self._open:
            self._name = data
        elif "dd" in self._open:
            self.figures[self._name] = data


def number(text: str) -> int:
    """Read a whole number."""
    return int(text.replace(",", ""))


def bars(page: Page, caption: str) -> dict[str, tuple[int, int]]:
    """Read a list: bytes and packets by name."""
    return {
        name: (number(size), number(packets)) for name, _, size, packets in page.tables[caption]
    }
