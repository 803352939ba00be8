"""In every statement QuestDB reads a capture's name as text, whatever the name looks like."""

import ast
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg import sql

import mt_pipeline
from mt_pipeline.backends.loads import Load
from mt_pipeline.backends.questdb import captures_table, loader, removal
from mt_pipeline.backends.questdb.conditions import among
from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.stored_counts import stored_counts
from mt_pipeline.rows.flows import flows
from mt_pipeline.rows.packets import rows
from mt_pipeline_tests.backends.questdb.parts import files_of, packets, select
from mt_pipeline_tests.building.names import ODD
from mt_pipeline_tests.services import eventually

NAMES = (
    *"[ [x x[x { {} (a) 'a' null NULL NaN true 0 -1 $1 %s * 2020-01-01".split(),
    '{"a":1}',
    '"a"',
    r"\N",
    " ",
)
"""Each is loaded and queried by itself, which takes a while, so these are few names.

`test_a_value_is_among_values` has all of them.
"""


def _load(database: Database, names: Sequence[str], experiment: str) -> dict[str, tuple[int, int]]:
    """Load captures of these names together, three packets each. Returns rows and flow rows."""
    with files_of(packets(3)) as sources, ExitStack() as opened:
        loads = []
        for name in names:
            made = [
                opened.enter_context(closing(make(sources, capture=name, experiment=experiment)))
                for make in (rows, flows)
            ]
            loads.append(Load(name, experiment, *made))
        loaded = loader.load(database, loads)
    return {
        name: (done.rows, stored.flow_packets)
        for name, (done, stored) in zip(names, loaded, strict=True)
    }


def test_a_name_is_text_in_every_statement(database: Database, near: bool):
    experiment, day = f"odd_names_{near}".lower(), datetime(2026, 1, 1, tzinfo=UTC)

    assert _load(database, NAMES, experiment) == dict.fromkeys(NAMES, (3, 3))
    assert {name: _load(database, [name], experiment)[name] for name in NAMES[:8]} == dict.fromkeys(
        NAMES[:8], (3, 3)
    )
    assert _held(database) == dict.fromkeys(NAMES, 3)
    for name in NAMES:
        captures_table.add(
            database,
            {"ts": day, "capture": name, "experiment": experiment, "state": "done", "owed": 1},
        )
        captures_table.update_owed(database, name, loaded_at=day, owed=2)
    assert eventually(lambda: _owed(database, experiment) == dict.fromkeys(NAMES, 2))
    summaries = {name: loader.summaries(database, [name])[name] for name in NAMES}
    assert {
        name: (stored.rows, stored.flow_packets) for name, stored in summaries.items()
    } == dict.fromkeys(NAMES, (3, 3))
    assert {name: removal.remove(database, name) for name in NAMES} == dict.fromkeys(NAMES, 3)
    assert _held(database) == {}


def _held(database: Database) -> dict[str, int]:
    return {name: counts.rows for name, counts in stored_counts(database).items() if name in NAMES}


def _owed(database: Database, experiment: str) -> dict[str, int]:
    return dict(
        select(database, "SELECT capture, owed FROM captures WHERE experiment = %s", experiment)
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_value_is_among_values(database: Database, count: int):
    asked = sql.SQL("SELECT name FROM (SELECT {}::varchar AS name FROM long_sequence(1)) WHERE {}")
    with database.connect() as connection:
        found = {}
        for name in ODD:
            others = [f"other {number}" for number in range(1, count)]
            query = asked.format(sql.Placeholder(), among(sql.Identifier("name"), [name, *others]))
            found[name] = connection.execute(query, (name, name, *others)).fetchall()
    assert found == {name: [(name,)] for name in ODD}


def test_no_other_statement_binds_a_value_alone():
    """QuestDB reads `IN ($1)` as `IN` of an array, and then misses values that begin with `[`."""
    bare = re.compile(
        r"\b(NOT\s+)?IN\s*\(\s*(%s|%\(|\{\}|\$\d|\?)|\b(capture|experiment)\s+IN\b(?!\s*\(SELECT )"
    )
    found = [
        f"{path.name}:{line}: {text}"
        for path, line, text in _texts()
        if bare.search(text) and path.name != "conditions.py"
    ]
    assert found == [], "use conditions.among"


def _texts() -> Iterator[tuple[Path, int, str]]:
    """List all texts of our code."""
    for path in Path(mt_pipeline.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.lineno, node.value
