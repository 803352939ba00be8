"""What values of settings look like: numbers with limits, folders, addresses, names.

Which settings there are is `settings.py`.
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, DirectoryPath, Field, PlainValidator
from pydantic_core import PydanticCustomError

from mt_pipeline.system.addresses import is_address

_MOST_SECONDS = 10**9
"""Thirty years: beyond three hundred the system can neither sleep nor wait."""
_MOST_DAYS = 365_000
"""A thousand years: dates cannot say what is two thousand years ago."""

Seconds = Annotated[float, Field(ge=0, le=_MOST_SECONDS, allow_inf_nan=False)]
SomeSeconds = Annotated[float, Field(gt=0, le=_MOST_SECONDS, allow_inf_nan=False)]
WholeSeconds = Annotated[int, Field(ge=0, le=_MOST_SECONDS)]
Days = Annotated[float, Field(ge=0, le=_MOST_DAYS, allow_inf_nan=False)]
# One call in eleven days at least: the time between two is slept.
Rate = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Calls = Annotated[int, Field(ge=0, le=10**12)]
# The system counts bytes in 64 bits.
Megabytes = Annotated[int, Field(ge=500, le=10**12)]
Slots = Annotated[int, Field(ge=0, le=1000)]
Port = Annotated[int, Field(ge=1, le=65535)]

_PATTERNS = "*?[]{}%"
_HOST = r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?"


def _absolute(value: Path) -> Path:
    return Path.cwd() / value.expanduser()


def _folder(value: Path) -> Path:
    """Refuse a file where a folder is needed; one that is not there yet is made later."""
    value = _absolute(value)
    for path in (value, *value.parents):
        with suppress(OSError):  # who uses it says why it cannot be reached
            if path.is_dir():
                break
            if path.exists():
                raise PydanticCustomError(
                    "folder",
                    "Input should be a folder, and {file} is a file: "
                    "move it away, or choose another",
                    {"file": repr(str(path))},
                )
    return value


def _plain(value: Path) -> Path:
    """Refuse a path that Dagster or a database reads as a pattern, or that is not UTF-8."""
    if special := sorted(set(_PATTERNS).intersection(str(value))):
        raise PydanticCustomError(
            "data_dir",
            "{folder} has {special} in its path, which Dagster and databases read as "
            "patterns: rename the folder, or choose another",
            {"folder": repr(str(value)), "special": " ".join(special)},
        )
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise PydanticCustomError(
            "data_dir",
            "{folder} is not UTF-8: rename the folder, or choose another",
            {"folder": ascii(str(value))},
        ) from None
    return value


# The messages of these never repeat the value: it may be a secret of another line.
def _page(value: str) -> str:
    if not is_address(value):
        raise PydanticCustomError(
            "page", "Input should be the address of a page, such as http://127.0.0.1:3001"
        )
    return value.rstrip("/")


def _console(value: str) -> str:
    if not is_address(value, path=False):
        raise PydanticCustomError(
            "console",
            "Input should be the address of a server without a path, such as http://127.0.0.1:9000",
        )
    return value


def _names(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no browser sends as the name of a host: that would let nobody in."""
    if not all(re.fullmatch(_HOST, value, re.ASCII | re.IGNORECASE) for value in values):
        raise PydanticCustomError(
            "names",
            "Input should be names such as dagster.example.org or dagster.example.org:8080, "
            "without http:// and without a path",
        )
    return values


def _host(value: str) -> str:
    if not value.isprintable() or re.search(r"[\s/@]|^[^:]*:\d+$", value):
        raise PydanticCustomError(
            "host", "Input should be a name or an address, without http:// and without a port"
        )
    return value


def _user(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("user", "Input should be a name of printable characters")
    return value


def _state_url(value: str) -> str:
    error = PydanticCustomError(
        "state_url",
        "Input should be postgresql://user@host/database, without a password, which goes into "
        "MT_STATE_PASSWORD",
    )
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise error from None
    secret = parts.password is not None or "password" in dict(parse_qsl(parts.query))
    is_postgres = parts.scheme in ("postgresql", "postgres") and len(parts.path) > 1
    if secret or not is_postgres or not value.isprintable():
        raise error
    return value


def _broker_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_redis = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_redis = False
    if not is_redis or parts.password is not None or not value.isprintable():
        raise PydanticCustomError(
            "broker_url",
            "Input should be redis://host:6379/0 or rediss://…, without a password, which goes "
            "into MT_BROKER_PASSWORD",
        )
    return value


def _inbox(value: Path | str) -> Path | str:
    """Accept a folder, or a bucket with or without a prefix."""
    text = str(value)
    if "://" not in text:
        return _folder(Path(text))
    match = re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+((?:/[^/?#]+)*)/?", text)
    parts = match[1].split("/")[1:] if match else [".."]
    if not text.isprintable() or any(part in (".", "..") for part in parts):
        raise PydanticCustomError(
            "inbox",
            "Input should be a folder, or s3://bucket/prefix without a user, a password, or an "
            "address: AWS_ACCESS_KEY_ID, AWS_PROFILE and AWS_ENDPOINT_URL say these",
        )
    return text.rstrip("/")


File = Annotated[Path, AfterValidator(_absolute)]
Folder = Annotated[Path, AfterValidator(_folder)]
Scratch = Annotated[DirectoryPath, AfterValidator(_absolute)]
InboxPlace = Annotated[Path | str, PlainValidator(_inbox)]
DataFolder = Annotated[Path, AfterValidator(_folder), AfterValidator(_plain)]
Page = Annotated[str, AfterValidator(_page)]
Console = Annotated[str, AfterValidator(_console)]
Names = Annotated[tuple[str, ...], AfterValidator(_names)]
Host = Annotated[str, AfterValidator(_host)]
User = Annotated[str, AfterValidator(_user)]
StateUrl = Annotated[str, AfterValidator(_state_url)]
BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
