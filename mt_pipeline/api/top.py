"""The largest of an experiment: sums of its flows by the values of some columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from mt_pipeline.api.ranking import checked
from mt_pipeline.api.session import Session, Time
from mt_pipeline.api.where import Where
from mt_pipeline.schema.tables import FLOWS


@dataclass(frozen=True)
class Top:
    """The largest values of some columns.

    Attributes:
        experiment: its folded name.
        table: a row for each value, with the columns of `Ranking.schema`.
        packets: of all flows that match, not only of these values.
        bytes: likewise.
        more: whether there are more values.
    """

    experiment: str
    table: pa.Table
    packets: int
    bytes: int
    more: bool


def top(
    session: Session,
    experiment: str,
    by: Sequence[str],
    *,
    where: Where | str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    sort: str = "bytes",
    distinct: str | None = None,
    most: int = 100,
) -> Top:
    """Sum up the flows of an experiment by the values of one to three columns.

    Args:
        session: the open data folder.
        experiment: name of its folder, or the folded one.
        by: columns of flows.
        where: a condition, as for `Session.flows`.
        since: the earliest time.
        until: the time before which they are.
        sort: `bytes`, `packets`, `bytes_out`, `bytes_in`, or `distinct`; the largest is first.
        distinct: a column whose values are counted for each row; what is not known is none.
        most: how many rows.

    Raises:
        WhereError: a condition, a column, a time or a measure cannot be understood.
        UnknownNameError: there is no such experiment.
    """
    ranking = checked(tuple(by), sort=sort, distinct=distinct, most=most + 1)
    question = session.question(FLOWS, experiment, where=where, since=since, until=until)
    source = session.source(question.experiment)
    table = source.top(question, ranking)
    total = source.sums(question, "direction").values()
    return Top(
        question.experiment,
        table.slice(0, most),
        sum(each.packets for each in total),
        sum(each.bytes for each in total),
        more=table.num_rows > most,
    )
