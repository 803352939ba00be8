"""How requests are sent: with the key in its header, and within a deadline.

It also finds the first cause of a failed request. What the requests ask for is in `client.py`.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from weakref import WeakSet

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.exceptions import ConnectTimeout, ProxyError, SSLError
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, MaxRetryError


class KeyInHeader(AuthBase):
    """Puts the key into its header; an `AuthBase` also keeps requests from reading ~/.netrc."""

    def __init__(self, header: str, key: str) -> None:
        self._header = header
        self._key = key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign a request."""
        request.headers[self._header] = self._key
        return request


class DeadlineAdapter(HTTPAdapter):
    """An HTTPAdapter that can end a request which takes too long; for one request at a time.

    The time-out of a socket starts anew with each byte. A server that sends a byte now and then
    could keep a request open for ever.
    """

    def __init__(self, seconds: float) -> None:
        """Set the seconds for a complete answer."""
        self._seconds = seconds
        self._sockets: WeakSet[socket.socket] = WeakSet()
        super().__init__()

    @contextmanager
    def deadline(self) -> Iterator[None]:
        """Close the connection if the body of the `with` takes longer than the deadline.

        Raises:
            TimeoutError: the body failed for that reason.
        """
        late = threading.Event()
        timer = threading.Timer(self._seconds, self._cut, [late])
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception:
            if late.is_set():
                raise TimeoutError(f"the answer takes more than {self._seconds:.0f} s") from None
            raise
        finally:
            timer.cancel()

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: str | tuple[str, str] | None = None,
    ) -> HTTPConnectionPool:
        """Return the pool of HTTPAdapter, whose connections register their sockets."""
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        assert isinstance(pool, HTTPConnectionPool)  # noqa: S101  its declared type is too wide
        if not issubclass(pool.ConnectionCls, _RegisteringConnection):
            pool.ConnectionCls = type(
                "RegisteringConnection",
                (_RegisteringConnection, pool.ConnectionCls),
                {"sockets": self._sockets},
            )
        return pool

    def _cut(self, late: threading.Event) -> None:
        late.set()
        for connected in list(self._sockets):
            with suppress(OSError):
                # `shutdown` of a TLS socket would unwrap it under the thread that reads it.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _RegisteringConnection(HTTPConnection):
    """Registers its socket when it connects: before it closes, it forgets the socket."""

    sockets: WeakSet[socket.socket]

    def connect(self) -> None:
        super().connect()
        if isinstance(self.sock, socket.socket):
            self.sockets.add(self.sock)


def is_unreachable(error: Exception) -> bool:
    """Return whether the server was not reached, rather than broke off."""
    return isinstance(error, (ConnectTimeout, SSLError, ProxyError)) or (
        bool(error.args) and isinstance(error.args[0], MaxRetryError)
    )


def cause_of(error: BaseException) -> BaseException:
    """Return the first error of the operating system or the protocol, or the passed deadline.

    It has no header of the request in it.
    """
    while isinstance(
        deeper := error.__cause__ or error.__context__, (OSError, HTTPError, HTTPException)
    ) and not isinstance(error, TimeoutError):
        error = deeper
    return error
