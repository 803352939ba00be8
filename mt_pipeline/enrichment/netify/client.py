"""The provider `netify`: requests to the Netify Data Feeds API v2, with their retries.

`statuses.py` interprets responses, `headers.py` the waits that they ask for. `rate_limit.py` and
`budget.py` limit the requests, `transport.py` sends them. The key goes into the header `x-api-key`
alone.
"""

import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import requests
import urllib3

from mt_pipeline import __version__
from mt_pipeline.enrichment.models import Answer, Endpoint, Kind
from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.netify.headers import retry_after, until_reset
from mt_pipeline.enrichment.netify.rate_limit import SharedRate
from mt_pipeline.enrichment.netify.statuses import PROVIDER, TryAgain, answer_of
from mt_pipeline.enrichment.netify.transport import (
    DeadlineAdapter,
    KeyInHeader,
    cause_of,
    is_unreachable,
)
from mt_pipeline.enrichment.provider import EndpointFailed, ProviderStopped, ProviderUnusable
from mt_pipeline.state.postgres import Postgres
from mt_pipeline.system.addresses import is_address

logger = logging.getLogger(__name__)

PATHS = {"address": "ips", "name": "hostnames"}


@dataclass(frozen=True)
class RetryPolicy:
    """Limits of tries and waits.

    Attributes:
        tries: maximum number of requests for one endpoint.
        pause: seconds before the second try; doubles with each.
        longest_wait: seconds; if the server asks for a longer wait, the provider stops instead.
        connect: seconds to reach the server.
        read: seconds without a byte.
        answer: seconds for a complete answer.
    """

    tries: int = 4
    pause: float = 1
    longest_wait: float = 60
    connect: float = 5
    read: float = 20
    answer: float = 60


class Netify:
    """Asks the Netify Data Feeds API; a `PaidProvider`."""

    name = PROVIDER
    kinds: frozenset[Kind] = frozenset({"address", "name"})

    def __init__(
        self,
        *,
        url: str,
        key: str,
        calls_per_second: float,
        rate_file: Path | Postgres,
        retry: RetryPolicy | None = None,
        budget: Budget | None = None,
    ) -> None:
        """Prepare the requests; none is sent.

        Args:
            url: address of the API, up to and including `/api/v2`.
            key: the API key.
            calls_per_second: limit over all processes that share the rate file.
            rate_file: the file that they share; or Postgres.
            retry: time-outs and tries.
            budget: limit of the number of requests; None for no limit.

        Raises:
            ProviderUnusable: the address or the key is not valid.
        """
        key = key.strip()
        check(url, key)
        self._host = urlsplit(url).hostname
        self._url = url.rstrip("/")
        self._retry = retry or RetryPolicy()
        self._rate = SharedRate(rate_file, per_second=calls_per_second)
        self._budget = budget
        self._session = requests.Session()
        self._adapter = DeadlineAdapter(self._retry.answer)
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

        Each try counts against the rate limit and the budget, so the retries of the HTTP library
        are not used.

        Raises:
            EndpointFailed: all tries got server errors or broken answers.
            ProviderStopped: the key is refused, there are too many calls, or the server cannot be
                reached or trusted.
            BudgetSpent: the budget of requests is spent.
        """
        if not endpoint.value.strip("."):  # dots would change the path
            raise EndpointFailed(f"{endpoint.value!r} cannot be asked about")
        for pause in self._pauses():
            self._rate.wait(longest_hold=self._retry.longest_wait)
            if self._budget is not None:
                self._budget.spend()  # last: what is counted is sent
            try:
                return self._try(endpoint)
            except TryAgain as failure:
                wait = pause if failure.wait is None or pause is None else failure.wait
                if wait is None or wait > self._retry.longest_wait:
                    raise failure.error from None
                logger.info("%s; trying again in %.1f s", failure.error, wait)
                time.sleep(wait)
        raise AssertionError("the last pause is None")

    def _pauses(self) -> Iterator[float | None]:
        """Yield the seconds to wait after each try; None after the last."""
        for number in range(self._retry.tries - 1):
            yield self._retry.pause * 2**number
        yield None

    def _try(self, endpoint: Endpoint) -> Answer:
        value = quote(endpoint.value, safe="", errors="replace")
        url = f"{self._url}/{PATHS[endpoint.kind]}/{value}"
        timeout = (self._retry.connect, self._retry.read)
        try:
            # Following a redirect would send the key along.
            with (
                self._adapter.deadline(),
                self._session.get(
                    url, timeout=timeout, allow_redirects=False, stream=True
                ) as response,
            ):
                return answer_of(endpoint, response, self._wait_of(response))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._failure(endpoint, error) from None

    def _failure(self, endpoint: Endpoint, error: Exception) -> Exception:
        cause = cause_of(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ProviderStopped(
                f"{self._host} does not prove who it is ({cause}), so the key was not sent; "
                "check MT_NETIFY_URL, this machine's clock and whether a proxy is in between; "
                "REQUESTS_CA_BUNDLE names a file of certificates to trust"
            )
        reason = str(cause) or type(cause).__name__
        if is_unreachable(error):
            return TryAgain(
                ProviderStopped(
                    f"{self._host} cannot be reached ({reason}); "
                    "check the network and MT_NETIFY_URL"
                )
            )
        return TryAgain(EndpointFailed(f"no answer for {endpoint.value!r} ({reason})"))

    def _wait_of(self, response: requests.Response) -> float | None:
        """Return for how many seconds the server wants no request, and hold all processes back.

        None if the server does not tell.
        """
        refused = response.status_code == 429 or response.status_code >= 500
        wait = retry_after(response.headers) if refused else None
        if wait is None:
            wait = until_reset(response.headers)
        if wait:
            # This answer is paid for. If the file cannot be used, the next request reports it.
            with suppress(ProviderStopped):
                self._rate.hold(wait)
        return wait


def check(url: str, key: str) -> None:
    """Refuse settings that can never work.

    Raises:
        ProviderUnusable: the address or the key is not valid; the message names the setting.
    """
    if not is_address(url):
        raise ProviderUnusable(
            "MT_NETIFY_URL is not the address of a server; "
            "it looks like https://feeds.netify.ai/api/v2"
        )
    # requests would quote such a key in an error.
    if not key or not key.isascii() or not key.isprintable():
        raise ProviderUnusable(
            "MT_NETIFY_API_KEY is empty or has characters that no key has; "
            "copy it again from your Netify account"
        )
