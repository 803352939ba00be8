"""The provider `netify`: the Netify Data Feeds API v2 over HTTP.

What a body says is in `responses.py`; how headers ask for a pause, in `headers.py`. How fast calls
follow each other is in `rate_limit.py`; how many are allowed, in `budget.py`.

The key goes into the header `x-api-key` and nowhere else. What happened is decided on the HTTP status alone: the `status_code` in a body is a
number or text, and may be missing.
"""

import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import requests
import urllib3

from mt_pipeline import __version__
from mt_pipeline.enrichment.models import Answer, Endpoint, Facts, Kind
from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.netify.headers import retry_after, until_reset
from mt_pipeline.enrichment.netify.rate_limit import SharedRate
from mt_pipeline.enrichment.netify.responses import BrokenBody, facts_of
from mt_pipeline.enrichment.netify.transport import (
    DeadlineAdapter,
    KeyInHeader,
    cause_of,
    is_unreachable,
)
from mt_pipeline.enrichment.provider import EndpointFailed, EnrichmentError, ProviderStopped

logger = logging.getLogger(__name__)

LARGEST_BODY = 4 * 1024 * 1024
PATHS = {"address": "ips", "name": "hostnames"}
NOT_FOUND = (400, 404, 422)
"""Statuses that answer "nothing is known": not there, or nothing that can be asked. Asking again soon gives the same."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for the server.

    Attributes:
        tries: requests for one endpoint, at most.
        pause: seconds before the second try; doubles with each.
        longest_wait: seconds; who is told to wait longer stops instead.
        connect: seconds to reach the server.
        read: seconds without a byte.
        answer: seconds for one whole answer.
    """

    tries: int = 4
    pause: float = 1
    longest_wait: float = 60
    connect: float = 5
    read: float = 20
    answer: float = 60


class Netify:
    """Asks the Netify Data Feeds API; see `provider.py` for what it promises."""

    name = "netify"
    kinds: frozenset[Kind] = frozenset({"address", "name"})

    def __init__(
        self,
        *,
        url: str,
        key: str,
        calls_per_second: float,
        rate_file: Path,
        patience: Patience | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Prepare; no request is sent.

        Args:
            url: up to and with `/api/v2`.
            key: the API key.
            calls_per_second: limit over all processes that share the rate file.
            rate_file: where they share it.
            patience: time-outs and tries.
            budget: how many requests may be sent; None for any number.

        Raises:
            EnrichmentError: the address or the key cannot be right.
        """
        self._host = _host_of(url)
        key = key.strip()
        if (
            not key or not key.isascii() or not key.isprintable()
        ):  # requests would quote it in an error otherwise
            raise EnrichmentError(
                "MT_NETIFY_API_KEY is empty or has characters that no key has; copy it again from your Netify account"
            )
        self._url = url.rstrip("/")
        self._patience = patience or Patience()
        self._rate = SharedRate(rate_file, per_second=calls_per_second)
        self._budget = budget
        self._session = requests.Session()
        self._adapter = DeadlineAdapter(self._patience.answer)
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)
        self._session.auth = KeyInHeader("x-api-key", key)
        self._session.headers.update(
            {"Accept": "application/json", "User-Agent": f"mt_pipeline/{__version__}"}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def ask(self, endpoint: Endpoint) -> Answer:
        """Ask about one endpoint.

        Every try counts against the rate limit and the budget, so tries are made here rather than inside of the HTTP library.

        Raises:
            EndpointFailed: server errors or broken answers to all tries.
            ProviderStopped: key refused, too many calls, or the server cannot be reached or trusted.
            BudgetSpent: the user allows no more requests.
        """
        if not endpoint.value.strip("."):  # a path of dots is another path
            raise EndpointFailed(f"{endpoint.value!r} cannot be asked about")
        for pause in self._pauses():
            self._rate.wait(longest_hold=self._patience.longest_wait)
            if self._budget is not None:
                self._budget.spend()  # last of all: what is counted is sent
            try:
                return self._try(endpoint)
            except _TryAgain as problem:
                wait = pause if problem.told is None or pause is None else problem.told
                if wait is None or wait > self._patience.longest_wait:
                    raise problem.verdict from None
                logger.info("%s; trying again in %.1f s", problem.verdict, wait)
                time.sleep(wait)
        raise AssertionError("the last pause is None")

    def _pauses(self) -> Iterator[float | None]:
        """Yield what to wait after each try; None after the last."""
        for number in range(self._patience.tries - 1):
            yield self._patience.pause * 2**number
        yield None

    def _try(self, endpoint: Endpoint) -> Answer:
        url = (
            f"{self._url}/{PATHS[endpoint.kind]}/{quote(endpoint.value, safe='', errors='replace')}"
        )
        timeout = (self._patience.connect, self._patience.read)
        try:
            # A redirect is not followed: the key would go with it.
            with (
                self._adapter.deadline(),
                self._session.get(
                    url, timeout=timeout, allow_redirects=False, stream=True
                ) as response,
            ):
                return self._judge(endpoint, response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            reason = cause_of(error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise ProviderStopped(
                    f"{self._host} does not prove who it is ({reason}), so the key was not sent; check MT_NETIFY_URL, this machine's clock and "
                    "whether a proxy is in between; REQUESTS_CA_BUNDLE names a file of certificates to trust"
                ) from None
            said = str(reason) or type(reason).__name__
            if is_unreachable(error):
                verdict: EnrichmentError = ProviderStopped(
                    f"{self._host} cannot be reached ({said}); check the network and MT_NETIFY_URL"
                )
            else:
                verdict = EndpointFailed(f"no answer for {endpoint.value!r} ({said})")
            raise _TryAgain(verdict) from None

    def _judge(self, endpoint: Endpoint, response: requests.Response) -> Answer:
        status = response.status_code
        now = datetime.now(UTC)
        told = self._told(response)
        if status == 200:
            try:
                facts = facts_of(endpoint.kind, self._body(response))
            except BrokenBody as error:
                raise _TryAgain(
                    EndpointFailed(f"no answer for {endpoint.value!r}: {error}")
                ) from None
            return Answer(
                endpoint, self.name, found=facts is not None, asked_at=now, facts=facts or Facts()
            )
        if status in NOT_FOUND:
            with suppress(BrokenBody, urllib3.exceptions.HTTPError, OSError):
                self._body(response)  # read to its end, the connection can be used again
            return Answer(endpoint, self.name, found=False, asked_at=now)
        if status == 401:
            raise ProviderStopped(
                "Netify refuses the key (HTTP 401); set MT_NETIFY_API_KEY to a valid one"
            )
        if status == 403:
            raise ProviderStopped(
                "Netify does not permit this key to ask (HTTP 403); look after the subscription that MT_NETIFY_API_KEY belongs to"
            )
        if status == 429:
            wish = "" if told is None else f" and wants a wait of {told:.0f} s"
            raise _TryAgain(
                ProviderStopped(
                    f"Netify says too many requests (HTTP 429){wish}; run again later or lower MT_NETIFY_RATE"
                ),
                told,
            )
        if status >= 500:
            raise _TryAgain(
                EndpointFailed(f"no answer for {endpoint.value!r} (HTTP {status})"), told
            )
        if 300 <= status < 400:
            raise EndpointFailed(
                f"no answer for {endpoint.value!r}: the server points to another address (HTTP {status}); check MT_NETIFY_URL"
            )
        raise EndpointFailed(f"no answer for {endpoint.value!r} (HTTP {status})")

    def _told(self, response: requests.Response) -> float | None:
        """Return for how many seconds the server wants no request, if it says so; all processes heed it."""
        refused = response.status_code == 429 or response.status_code >= 500
        said = retry_after(response.headers) if refused else None
        told = until_reset(response.headers) if said is None else said
        if told:
            with suppress(
                ProviderStopped
            ):  # this answer was paid for; that the file cannot be used is said before the next request
                self._rate.hold(told)
        return told

    def _body(self, response: requests.Response) -> bytes:
        """Read the body, but not without end."""
        body = bytearray()
        while chunk := response.raw.read1(65536, decode_content=True):
            body += chunk
            if len(body) > LARGEST_BODY:
                raise BrokenBody(f"the body has more than {LARGEST_BODY:,} bytes")
        return bytes(body)


class _TryAgain(Exception):
    """This try failed, another may not: what to raise when there is no other, and how many seconds the server wants us to wait."""

    def __init__(self, verdict: EnrichmentError, told: float | None = None) -> None:
        super().__init__()
        self.verdict = verdict
        self.told = told


def _host_of(url: str) -> str:
    with suppress(ValueError):
        parts = urlsplit(url)
        # The rest of a path goes behind it; and a key does not belong into it.
        if (
            parts.scheme in ("http", "https")
            and parts.hostname
            and not (parts.query or parts.fragment or "@" in parts.netloc)
        ):
            return parts.hostname
    raise EnrichmentError(
        "MT_NETIFY_URL is no address of a server; it looks like https://feeds.netify.ai/api/v2"
    )
