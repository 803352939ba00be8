"""Markdown for Dagster's pages: tables that are drawn inline, and escaped text.

For the underlying concept, see https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from mt_pipeline.system.terminal import visible

Metadata = dict[str, dg.MetadataValue | int | float | str]

INLINE = 1000
"""Characters from which on the UI hides Markdown behind a click."""


def inline_table(columns: Mapping[str, str], rows: Iterable[Sequence[str]]) -> dg.MetadataValue:
    """Draw rows as a Markdown table, as many as are shown inline.

    Args:
        columns: alignment by name of the column: `---` or `--:`.
        rows: escaped cells.
    """
    text = f"| {' | '.join(columns)} |\n|{'|'.join(columns.values())}|\n"
    for row in rows:
        line = f"| {' | '.join(row)} |\n"
        if len(text) + len(line) >= INLINE:
            break
        text += line
    return dg.MetadataValue.md(text)


def link(words: str, address: str) -> dg.MetadataValue:
    """Link to a page of the service; the address has no letter that means something in Markdown."""
    return dg.MetadataValue.md(f"[{words}]({address})")


def escaped(text: str, *, longest: int = 120) -> str:
    """Escape a text for Markdown, in one line of at most `longest` characters."""
    line = visible(text.replace("\n", " ")[:longest])
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~])", r"\\\1", line)
