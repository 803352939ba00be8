"""The experiments on the dashboards, and the queries about them."""

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
    """Two loaded experiments, of three captures and of one, and a third that failed.

    Attributes:
        lab: the data folder and its services.
        connection: connection to its QuestDB.
        ran: the run that loaded both.
        keys: keys of the loaded captures.
        start: start of the first experiment, microseconds since 1970.
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
        """Return the result for the first experiment, as in Grafana; `span` is all of its time."""
        cursor = self.connection.cursor(row_factory=psycopg.rows.dict_row)
        return cursor.execute(self.written(query, escaped=escaped, span=span, **values)).fetchall()

    def columns(self, query: Query) -> set[str]:
        """Return the names of the columns of the result."""
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
        """Return a query as QuestDB receives it."""
        start, end = span or self.span(query.dashboard)
        return expand(
            query.sql, start=start, end=end, escaped=escaped, **{"experiment": FIRST, **values}
        ).encode()

    def span(self, dashboard: str) -> tuple[int, int]:
        """Return the time range of a dashboard that shows everything."""
        return {"mt-compare": (0, HOUR), "mt-pipeline": (0, 4_000_000_000_000_000)}.get(
            dashboard, (self.start, self.end)
        )

    def named(self, title: str, **values: Value) -> list[Mapping[str, object]]:
        """Return the result of the query of this name."""
        return self.ask(QUERIES[title], **values)
