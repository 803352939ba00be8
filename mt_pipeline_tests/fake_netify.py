"""A fake Netify Data Feeds API v2 over real HTTP, in a process of its own.

    with FakeNetify() as netify:
        netify.say("8.8.8.8", status=404)              # from now on, for this endpoint
        netify.say(status=500, times=2)                # whatever the next two requests ask
        ...                                            # ask netify.url
        assert [seen.endpoint for seen in netify.requests()] == ["8.8.8.8"]

Without a rule it answers 200 with `address_body` or `name_body`. The last rule that matches wins.
The test controls the fake below `/_control/`; such requests are not recorded. The process ends with
the block, or with the process of the test.
"""

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

How = Literal["answer", "close", "hang", "drip", "drip-head", "continue", "endless"]
"""How the server answers:

- `answer`: properly.
- `close`: it closes the connection without a byte.
- `hang`: it never sends a byte.
- `drip`: it sends a byte of the body now and then.
- `drip-head`: it sends a byte of a header now and then.
- `continue`: it sends `100 Continue` again and again.
- `endless`: it sends bytes without end.
"""


def address_body(address: str, **data: object) -> dict[str, object]:
    """Return the body for an address: `example-app`, category `business`, in Berlin.

    Args:
        address: the address.
        data: replaces top-level fields.
    """
    application = {
        "id": 1,
        "tag": "example-app",
        "label": "Example",
        "category": {"id": 5, "tag": "business", "label": "Business"},
    }
    place = {
        "continent": {"code": "EU", "label": "Europe"},
        "country": {"code": "DE", "label": "Germany"},
        "region": {"geoname_id": 1, "label": "Berlin"},
        "city": {"geoname_id": 2, "label": "Berlin"},
        "coordinates": {"scale": 10, "latitude": "52.52", "longitude": "13.405"},
    }
    known = {
        "address": address,
        "version": "ipv6" if ":" in address else "ipv4",
        "rdns": {"hostname": "host.example", "application": application},
    }
    return success({**known, "geolocation": place, **data})


def name_body(name: str, **data: object) -> dict[str, object]:
    """Return the body for a name: `example-app`, category `business`, domain of `technology`.

    Args:
        name: the name.
        data: replaces top-level fields.
    """
    application = {
        "id": 1,
        "tag": "example-app",
        "category": {"id": 5, "tag": "business", "label": "Business"},
    }
    domain = {
        "id": 3,
        "label": name,
        "category": {"id": 27, "tag": "technology", "label": "Technology"},
    }
    return success(
        {"hostname": name, "application": application, "domain": domain, "ips": [], **data}
    )


def success(data: object) -> dict[str, object]:
    """Put data into the envelope of a 200."""
    return {"status_code": 0, "status_message": "Success.", "data": data}


@dataclass(frozen=True)
class Seen:
    """A request as the server received it: times in seconds since 1970, `ended` None until then."""

    endpoint: str
    target: str
    headers: list[tuple[str, str]]
    began: float
    ended: float | None = None

    def header(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class FakeNetify:
    """The test's end of the fake."""

    def __init__(self, *, port: int = 0, host: str = "127.0.0.1") -> None:
        self._port, self._host = port, host

    def __enter__(self) -> Self:
        where = ["--port", str(self._port), "--host", self._host]
        command = [sys.executable, "-m", "mt_pipeline_tests.fake_netify", *where]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        self.port = int(self._process.stdout.readline())
        self.root = f"http://{self._host}:{self.port}"
        self.url = f"{self.root}/api/v2"
        # The process of the fake starts in half the time without this import.
        import requests

        self._control = requests.Session()
        self._control.trust_env = False
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.communicate(timeout=60)  # closes its stdin, at which it ends

    def say(
        self,
        endpoint: str | None = None,
        *,
        status: int = 200,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        how: How = "answer",
        delay: float = 0,
        times: int | None = None,
    ) -> None:
        """Add a rule.

        Args:
            endpoint: for which; None for all.
            status: HTTP status.
            body: bytes or text are sent as they are, anything else as JSON. None sends the usual
                body with status 200, and no body with others.
            headers: more headers.
            how: what the server does instead of answering properly.
            delay: seconds before the answer.
            times: how often; None for ever.
        """
        raw = (
            body.encode()
            if isinstance(body, str)
            else body
            if isinstance(body, bytes)
            else None
            if body is None
            else json.dumps(body).encode()
        )
        rule = _Rule(
            endpoint,
            status,
            None if raw is None else base64.b64encode(raw).decode(),
            dict(headers or {}),
            how,
            delay,
            times,
        )
        self._control.post(
            f"{self.root}/_control/say", json=asdict(rule), timeout=60
        ).raise_for_status()

    def requests(self) -> list[Seen]:
        """Return all requests so far, in the order they came."""
        seen = self._control.get(f"{self.root}/_control/requests", timeout=60).json()
        return [
            Seen(**{**one, "headers": [tuple(pair) for pair in one["headers"]]}) for one in seen
        ]

    def asked(self) -> list[str]:
        """Return the endpoints of all requests so far."""
        return [seen.endpoint for seen in self.requests()]

    def reset(self) -> None:
        """Forget rules and requests."""
        self._control.post(f"{self.root}/_control/reset", timeout=60).raise_for_status()


@dataclass
class _Rule:
    endpoint: str | None
    status: int
    body: str | None
    headers: dict[str, str]
    how: How
    delay: float
    times: int | None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _Handler)
        self.lock = threading.Lock()
        self.rules: list[_Rule] = []
        self.seen: list[Seen] = []

    def rule_for(self, endpoint: str) -> _Rule:
        with self.lock:
            for rule in reversed(self.rules):
                if rule.endpoint in (None, endpoint) and rule.times != 0:
                    if rule.times is not None:
                        rule.times -= 1
                    return rule
        return _Rule(None, 200, None, {}, "answer", 0, None)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: that a client went away is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:  # the name that http.server calls
        if self.path.startswith("/_control/"):
            self._reply(200, json.dumps([asdict(seen) for seen in self.server.seen]).encode(), {})
            return
        *_, collection, last = ["", *urlsplit(self.path).path.split("/")]
        endpoint = unquote(last)
        with self.server.lock:
            number = len(self.server.seen)
            self.server.seen.append(
                Seen(endpoint, self.path, list(self.headers.items()), time.time())
            )
        try:
            self._follow(self.server.rule_for(endpoint), collection, endpoint)
        finally:
            with self.server.lock, contextlib.suppress(IndexError):  # forgotten meanwhile
                began = self.server.seen[number]
                self.server.seen[number] = Seen(
                    began.endpoint, began.target, began.headers, began.began, time.time()
                )

    def do_POST(self) -> None:  # the name that http.server calls
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            if self.path == "/_control/say":
                self.server.rules.append(_Rule(**json.loads(body)))
            else:
                self.server.rules.clear()
                self.server.seen.clear()
        self._reply(200, b"", {})

    def _follow(self, rule: _Rule, collection: str, endpoint: str) -> None:
        time.sleep(rule.delay)
        body = b"" if rule.body is None else base64.b64decode(rule.body)
        if rule.body is None and rule.status == 200:
            body = json.dumps(
                address_body(endpoint) if collection == "ips" else name_body(endpoint)
            ).encode()
        if rule.how == "answer":
            self._reply(rule.status, body, rule.headers)
            return
        self.close_connection = True
        if rule.how == "hang":
            threading.Event().wait()
        elif rule.how in ("drip-head", "continue"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: " if rule.how == "drip-head" else b"")
            while True:
                self.wfile.write(
                    b"x" if rule.how == "drip-head" else b"HTTP/1.1 100 Continue\r\n\r\n"
                )
                time.sleep(0.05)
        elif rule.how in ("drip", "endless"):
            self._reply(rule.status, b"", {**rule.headers, "Content-Length": str(10**12)})
            while True:  # until the other side has enough of it
                self.wfile.write(b" " if rule.how == "drip" else b" " * 65536)
                time.sleep(0.05 if rule.how == "drip" else 0)

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            self.send_header(name, value)
        self._headers_buffer.append(b"\r\n" + body)  # one write, one segment
        self.flush_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until stdin ends."""
    _, _, port, _, host = sys.argv
    server = _Server(host, int(port))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # hanging answers must not keep it


if __name__ == "__main__":
    main()
