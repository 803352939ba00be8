"""Writes docs/settings.md and docs/columns.md from the code: `make docs`.

`test_docs.py` holds that they are up to date.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from mt_pipeline.schema.captures import CAPTURE_COLUMNS, CaptureColumn
from mt_pipeline.schema.flow_column import FlowColumn
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS, ORIGINAL_COLUMNS, Column, Origin
from mt_pipeline.schema.tables import FLOWS, HIDDEN, PACKETS
from mt_pipeline.settings import PROJECT, Settings
from mt_pipeline.tshark.fields import FIELDS

PREFIX = str(Settings.model_config["env_prefix"])

_SETTINGS = """# Settings

<!-- Written by `make docs` from mt_pipeline/settings.py; do not edit. -->

Set them in the environment, or in a file `.env` in the project's folder; the environment wins.
Secrets may also be files in a folder, `MT_SECRETS_DIR`; the environment and `.env` win over them.
An empty value is the same as none.
[.env.example](../.env.example) is a start. Restart the service after a change.

Relative paths are relative to the folder where you start the command.

A value that cannot be used ends the command with exit status 2. A line names the variable.

A variable that begins with `MT_` and is not listed here changes nothing. Each command warns of it
on stderr, names the nearest setting, and goes on: the variable may belong to another release or
another program. The warning never has the value.

{}
"""

_COLUMNS = """# Columns

<!-- Written by `make docs` from mt_pipeline/schema/; do not edit. -->

[What a row means](rows.md) explains which layer a row describes, what `Unknown` and NULL mean, and
how streams are named. [Add a column](how-to/add-a-column.md) shows how to get another one.

- [`packets_<experiment>`](#packets_experiment): a row per packet
- [`flows_<experiment>`](#flows_experiment): a row per second and conversation
- [`captures`](#captures): a row per capture and load

## `packets_<experiment>`

"Made of" lists the fields of tshark, the fact of a provider's answer, or what is the same for the
whole capture.

### Columns of MT_ProcessPKTs

They have its order. Where nothing is known, text is `Unknown`; numbers and addresses are NULL.

{}

### More columns

They are NULL where nothing is known.

{}

The table `{}` behind the views has more columns: {}.
`load` is the time of the load that made the row; `gone` is true after a later load or a purge has
deleted the row.

## `flows_<experiment>`

What each conversation of a capture sent in each second. A conversation is all packets between two
ends, each with address, port and hardware address, in one stream; where there are no streams, in
one protocol. After every load the packets and bytes of the flows are compared with those of
`packets_<experiment>`. Columns are NULL where nothing is known.

{}

The table `{}` behind the views also has `load` and `gone`.

## `captures`

What became of each load of a capture, and of each purge: a copy of `data/ledger.sqlite` that you
can query. Numbers are those of that load; one that failed has none but those of its answers.
Columns are NULL where nothing is known.

{}
"""

# Fields of values that packets/typed.py computes.
_COMPUTED = {
    "time_us": ["frame.time_epoch"],
    "ip_proto_keyword": ["ip.proto", "ipv6.nxt", "frame.protocols"],
    "said_sni": ["tls.handshake.extensions_server_name"],
    "stream": ["tcp.stream", "udp.stream"],
    "protocol": ["frame.protocols"],
    "tls_sni": ["tls.handshake.extensions_server_name"],
    "tls_alpn": ["tls.handshake.extensions_alpn_str"],
}


def settings_page() -> str:
    """Return the page of settings."""
    rows = [
        (f"`{PREFIX}{name.upper()}`", _default(field), " ".join((field.description or "").split()))
        for name, field in Settings.model_fields.items()
    ]
    return _SETTINGS.format(_table(("variable", "default", "meaning"), rows))


def columns_page() -> str:
    """Return the page of columns."""
    hidden = ", ".join(f"`{name}` ({kind})" for name, kind in HIDDEN.items())
    packets = (
        _columns(ORIGINAL_COLUMNS),
        _columns(COLUMNS[len(ORIGINAL_COLUMNS) :]),
        PACKETS.name,
        hidden,
    )
    return _COLUMNS.format(
        *packets, _with_units(FLOW_COLUMNS), FLOWS.name, _with_units(CAPTURE_COLUMNS)
    )


def made_of(column: Column) -> str:
    """Return what a column is made of, in Markdown."""
    if column.origin is Origin.CAPTURE:
        return "the capture's key"
    if column.origin is Origin.CONVERSATION:
        return "ends, protocol and stream"
    if column.origin is Origin.DEVICE:
        return "your inventory of devices"
    if column.origin is Origin.ANSWER:
        end, _, fact = column.source.partition(".")
        if fact == "type":
            return "the address"
        return f"`{fact}` of the answer for the {'server name' if end == 'sni' else 'address'}"
    names = re.findall(r"\b(?:p|names)\.(\w+)", column.source)
    by_key = {field.key: [field.name, *field.also] for field in FIELDS}
    fields = [field for name in names for field in _COMPUTED.get(name) or by_key.get(name, [])]
    return ", ".join(f"`{field}`" for field in dict.fromkeys(fields))


PAGES = {
    PROJECT / "docs" / "settings.md": settings_page,
    PROJECT / "docs" / "columns.md": columns_page,
}


def main() -> None:
    """Write all pages."""
    for path, page in PAGES.items():
        path.write_text(page(), encoding="utf-8")


def _columns(columns: Iterable[Column]) -> str:
    return _table(
        ("column", "type", "meaning", "made of"),
        [(f"`{c.name}`", c.type, c.meaning, made_of(c)) for c in columns],
    )


def _with_units(columns: Iterable[FlowColumn | CaptureColumn]) -> str:
    return _table(
        ("column", "type", "unit", "meaning"),
        [(f"`{c.name}`", c.type, c.unit, c.meaning) for c in columns],
    )


def _default(field: FieldInfo) -> str:
    value = (
        field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    )
    if value in (None, "", ()):
        return ""
    if isinstance(value, Path) and value.is_relative_to(PROJECT):
        value = value.relative_to(PROJECT)
    return f"`{value}`"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        header,
        ["---"] * len(header),
        *([cell.replace("|", r"\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    main()
