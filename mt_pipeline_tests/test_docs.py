"""The documentation agrees with the code: generated pages, commands, paths, and SQL that runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mt_pipeline.backends.questdb.database import Database
from mt_pipeline.backends.questdb.ddl import ensure_table
from mt_pipeline.backends.questdb.java import HOST
from mt_pipeline.backends.questdb.server import Server
from mt_pipeline.backends.questdb.views import ensure_view
from mt_pipeline.captures.records import State
from mt_pipeline.cli.main import CANCELLED, FAILED, WRONG_USAGE, cli
from mt_pipeline.schema.captures import CAPTURE_COLUMNS
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS
from mt_pipeline.schema.tables import CAPTURES, FLOWS, PACKETS
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline_tests import docs
from mt_pipeline_tests.compose import CLUSTER, variables
from mt_pipeline_tests.pipelines import STAGES as ASSETS

README = (PROJECT / "README.md").read_text()
REFERENCE = (PROJECT / "docs" / "commands.md").read_text()
STATES = (PROJECT / "docs" / "states.md").read_text()
INDEX = PROJECT / "docs" / "README.md"
PAGES = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("mt_pipeline*/**/*.md")]
)
GUIDES = [page for page in PAGES if page.name != "CHANGELOG.md"]  # history names what is no more
VARIABLES = {f"MT_{name.upper()}" for name in Settings.model_fields}
TARGETS = {
    target
    for line in re.findall(r"^\.PHONY:(.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    for target in line.split()
}
PRODUCT = sorted(PROJECT.glob("mt_pipeline/**/*.py"))


def _commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its words, groups and what is in them."""
    for name, command in group.commands.items():
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")


COMMANDS = dict(_commands(cli))

_FENCE = re.compile(r"^(```+)[^\n]*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")


@pytest.mark.parametrize("path", docs.PAGES, ids=lambda path: path.name)
def test_a_generated_page_is_up_to_date(path: Path):
    assert path.read_text() == docs.PAGES[path](), f"{path} is not what the code says: `make docs`"


def test_every_setting_and_every_column_says_what_it_means():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
    assert [
        column.name for column in COLUMNS if not column.meaning or not docs.made_of(column)
    ] == []
    columns = (*COLUMNS, *FLOW_COLUMNS, *CAPTURE_COLUMNS)
    assert [
        column.name
        for column in columns
        if not column.meaning or f"| `{column.name}` | {column.type} |" not in docs.columns_page()
    ] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_every_command_with_its_arguments_and_options(name: str):
    rows = _table_rows_of_command(name)
    for parameter in COMMANDS[name].params:
        said = (
            max(parameter.opts, key=len)
            if isinstance(parameter, click.Option)
            else str(parameter.metavar).strip("[]")
        )
        assert any(f" {said}" in row for row in rows), f"{name} {said}"


def test_what_the_docs_type_after_mt_pipeline_exists():
    typed = [(page.name, text) for page in GUIDES for text in _code(page) if "mt-pipeline " in text]
    assert len(typed) > 10
    for page, text in typed:
        words = text.partition("mt-pipeline ")[2].split("#")[0].split()
        if words[0].startswith("-"):
            assert words[0] in {"--version", "--help", "-h"}, (page, text)
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
        assert name in COMMANDS, (page, text)
        assert name == " ".join(words) or not isinstance(COMMANDS[name], click.Group), (page, text)
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, (page, text)


def test_the_reference_has_every_target_and_the_docs_name_no_other():
    named = {
        target
        for page in GUIDES
        for text in _code(page)
        for target in re.findall(r"\bmake (\w+)", text)
    }
    assert named == TARGETS
    assert [
        target
        for target in TARGETS - {"chromium", "postgresql", "redis", "luaposix", "bubblewrap"}
        if f"| `make {target}` |" not in REFERENCE
    ] == []  # parts of test


def test_the_reference_has_every_exit_status_in_one_place_and_the_help_has_them_too():
    """130, of Ctrl-C, was nowhere to be read."""
    statuses = {0, FAILED, WRONG_USAGE, CANCELLED}
    table = REFERENCE.partition("| exit status |")[2].partition("\n\n")[0]

    assert {int(status) for status in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == statuses
    assert {
        int(status)
        for status in re.findall(r"\b\d+\b", (cli.help or "").partition("Exit status:")[2])
    } == statuses


def test_the_readme_begins_with_what_can_be_typed_and_without_names_of_the_inside():
    """The address to clone from was `…`, and four names of assets came before the start."""
    start = README.partition("## Start\n")[2].partition("\n## ")[0]
    before_the_pages, _, after = README.partition("## What you see\n")
    typed = [line for _, block in _FENCE.findall(start) for line in block.splitlines()]

    assert after
    assert typed[:2] == ["cd mt_pipeline", "make run"]
    assert [
        line
        for page in GUIDES
        for _, block in _FENCE.findall(page.read_text())
        for line in block.splitlines()
        if line.startswith("git clone")
    ] == []
    assert README.index("make run") < 1500
    words = _SPAN.findall(before_the_pages)
    assert [
        word
        for word in words
        if word in (*ASSETS, "experiment_report") or word.startswith("mt_pipeline/")
    ] == []


def test_the_front_page_is_short():
    """It was 588 lines that a newcomer scrolled through."""
    lines = README.splitlines()

    assert len(lines) <= 200
    assert [line for line in lines if len(line) > 100] == []


def test_prose_of_the_docs_has_lines_of_at_most_100_characters():
    """Tables, code, headings and pictures cannot be broken."""
    assert [
        (page.relative_to(PROJECT).as_posix(), line)
        for page in [*PROJECT.glob("docs/**/*.md"), PROJECT / "CONTRIBUTING.md"]
        if page.name != "benchmarks.md"
        for line in _FENCE.sub("", page.read_text()).splitlines()
        if len(line) > 100 and not line.startswith(("|", "    ", "#", "!["))
    ] == []


def test_every_page_is_in_the_index_and_the_front_page_leads_there():
    assert "docs/README.md" in _links(PROJECT / "README.md")
    index = {*_linked(INDEX), *_linked(PROJECT / "docs" / "decisions" / "README.md"), INDEX}
    assert [page for page in PROJECT.glob("docs/**/*.md") if page.resolve() not in index] == []


def test_the_reference_has_every_state():
    states, _, changes = STATES.partition("## From one state to the next")
    for part in (states, changes):
        assert [state for state in State if f"| `{state}`" not in part] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_no_relative_link_is_dead(page: Path):
    for link in _links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_links_are_found_at_all():
    assert {"docs/settings.md", "docs/README.md"} <= set(_links(PROJECT / "README.md"))
    assert "first-questions" in _anchors(PROJECT / "README.md")


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_the_files_that_a_page_names_exist(page: Path):
    named = [
        text
        for text in _code(page)
        if re.fullmatch(r"(mt_pipeline|mt_pipeline_tests|docs)/[\w./]*", text)
    ]
    assert [text for text in named if not (PROJECT / text).exists()] == []


def test_the_messages_that_troubleshooting_quotes_are_those_of_the_code():
    """Headings quote messages with … and numbers where something else may stand."""
    of_questdb = {"could not mmap", "too many open files"}
    page = (PROJECT / "docs" / "how-to" / "troubleshooting.md").read_text()
    code = re.sub(r'"\s*f?"', "", "".join(path.read_text() for path in PRODUCT))
    quoted = [
        text for heading in re.findall(r"^### (.*)$", page, re.M) for text in _SPAN.findall(heading)
    ]
    parts = [
        part.strip()
        for text in quoted
        if text not in of_questdb
        for part in re.split(r"…|\d[\d,.:]*|packets_|flows_", text)
    ]

    assert len(quoted) > 10
    assert [part for part in parts if len(part) >= 8 and part not in code] == []


def test_the_tests_that_a_page_names_exist():
    named = {text for page in GUIDES for text in _code(page) if re.fullmatch(r"test_\w+", text)}
    assert named
    assert named <= {
        name
        for path in PROJECT.glob("mt_pipeline_tests/**/test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }


@pytest.mark.parametrize(
    "page",
    [*GUIDES, PROJECT / ".env.example", *PRODUCT],
    ids=lambda page: page.relative_to(PROJECT).as_posix(),
)
def test_no_page_and_no_message_names_a_variable_that_does_not_exist(page: Path):
    assert set(re.findall(r"\bMT_[A-Z][A-Z_]*[A-Z]\b", page.read_text())) - VARIABLES == set()


def test_the_readme_names_the_secret_and_the_folders():
    assert set(re.findall(r"\bMT_[A-Z_]+\b", README)) >= {
        "MT_NETIFY_API_KEY",
        "MT_DATA_DIR",
        "MT_INBOX",
        "MT_ENRICHMENT",
    }


def test_env_example_holds_nothing_but_settings_and_variables_of_compose_that_are_commented_out():
    lines = (PROJECT / ".env.example").read_text().splitlines()
    assert lines
    assert [line for line in lines if not line.startswith("# ")] == []
    assert [
        line
        for line in lines
        if "=" in line
        and line.removeprefix("# ").partition("=")[0]
        not in VARIABLES | set(variables()) | set(variables(CLUSTER.read_text()))
    ] == []


def test_the_sql_of_the_docs_runs(questdb: Server):
    statements = [
        re.sub(r"\b(packets|flows)_(kitchen|demo_before|demo_after)\b", r"\1_of_the_readme", text)
        for page in GUIDES
        for language, text in _fenced(page.read_text())
        if language == "sql" and not text.startswith("-- DuckDB\n")
    ]
    assert len([text for language, text in _fenced(README) if language == "sql"]) >= 3
    assert len(statements) >= 13
    with Database(
        HOST, questdb.http_port, questdb.pg_port, "admin", "quest"
    ).connect() as connection:
        for table in (PACKETS, FLOWS, CAPTURES):
            ensure_table(connection, table)
            if table.views:
                ensure_view(connection, "of_the_readme", table)
        for statement in statements:
            connection.execute(statement.strip().removesuffix(";").encode())


def _table_rows_of_command(name: str) -> list[str]:
    """Find the rows of a command in the reference: its own, and those below with an ellipsis."""
    rows = [
        line for line in REFERENCE.splitlines() if line.startswith(("| `mt-pipeline ", "| `… "))
    ]
    first = next(
        (place for place, row in enumerate(rows) if re.match(rf"\| `mt-pipeline {name}\b", row)),
        None,
    )
    assert first is not None, f"docs/commands.md has no row for mt-pipeline {name}"
    last = next(
        (place for place, row in enumerate(rows) if place > first and not row.startswith("| `… ")),
        len(rows),
    )
    return rows[first:last]


def _fenced(text: str) -> list[tuple[str, str]]:
    return [(match[0].splitlines()[0].strip("`"), match[2]) for match in _FENCE.finditer(text)]


def _code(page: Path) -> Iterator[str]:
    """Yield what stands in code: spans, and lines of blocks that are typed."""
    text = page.read_text()
    for language, block in _fenced(text):
        if language == "sh":
            yield from block.splitlines()
    yield from _SPAN.findall(_FENCE.sub("", text))


def _links(page: Path) -> list[str]:
    text = _SPAN.sub("", _FENCE.sub("", page.read_text()))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:", link)]


def _linked(page: Path) -> set[Path]:
    """Name the files that a page links to."""
    return {(page.parent / link.partition("#")[0]).resolve() for link in _links(page)}


def _anchors(page: Path) -> set[str]:
    """Name the headings of a page as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }
