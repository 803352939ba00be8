"""How requests are sent: with a deadline, and the key in its header; and what came first when one failed. What they ask is not said here."""

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
    """Puts the key into its header. As requests' own way to authenticate, it also keeps ~/.netrc out."""

    def __init__(self, header: str, key: str) -> None:
        self._header = header
        self._key = key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Sign a request."""
        request.headers[self._header] = self._key
        return request


class DeadlineAdapter(HTTPAdapter):
    """Sends as HTTPAdapter does, and can cut off what is under way; one request at a time.

    Time-outs of sockets count from byte to byte: a server that sends one now and then, be it of the first line, would keep a request for ever.
    """

    def __init__(self, seconds: float) -> None:
        """Prepare; `seconds` are for a whole answer."""
        self._seconds = seconds
        self._sockets: WeakSet[socket.socket] = WeakSet()
        super().__init__()

    @contextmanager
    def deadline(self) -> Iterator[None]:
        """Give what is done inside so many seconds; then its connection ends.

        Raises:
            TimeoutError: it failed for that reason.
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
        """Find the pool as HTTPAdapter does, and let its connections tell their sockets."""
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        assert isinstance(pool, HTTPConnectionPool)  # noqa: S101  its declared type is too wide
        if not issubclass(pool.ConnectionCls, _Telling):
            pool.ConnectionCls = type(
                "Telling", (_Telling, pool.ConnectionCls), {"sockets": self._sockets}
            )
        return pool

    def _cut(self, late: threading.Event) -> None:
        late.set()
        for one in list(self._sockets):
            with suppress(OSError):
                socket.socket.shutdown(
                    one, socket.SHUT_RDWR
                )  # a TLS socket's own would first take leave from under whoever reads


class _Telling(HTTPConnection):
    """A connection that tells its socket: once it is asked to close after an answer it does not know it any more."""

    sockets: WeakSet[socket.socket]

    def connect(self) -> None:
        super().connect()
        if isinstance(self.sock, socket.socket):
            self.sockets.add(self.sock)


def is_unreachable(error: Exception) -> bool:
    """Tell a server that is not there from one that broke off."""
    return isinstance(error, (ConnectTimeout, SSLError, ProxyError)) or (
        bool(error.args) and isinstance(error.args[0], MaxRetryError)
    )


def cause_of(error: BaseException) -> BaseException:
    """Return what the operating system or the protocol raised first, or that a deadline passed, which made them raise; it holds no header."""
    while isinstance(
        deeper := error.__cause__ or error.__context__, (OSError, HTTPError, HTTPException)
    ) and not isinstance(error, TimeoutError):
        error = deeper
    return error
