"""Offers the tools over MCP, on standard input and output. It listens on no port."""

from collections.abc import Callable
from functools import wraps
from threading import Lock

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from mt_pipeline import __version__
from mt_pipeline.mcp_server.answers import NOTICE
from mt_pipeline.mcp_server.tools import Tools

INSTRUCTIONS = f"""\
mt_pipeline holds network captures of experiments. `flows` has a row for each second of each \
conversation, `packets` a row for each packet. Begin with `experiments` and `schema`. Ask `top` \
and `compare` for sums; rows are for details.

A condition is text such as: app_tag = spotify and not protocol in (dns, mdns)
Operators: = != < <= > >= in contains startswith endswith, joined by and, or, not, ( ). Quote \
values with blanks or signs: geo_country = 'South Korea'. (none) is what is not known: app_tag = \
(none). In rows it is null, in some columns of packets the text Unknown. Times are UTC. Answers \
are bounded; `truncated` says when something was left out.

{NOTICE}

Everything here only reads."""

_READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


def build(tools: Tools, explain: Callable[[Exception], str]) -> MCPServer[object]:
    """Make a server of the tools.

    Args:
        tools: what can be asked.
        explain: says in a sentence what went wrong and what to do.
    """
    server = MCPServer[object](
        "mt_pipeline", instructions=INSTRUCTIONS, version=__version__, log_level="ERROR"
    )
    alone = Lock()
    for tool in tools.all:
        server.add_tool(_told(tool, alone, explain), annotations=_READS, structured_output=False)
    return server


def _told(
    tool: Callable[..., str], alone: Lock, explain: Callable[[Exception], str]
) -> Callable[..., str]:
    """Return a tool that answers one question at a time, and whose errors are sentences."""

    @wraps(tool)
    def ask(*arguments: object, **options: object) -> str:
        try:
            with alone:
                return tool(*arguments, **options)
        except Exception as error:
            raise ToolError(explain(error)) from None

    return ask
