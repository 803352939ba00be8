"""`mt-pipeline mcp` as a program that speaks MCP starts it, with the client of the SDK."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import Tool

from mt_pipeline.settings import Settings
from mt_pipeline_tests.pipelines import environment

Answer = dict[str, object]


@dataclass(frozen=True)
class Asking:
    """An open connection."""

    client: Client
    portal: BlockingPortal

    @property
    def instructions(self) -> str:
        return self.client.instructions or ""

    def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self.portal.call(self.client.list_tools).tools}

    def text(self, tool: str, **arguments: object) -> tuple[str, bool]:
        """Call a tool; return what it says, and whether that is an error."""
        result = self.portal.call(self.client.call_tool, tool, arguments)
        [content] = result.content
        return content.text, bool(result.is_error)

    def ask(self, tool: str, **arguments: object) -> Answer:
        text, is_error = self.text(tool, **arguments)
        assert not is_error, text
        return json.loads(text)


@contextmanager
def asking(settings: Settings) -> Iterator[Asking]:
    """Start the command, and ask it over its input and output."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mt_pipeline.cli.main", "mcp"],
        env=environment(settings),
    )
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(server)) as client,
    ):
        yield Asking(client, portal)


def rows(answer: Answer, *columns: str) -> list[tuple[object, ...]]:
    """Return some columns of an answer."""
    places = [answer["columns"].index(name) for name in columns]
    return [tuple(row[place] for place in places) for row in answer["rows"]]
