"""The dashboards as files, and their queries as QuestDB gets them: variables as Grafana writes them, macros as the plugin of QuestDB does.

How panels are drawn is not known here.
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
"""Of a variable: one, several, or None for all."""

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
"""What a dashboard opens with."""


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
    """Give all panels but rows, those in folded rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def queries() -> Iterator[Query]:
    """Give all queries of all dashboards."""
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
    """Write a query as QuestDB gets it.

    Args:
        sql: of a panel or a variable.
        start: begin of the time range, microseconds since 1970.
        end: its end.
        escaped: whether double quotes in values get a backslash, as some releases of Grafana do and others do not.
        values: of variables, instead of VALUES.
    """
    known = {**VALUES, **values}
    # In one pass, as Grafana does: what a value holds is not looked at again.
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
        return "'*'"  # allValue of the variable goes into the query as it is
    several = [value] if isinstance(value, str) else value
    return ",".join(
        "'" + one.replace("'", "''").replace('"', '\\"' if escaped else '"') + "'"
        for one in several
    )
