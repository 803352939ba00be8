"""The files of the dashboards, and their queries as QuestDB receives them.

Variables are expanded as Grafana does, macros as its plugin for QuestDB does. Nothing is drawn.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_pipeline.settings import PROJECT

Json = Mapping[str, Any]
Value = str | Sequence[str] | None
"""The value of a variable: a text, several, or None for all."""

FOLDER = PROJECT / "grafana" / "dashboards"
FILES: tuple[Path, ...] = tuple(sorted(FOLDER.glob("*.json")))

HOUR = 3_600_000_000
VALUES: Mapping[str, Value] = {
    **{
        "datasource": "questdb",
        "experiment": "none",
        "capture": None,
        "direction": None,
        "app": None,
        "app_exclude": ["(nothing)"],
        "sni": None,
    },
    **{
        "sni_exclude": ["(nothing)"],
        "step": "1s",
        "top": "10",
        "who": "",
        "stream": "",
        "protocol": None,
        "limit": "100",
    },
}
"""The values with which a dashboard opens."""


@dataclass(frozen=True)
class Query:
    """A query of a panel or of a variable.

    Attributes:
        dashboard: its uid.
        title: of the panel, or the name of the variable.
        kind: type of the panel, or `variable`.
        sql: as it is written.
        panel: the panel; empty for a variable.
    """

    dashboard: str
    title: str
    kind: str
    sql: str
    panel: Json

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}"


def read(path: Path) -> Json:
    dashboard: Json = json.loads(path.read_text())
    return dashboard


def panels(dashboard: Json) -> Iterator[Json]:
    """Yield all panels except rows, also those in collapsed rows."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def queries() -> Iterator[Query]:
    """Yield all queries of all dashboards."""
    for path in FILES:
        dashboard = read(path)
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield Query(dashboard["uid"], variable["name"], "variable", variable["query"], {})
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Query(
                    dashboard["uid"], panel["title"], panel["type"], target["rawSql"], panel
                )


def expand(sql: str, *, start: int, end: int, escaped: bool = True, **values: Value) -> str:
    """Return a query as QuestDB receives it.

    Args:
        sql: the query of a panel or a variable.
        start: start of the time range, microseconds since 1970.
        end: its end.
        escaped: whether double quotes in values get a backslash; releases of Grafana differ.
        values: values of variables that replace VALUES.
    """
    known = {**VALUES, **values}
    # In one pass, as Grafana does: a variable inside a value is not expanded.
    sql = re.sub(r"\$\{(\w+):sqlstring\}", lambda match: _sqlstring(known[match[1]], escaped), sql)
    sql = re.sub(
        r"\$__timeFilter\(([^)]*)\)",
        rf"\1 >= cast({start} as timestamp) AND \1 <= cast({end} as timestamp)",
        sql,
    )
    return sql.replace("$__fromTime", f"cast({start} as timestamp)").replace(
        "$__toTime", f"cast({end} as timestamp)"
    )


def _sqlstring(value: Value, escaped: bool) -> str:
    if value is None:
        return "'*'"  # Grafana inserts the allValue of a variable as it is
    texts = [value] if isinstance(value, str) else value
    quote = '\\"' if escaped else '"'
    return ",".join("'" + text.replace("'", "''").replace('"', quote) + "'" for text in texts)
