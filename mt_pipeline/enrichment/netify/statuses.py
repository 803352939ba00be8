"""The meaning of a response of Netify, decided on its HTTP status alone.

The `status_code` in a body is a number or text, and may be missing. `responses.py` reads the facts
in a body.
"""

from contextlib import suppress
from datetime import UTC, datetime

import requests
import urllib3

from mt_pipeline.enrichment.models import Answer, Endpoint, Facts
from mt_pipeline.enrichment.netify.responses import BrokenBody, facts_of
from mt_pipeline.enrichment.provider import EndpointFailed, EnrichmentError, ProviderStopped

PROVIDER = "netify"

LARGEST_BODY = 4 * 1024 * 1024

NOT_FOUND = (400, 404, 422)
"""Statuses that mean "not known": unknown or not a valid question. A retry gets the same."""


class TryAgain(Exception):
    """A try failed that may succeed later.

    Attributes:
        error: the error to raise if there is no other try.
        wait: seconds for which the server wants no request; None if it does not tell.
    """

    def __init__(self, error: EnrichmentError, wait: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.wait = wait


def answer_of(endpoint: Endpoint, response: requests.Response, wait: float | None) -> Answer:
    """Return the answer in a response.

    Args:
        endpoint: the endpoint that was asked about.
        response: its body has not been read yet.
        wait: seconds for which the server wants no request, by the headers; None for none.

    Raises:
        TryAgain: a later try may succeed.
        EndpointFailed: no try helps for this endpoint.
        ProviderStopped: no try helps for any endpoint.
    """
    status = response.status_code
    now = datetime.now(UTC)
    if status == 200:
        try:
            facts = facts_of(endpoint.kind, _read(response))
        except BrokenBody as error:
            raise TryAgain(EndpointFailed(f"no answer for {endpoint.value!r}: {error}")) from None
        found = facts is not None
        return Answer(endpoint, PROVIDER, found=found, asked_at=now, facts=facts or Facts())
    if status in NOT_FOUND:
        with suppress(BrokenBody, urllib3.exceptions.HTTPError, OSError):
            _read(response)  # a body that is read to its end frees the connection for the next call
        return Answer(endpoint, PROVIDER, found=False, asked_at=now)
    raise _error(endpoint, status, wait)


def _error(endpoint: Endpoint, status: int, wait: float | None) -> Exception:
    if status == 401:
        return ProviderStopped(
            "Netify refuses the key (HTTP 401); set MT_NETIFY_API_KEY to a valid one"
        )
    if status == 403:
        return ProviderStopped(
            "Netify does not permit this key to ask (HTTP 403); "
            "check the subscription that MT_NETIFY_API_KEY belongs to"
        )
    if status == 429:
        detail = "" if wait is None else f" and asks for a wait of {wait:.0f} s"
        error = ProviderStopped(
            f"Netify reports too many requests (HTTP 429){detail}; "
            "run again later or lower MT_NETIFY_RATE"
        )
        return TryAgain(error, wait)
    message = f"no answer for {endpoint.value!r} (HTTP {status})"
    if status >= 500:
        return TryAgain(EndpointFailed(message), wait)
    if 300 <= status < 400:
        return EndpointFailed(
            f"no answer for {endpoint.value!r}: the server redirects to another address "
            f"(HTTP {status}); check MT_NETIFY_URL"
        )
    return EndpointFailed(message)


def _read(response: requests.Response) -> bytes:
    """Return the body, of bounded size."""
    body = bytearray()
    while chunk := response.raw.read1(65536, decode_content=True):
        body += chunk
        if len(body) > LARGEST_BODY:
            raise BrokenBody(f"the body has more than {LARGEST_BODY:,} bytes")
    return bytes(body)
