"""The user's inventory of devices, read from a file into entries. `lookup.py` searches them.

A CSV file has a header with `device` and some of `mac`, `address`, `network`, `name`. A device may
have several rows, and a cell several values, separated by spaces. A TOML file has a table
`[[device]]` per device, with `label` and the same names: a text or a list of texts.
"""

import csv
import io
import ipaddress
import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.system.named_files import read_text, why_unreadable

LONGEST_LABEL = 64

_MAC = re.compile(
    r"[0-9a-f]{1,2}([:-])([0-9a-f]{1,2}\1){4}[0-9a-f]{1,2}|([0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}"
)
_TABLE = re.compile(r"^[ \t]*\[\[[ \t]*device[ \t]*\]\]", re.MULTILINE)


class DevicesUnusable(Exception):
    """The inventory cannot be used; the message names file, line, reason and cure."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path}{f', line {line}' if line else ''}: {reason}, or unset MT_DEVICES")


@dataclass(frozen=True)
class Entry:
    """One thing that identifies a device.

    Attributes:
        line: its line in the file, from 1.
        label: the name of the device.
        kind: `mac`, `network` or `name`; an address is a network of its own.
        value: in canonical form: `02:00:00:00:00:20`, a network as CIDR, or a pattern of server
            names in lower case.
    """

    line: int
    label: str
    kind: str
    value: str


def read(path: Path) -> list[Entry]:
    """Read an inventory: TOML if the name of the file ends in `.toml`, else CSV.

    Raises:
        DevicesUnusable: the file cannot be read, or has something that is not understood.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DevicesUnusable(path, None, why_unreadable(error)) from None
    is_toml = path.suffix.lower() == ".toml"
    devices = _read_toml(path, text) if is_toml else _read_csv(path, text)
    entries = [
        entry for line, label, values in devices for entry in _entries(path, line, label, values)
    ]
    if not entries:
        raise DevicesUnusable(path, None, "it has no devices; add some")
    return entries


def _read_csv(path: Path, text: str) -> Iterator[tuple[int, str, Mapping[str, str]]]:
    """Yield the line, the label and the other cells of each row that is not empty."""
    rows = _rows(path, text)
    line, header = next(rows, (1, []))
    names = [name.strip().lower() for name in header]
    if "device" not in names:
        raise DevicesUnusable(
            path,
            line,
            "the header is missing; begin with a line such as `device,mac,address,network,name`",
        )
    if odd := [name for name in names if names.count(name) > 1 or name not in ("device", *_READ)]:
        raise DevicesUnusable(
            path,
            line,
            f"the column {odd[0][:80]!r} is unknown or appears twice; "
            f"use `device` and some of {_NAMES}, each once",
        )
    for line, cells in rows:
        if any(cell.strip() for cell in cells[len(names) :]):
            raise DevicesUnusable(
                path,
                line,
                "it has more cells than the header; separate several values of a cell by spaces",
            )
        values = {name: cell for name, cell in zip(names, cells, strict=False) if cell.strip()}
        if values:
            yield line, values.pop("device", ""), values


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows, each with its first line; some spreadsheets separate cells by semicolons."""
    header = text.partition("\n")[0]
    delimiter = next((mark for mark in ";\t" if mark in header), ",")
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise DevicesUnusable(path, line, f"it is not valid CSV ({error}); fix it") from None
        yield line, cells


def _read_toml(path: Path, text: str) -> Iterator[tuple[int, object, Mapping[str, object]]]:
    """Yield the line, the label and the other values of each table."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DevicesUnusable(path, None, f"it is not valid TOML ({error}); fix it") from None
    tables = document.pop("device", [])
    # The parser does not report the lines of tables.
    lines = [text.count("\n", 0, table.start()) + 1 for table in _TABLE.finditer(text)]
    if document or not isinstance(tables, list) or len(tables) != len(lines):
        raise DevicesUnusable(
            path,
            None,
            "it has more than tables `[[device]]`; write one per device and nothing else",
        )
    for line, table in zip(lines, tables, strict=True):
        yield line, table.pop("label", ""), table


def _entries(
    path: Path, line: int, label: object, texts_by_name: Mapping[str, object]
) -> Iterator[Entry]:
    checked = _label(path, line, label)
    if unknown := [name for name in texts_by_name if name not in _READ]:
        raise DevicesUnusable(
            path, line, f"{unknown[0][:80]!r} is unknown; a device has `label` and some of {_NAMES}"
        )
    values = [
        (name, value)
        for name, texts in texts_by_name.items()
        for value in _values(path, line, name, texts)
    ]
    if not values:
        raise DevicesUnusable(path, line, f"nothing identifies {checked!r}; add some of {_NAMES}")
    for name, value in values:
        read_value, cure = _READ[name]
        try:
            yield Entry(
                line, checked, "network" if name == "address" else name, read_value(value.lower())
            )
        except ValueError as error:
            raise DevicesUnusable(
                path, line, f"{value[:80]!r} is not valid for `{name}` ({error}); {cure}"
            ) from None


def _label(path: Path, line: int, label: object) -> str:
    if not isinstance(label, str) or not label.strip():
        raise DevicesUnusable(path, line, "the device has no label; give it one")
    label = label.strip()
    if len(label) > LONGEST_LABEL:
        raise DevicesUnusable(
            path,
            line,
            f"the label {label[:20] + '…'!r} has {len(label)} characters; "
            f"use at most {LONGEST_LABEL}",
        )
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in label):
        raise DevicesUnusable(
            path, line, f"the label {label!r} has a control character or a line break; remove it"
        )
    return label


def _values(path: Path, line: int, name: str, texts: object) -> list[str]:
    listed = texts if isinstance(texts, list) else [texts]
    read = [text for text in listed if isinstance(text, str)]
    if len(read) < len(listed):
        raise DevicesUnusable(
            path, line, f"`{name}` is neither a text nor a list of texts; put it in quotes"
        )
    return [value for text in read for value in text.split()]


def _mac(value: str) -> str:
    if not _MAC.fullmatch(value):
        raise ValueError("it needs six bytes in hexadecimal")
    parts = re.split("[:-]", value)
    digits = "".join(part.zfill(2) for part in parts) if len(parts) == 6 else value.replace(".", "")
    return ":".join(digits[start : start + 2] for start in range(0, 12, 2))


def _address(value: str) -> str:
    return str(ipaddress.ip_network(_parsed(value)))


def _network(value: str) -> str:
    network = ipaddress.ip_network(value, strict=False)
    if network.network_address != _parsed(value.partition("/")[0]):
        raise ValueError(f"it is an address within {network}")
    return str(network)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if "%" in address:
        raise ValueError("it names a network interface")
    return ipaddress.ip_address(address)


def _pattern(value: str) -> str:
    if not value.isprintable() or set(value) & set("/:@") or not value.strip("."):
        raise ValueError("a server name has no such characters")
    return value.rstrip(".")


_READ: dict[str, tuple[Callable[[str], str], str]] = {
    "mac": (_mac, "write it like 02:00:00:00:00:20"),
    "address": (_address, "write it like 192.168.1.20 or fd00::20"),
    "network": (_network, "write it like 192.168.20.0/24 or fd00:20::/64"),
    "name": (_pattern, "write it like *.example.com"),
}
"""For each name, the function that reads its values, and the cure for a wrong one."""

_NAMES = ", ".join(f"`{name}`" for name in _READ)
