"""What the explorer must show, in plain Python over flows that are made of the documents."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC

from mt_pipeline.explorer.dimensions import DIMENSIONS
from mt_pipeline_tests.explorer.loaded import Loaded

Row = Mapping[str, object]
Sums = tuple[int, int, int, int]


def flows_of(loaded: Loaded, experiment: str) -> list[Row]:
    return [
        {**row, "experiment": experiment}
        for row in loaded.reference.flows
        if loaded.lab.record(row["capture"]).experiment == experiment
    ]


def text(row: Row, dimension: str) -> str | None:
    value = row[DIMENSIONS[dimension].column]
    return None if value is None else str(value)


def second(row: Row) -> int:
    return int(row["ts"].replace(tzinfo=UTC).timestamp())


def selected(
    rows: Sequence[Row],
    filters: Sequence[tuple[str, str]],
    since: int | None = None,
    until: int | None = None,
) -> list[Row]:
    """Filter in plain Python."""
    by_dimension = defaultdict[str, list[str]](list)
    for dimension, condition in filters:
        by_dimension[dimension].append(condition)

    def stays(row: Row) -> bool:
        for dimension, conditions in by_dimension.items():
            value = text(row, dimension)
            said = {"is-none"} if value is None else {f"is:{value}"}
            refused = {"not-none"} if value is None else {f"not:{value}"}
            wanted = {each for each in conditions if each.startswith("is")}
            if (wanted and not wanted & said) or refused & set(conditions):
                return False
        return True

    return [
        row
        for row in rows
        if stays(row)
        and (since is None or second(row) >= since)
        and (until is None or second(row) < until)
    ]


def sums(rows: Sequence[Row]) -> Sums:
    return (
        sum(row["bytes_out"] for row in rows),
        sum(row["bytes_in"] for row in rows),
        sum(row["packets_out"] + row["packets_in"] for row in rows),
        len({(row["capture"], row["conversation"]) for row in rows}),
    )


def expected_table(rows: Sequence[Row], dimension: str) -> dict[str | None, Sums]:
    by_value = defaultdict[str | None, list[Row]](list)
    for row in rows:
        by_value[text(row, dimension)].append(row)
    return {value: sums(of) for value, of in by_value.items()}


def shown(row: Row) -> Sums:
    assert row["bytes"] == row["sent"] + row["received"]
    return row["sent"], row["received"], row["packets"], row["conversations"]
