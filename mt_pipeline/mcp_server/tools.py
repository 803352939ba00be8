"""The tools: each asks a session one question, and returns a bounded answer as JSON.

Their signatures and docstrings are what a model reads of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from mt_pipeline.api import comparison
from mt_pipeline.api.question import Question
from mt_pipeline.api.session import Session
from mt_pipeline.api.top import top
from mt_pipeline.api.where import WhereError
from mt_pipeline.mcp_server.answers import MOST_ROWS, of_arrow, of_rows, table
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS
from mt_pipeline.schema.tables import FLOWS, PACKETS
from mt_pipeline.system.nearest import did_you_mean

Name = Annotated[str, Field(description="Name of an experiment, as `experiments` lists it.")]
Condition = Annotated[
    str | None,
    Field(description="Only rows that match, such as \"tls_sni = 'a.com' and bytes_out > 1000\"."),
]
Time = Annotated[str | None, Field(description="ISO 8601, UTC, such as 2026-03-01T10:00.")]
Columns = Annotated[
    list[str] | None, Field(description="Names of columns, as `schema` lists them.")
]
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description="The most rows of the answer.")]
Measure = Literal["bytes", "packets", "bytes_out", "bytes_in", "distinct"]

_CAPTURES = (
    "capture experiment label state packets rows skipped cut error filter size changed".split()
)
_FLOWS = (
    "ts local device_local remote port_remote protocol remote_name app_tag geo_country "
    "packets_out bytes_out packets_in bytes_in".split()
)
_PACKETS = (
    "ts capture frame_number conversation frame_len ip_src port_src ip_dst port_dst "
    "ipv6_src ipv6_dst ip_proto protocol tls_sni dns_name http_host".split()
)


@dataclass(frozen=True)
class Tools:
    """What a program can ask.

    Attributes:
        session: the open data folder.
    """

    session: Session

    @property
    def all(self) -> Sequence[Callable[..., str]]:
        """The tools, those to begin with first."""
        return (
            self.experiments,
            self.schema,
            self.top,
            self.compare,
            self.flows,
            self.packets,
            self.coverage,
            self.captures,
        )

    def experiments(self, limit: Limit = MOST_ROWS) -> str:
        """List the experiments, with their captures, packets and rows. Begin here."""
        found = self.session.experiments().arrow()
        return table(found.column_names, of_arrow(found), limit)

    def captures(self, experiment: Name | None = None, limit: Limit = 50) -> str:
        """List captures: their states, how many packets they have, and why one failed."""
        found = self.session.captures(experiment).arrow().select(_CAPTURES)
        return table(found.column_names, of_arrow(found), limit)

    def schema(self, of: Literal["flows", "packets"] = "flows") -> str:
        """List the columns of flows or packets with their types and meanings."""
        rows: list[tuple[str, str, str, str]]
        if of == "flows":
            rows = [(each.name, each.type, each.unit, each.meaning) for each in FLOW_COLUMNS]
        else:
            rows = [(each.name, each.type, "", each.meaning) for each in COLUMNS]
        return table(("column", "type", "unit", "meaning"), rows, MOST_ROWS, of=of)

    def top(
        self,
        experiment: Name,
        by: Annotated[list[str], Field(description="One to three columns of flows.")],
        where: Condition = None,
        since: Time = None,
        until: Time = None,
        sort: Measure = "bytes",
        distinct: Annotated[
            str | None,
            Field(description="Count the values of this column for each row: `geo_country`."),
        ] = None,
        limit: Limit = 20,
    ) -> str:
        """Sum up the flows by the values of columns, the largest first: who, whom, which, how much.

        bytes_out is what the local end sent, bytes_in what it received. null is what is not known.
        """
        found = top(
            self.session,
            experiment,
            by,
            where=where,
            since=since,
            until=until,
            sort=sort,
            distinct=distinct,
            most=limit,
        )
        return table(
            found.table.column_names,
            of_arrow(found.table),
            limit,
            experiment=found.experiment,
            all_packets=found.packets,
            all_bytes=found.bytes,
            more=found.more,
        )

    def compare(
        self,
        a: Name,
        b: Name,
        where: Condition = None,
        dimension: Annotated[
            str | None,
            Field(description=f"Only one of: {', '.join(comparison.DIMENSIONS)}."),
        ] = None,
        limit: Annotated[
            int, Field(ge=1, le=MOST_ROWS, description="The most rows of each dimension.")
        ] = 8,
    ) -> str:
        """Compare two experiments: what is new, gone, more or less from a to b, and by how much."""
        if dimension is not None and dimension not in comparison.DIMENSIONS:
            hint = did_you_mean(dimension, comparison.DIMENSIONS) or ";"
            known = ", ".join(comparison.DIMENSIONS)
            raise WhereError(f"there is no dimension {dimension!r}{hint} they are {known}")
        compared = self.session.compare(a, b, where=where)
        shown = [dimension] if dimension else list(compared.dimensions)
        some = {name: compared.dimensions[name][:limit] for name in shown}
        part = comparison.Comparison(compared.a, compared.b, compared.total, some)
        lines = part.rows().arrow()
        total = compared.total
        return table(
            lines.column_names,
            of_arrow(lines),
            lines.num_rows,
            a=compared.a,
            b=compared.b,
            bytes_a=total.a.bytes if total.a else 0,
            bytes_b=total.b.bytes if total.b else 0,
            more_values={
                name: len(compared.dimensions[name]) - limit
                for name in shown
                if len(compared.dimensions[name]) > limit
            },
        )

    def flows(
        self,
        experiment: Name,
        where: Condition = None,
        since: Time = None,
        until: Time = None,
        columns: Columns = None,
        limit: Limit = 50,
    ) -> str:
        """Return flows in the order of time: a row for each second of each conversation."""
        question = self.session.question(
            FLOWS, experiment, where=where, since=since, until=until, columns=columns or _FLOWS
        )
        return self._rows(question, limit)

    def packets(
        self,
        experiment: Name,
        where: Condition = None,
        since: Time = None,
        until: Time = None,
        columns: Columns = None,
        limit: Limit = 50,
    ) -> str:
        """Return packets in the order of time."""
        question = self.session.question(
            PACKETS, experiment, where=where, since=since, until=until, columns=columns or _PACKETS
        )
        return self._rows(question, limit)

    def coverage(self, experiment: Name, limit: Limit = MOST_ROWS) -> str:
        """Say how much of the traffic with public addresses has a name, an owner and more."""
        found = self.session.coverage(experiment)

        def rows() -> Iterator[Sequence[object]]:
            for dimension, parts in found.dimensions.items():
                for value, part in parts:
                    share = round(found.share(part), 4)
                    yield dimension, value, part.packets, part.bytes, share

        columns = ("dimension", "value", "packets", "bytes", "share_of_bytes")
        return table(
            columns, rows(), limit, experiment=found.experiment, all_bytes=found.total.bytes
        )

    def _rows(self, question: Question, limit: int) -> str:
        matching = sum(self.session.source(question.experiment).counts(question).values())
        with closing(of_rows(self.session.rows(question))) as rows:
            return table(
                question.schema.names,
                rows,
                limit,
                experiment=question.experiment,
                matching_rows=matching,
            )
