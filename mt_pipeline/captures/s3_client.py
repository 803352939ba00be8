"""How a store that speaks S3 is asked: by botocore, whose errors become ours.

botocore knows who we are and where the store is, in every way that AWS documents: variables, files,
roles. So no secret is in a setting of ours, and none reaches a message: an error here says its kind
or its code, never what was sent. botocore is imported when a store is asked.
"""

import functools
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import IO, Protocol, TypedDict, TypeVar, cast

from mt_pipeline.captures.naming import CaptureUnreadableError
from mt_pipeline.captures.store import InboxError
from mt_pipeline.errors import SettingsError

Answer = TypeVar("Answer")

ATTEMPTS = 3
"""How often a part is asked for that breaks off, if no byte of it arrives meanwhile."""

_CONNECT_SECONDS, _SILENCE_SECONDS = 5, 30

_NO_KEY = ("NoSuchKey", "404")
_NOT_READABLE = {
    "AccessDenied": "allow this account s3:GetObject for it",
    "403": "allow this account s3:GetObject for it",
    "InvalidObjectState": "restore it from its archive",
}
_CURES = {
    "NoSuchBucket": "there is no such bucket: create it, or set MT_INBOX to another",
    "AccessDenied": "this account may not: allow it s3:ListBucket and s3:GetObject",
    "InvalidAccessKeyId": "the store does not know the key of this account: see AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is another: see AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session of this account has ended: sign in again, and restart",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it",
    "SlowDown": "it asks for fewer requests",
    "InternalError": "it fails: see to the store",
    "ServiceUnavailable": "it is busy: see to the store",
    "NoCredentialsError": (
        "nothing says who we are: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    ),
    "PartialCredentialsError": (
        "only half of a key is there: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    ),
    "ProfileNotFound": "there is no profile of this name: see AWS_PROFILE and ~/.aws/config",
    "SSLError": "its certificate is not trusted: see AWS_CA_BUNDLE",
    "EndpointResolutionError": "its address cannot be used: see AWS_ENDPOINT_URL",
    "ValueError": "its address cannot be used: see AWS_ENDPOINT_URL",
}
"""What errors of the store or of botocore mean, by their code or kind."""

_AWAY = "it does not answer: see to the network or the store, and to AWS_ENDPOINT_URL"
_REFUSED = "the store refuses it: see to AWS_ENDPOINT_URL and AWS_REGION, and to the store"


class Listed(TypedDict):
    """What a listing says of an object."""

    Key: str
    Size: int
    ETag: str
    LastModified: datetime


class Part(TypedDict, total=False):
    """An answer with some bytes of an object."""

    Body: IO[bytes]
    ContentRange: str
    ContentLength: int
    ETag: str
    LastModified: datetime


class Client(Protocol):
    """What is used of botocore's client."""

    def list_objects_v2(self, **arguments: object) -> Mapping[str, object]:
        """List a thousand objects."""
        ...

    def get_object(self, **arguments: object) -> Part:
        """Return the bytes of a range of an object."""
        ...


def variables() -> list[str]:
    """Return the variables by which botocore knows who we are, and where the store is.

    A process of ours that reads captures gets them; programs that we start for one do not.
    """
    of_network = ("HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy")
    return [*of_network, "no_proxy", *(name for name in os.environ if name.startswith("AWS_"))]


def check_installed() -> None:
    """Check that botocore is there.

    Raises:
        SettingsError: it is not; the message says how to install it.
    """
    if find_spec("botocore") is None:
        raise SettingsError(
            "MT_INBOX: an inbox in an object store needs botocore: install it by `make cluster`, "
            "or `pip install 'mt_pipeline[s3]'`"
        )


def client() -> Client:
    """Return the client of this process."""
    # A child must not share the connections of a process that it was forked from.
    return _client_of(os.getpid())


@functools.cache
def _client_of(_process: int) -> Client:
    import botocore.session
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_SILENCE_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    session = botocore.session.Session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    return cast("Client", session.create_client("s3", config=config))


def _time(value: object) -> datetime:
    """Parse a time of an answer: botocore's own way takes two thirds of a listing."""
    from botocore.utils import parse_timestamp

    try:
        return datetime.fromisoformat(str(value))
    except ValueError:  # that of a header
        return cast("datetime", parse_timestamp(value))


def asked(call: Callable[[], Answer], url: str, key: str = "") -> Answer:
    """Return what a call of botocore returns, or raise our error instead of botocore's.

    That is not kept with ours: it may quote an address with a password in it.

    Args:
        call: the call.
        url: of the inbox.
        key: of an object, if it is about one.

    Raises:
        FileNotFoundError: there is no such object.
        CaptureUnreadableError: this account may not read the object.
        InboxError: the store cannot be asked.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call()
    except ClientError as error:
        code, otherwise = str(error.response.get("Error", {}).get("Code", "")), _REFUSED
    except (BotoCoreError, ValueError) as error:
        code, otherwise = type(error).__name__, _AWAY
    if key and code in _NO_KEY:
        raise FileNotFoundError(key)
    if key and code in _NOT_READABLE:
        raise CaptureUnreadableError(f"{key} cannot be read ({code}): {_NOT_READABLE[code]}.")
    cure = _CURES.get(code, otherwise)
    raise InboxError(f"the inbox {url} cannot be read ({code}): {cure}")
