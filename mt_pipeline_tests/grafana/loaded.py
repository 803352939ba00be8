"""The experiments that the dashboards are asked about, and how they are asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from mt_pipeline_tests.building.traffic import CLIENT, SERVER
from mt_pipeline_tests.grafana.plugin import HOUR, Query, Value, expand, queries
from mt_pipeline_tests.pipelines import Lab, Ran

FIRST, SECOND, BROKEN = "dashboards_one", "dashboards_two", "dashboards_broken"
HOSTILE = ("O'Brien", "%", "\\", "$", '"; DROP', "'); DROP TABLE flows; --", "${experiment}")
DEVICES = {CLIENT: "Tom's phone", SERVER: "a cloud"}
AWKWARD = """it's "all" of `it` for $HOME & more.pcapng"""
QUERIES = {str(query): query for query in queries()}


@dataclass(frozen=True)
class Loaded:
    """Two experiments that are loaded, of three captures and of one, and a third that failed.

    Attributes:
        lab: where.
        connection: to its QuestDB.
        ran: the run that loaded both.
        keys: of the captures that are loaded.
        start: begin of the first experiment, microseconds since 1970.
        end: its end.
    """

    lab: Lab
    connection: psycopg.Connection
    ran: Ran
    keys: Sequence[str]
    start: int
    end: int

    def ask(
        self,
        query: Query,
        *,
        escaped: bool = True,
        span: tuple[int, int] | None = None,
        **values: Value,
    ) -> list[Mapping[str, object]]:
        """Ask as Grafana would on the first experiment, over all of its time if `span` names no other."""
        cursor = self.connection.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute(self.written(query, escaped=escaped, span=span, **values)).fetchall()

    def columns(self, query: Query) -> set[str]:
        """Name the columns of the result, which are there without rows too."""
        return {
            column.name for column in self.connection.execute(self.written(query)).description or ()
        }

    def written(
        self,
        query: Query,
        *,
        escaped: bool = True,
        span: tuple[int, int] | None = None,
        **values: Value,
    ) -> bytes:
        """Write a query as QuestDB gets it."""
        start, end = span or self.span(query.dashboard)
        return expand(
            query.sql, start=start, end=end, escaped=escaped, **{"experiment": FIRST, **values}
        ).encode()

    def span(self, dashboard: str) -> tuple[int, int]:
        """Say what time range of a dashboard shows everything."""
        return {"mt-compare": (0, HOUR), "mt-pipeline": (0, 4_000_000_000_000_000)}.get(
            dashboard, (self.start, self.end)
        )

    def named(self, title: str, **values: Value) -> list[Mapping[str, object]]:
        """Ask the query of this name."""
        return self.ask(QUERIES[title], **values)
