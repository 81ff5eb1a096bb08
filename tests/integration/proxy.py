# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTPS proxy between the helper and the API server, which numbers requests and can end the helper at one of them.

The helper comes with a token to an authority of the proxy's own; the proxy goes on with the administrator's
certificate, over a connection of its own for each of the helper's. HTTP/1.1 both ways; watches are streamed.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import pathlib
import secrets
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import yaml
from cluster import Server, hang_up

HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "host", "authorization")


@dataclass
class Request:
    """One request of the helper's."""

    method: str
    path: str
    body: bytes
    start: float  # monotonic: when the proxy had all of it
    end: float = 0  # when the answer was passed on, or its head was for a watch; 0: never
    status: int = 0  # of the answer; 0: none

    @property
    def dry(self) -> bool:
        """Whether the server was asked to change nothing."""
        return "dryRun=All" in self.path

    @property
    def write(self) -> bool:
        """Whether it may change something."""
        return self.method not in ("GET", "HEAD") and not self.dry

    @property
    def done(self) -> bool:
        """Whether it may have changed something: a write that was refused (a conflict, met by another one) did not."""
        return self.write and 0 < self.status < 300

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


@dataclass
class Trap:
    """What is to happen at a write."""

    write: int  # how many were done before it
    forward: bool  # whether the server gets the request before the trap springs
    spring: Callable[[], None]
    cut: bool = True  # whether the helper's requests end there


class Listener(http.server.ThreadingHTTPServer):
    """Has room for the connections of one batch on a busy machine, too; else some would come back a second later."""

    daemon_threads = True
    request_queue_size = 64


class Proxy:
    """Runs in threads of this process, on a port of the loopback's."""

    def __init__(self, server: Server, directory: pathlib.Path) -> None:
        self.server = server
        self.latency = 0.0  # seconds for which each request is held, so that parallel ones overlap
        self.requests: list[Request] = []
        self.token = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._upstream: set[http.client.HTTPSConnection] = set()
        self._trap: Trap | None = None
        self._cut = False
        self._way = threading.Event()  # set: requests and answers get through
        self._way.set()
        certificate, key = directory / "proxy.crt", directory / "proxy.key"
        request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -subj /CN=proxy -days 2"
        command = ["openssl", *request.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key]
        subprocess.run([*command, "-out", certificate], check=True, capture_output=True)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._tls.set_alpn_protocols(["http/1.1"])
        self._listener = Listener(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()
        self.kubeconfig = directory / "proxy.kubeconfig"
        self.kubeconfig.write_text(self._kubeconfig(certificate))

    def _kubeconfig(self, certificate: pathlib.Path) -> str:
        address = f"https://127.0.0.1:{self._listener.server_address[1]}"
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "proxy",
                "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
                "clusters": [
                    {"name": "proxy", "cluster": {"server": address, "certificate-authority": str(certificate)}}
                ],
                "users": [{"name": "proxy", "user": {"token": self.token}}],
            }
        )

    def arm(self, trap: Trap | None) -> None:
        """Begin a new run: forget its predecessor's requests, and end what is left of them."""
        with self._lock:
            self.requests, self._trap, self._cut = [], trap, False
            for connection in self._upstream:
                hang_up(connection)

    def partition(self) -> None:
        """From now on no request arrives and no answer comes back, as if a cable had been pulled."""
        self._way.clear()

    def heal(self) -> None:
        """The way is free again; what was under way is lost."""
        self._way.set()

    def let_through(self) -> None:
        """Hold a request or an answer for as long as there is no way; then it is too late for it."""
        if not self._way.is_set():
            self._way.wait()
            raise ConnectionAbortedError

    def close(self) -> None:
        """Take no more connections."""
        self.heal()
        self._listener.shutdown()
        self._listener.server_close()
        self.arm(None)

    def admit(self, request: Request) -> None:
        """Number a request that arrived."""
        with self._lock:
            if self._cut:
                raise ConnectionAbortedError
            self.requests.append(request)
        self._judge(request, False)

    def answered(self, request: Request, status: int) -> None:
        """Note what the server says to it."""
        request.status = status
        self._judge(request, True)

    def _judge(self, request: Request, forwarded: bool) -> None:
        """Spring the trap if it is this request's. Raises when the helper is to get no answer any more."""
        with self._lock:
            trap = self._trap
            before = sum(other.done for other in self.requests if other is not request)
            if trap is None or not request.write or trap.forward != forwarded or trap.write != before:
                return
            if forwarded and not request.done:
                return
            self._trap, self._cut = None, trap.cut
        trap.spring()
        if trap.cut:
            raise ConnectionAbortedError

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                self.request = proxy._tls.wrap_socket(self.request, server_side=True)
                self.upstream = proxy.server.connect(timeout=700)
                with proxy._lock:
                    proxy._upstream.add(self.upstream)
                super().setup()

            def finish(self) -> None:
                with proxy._lock:
                    proxy._upstream.discard(self.upstream)
                self.upstream.close()
                super().finish()
                self.request.close()

            def handle(self) -> None:
                with contextlib.suppress(OSError, http.client.HTTPException):  # a helper that died, or a run that ended
                    super().handle()

            def log_message(self, *_: object) -> None:
                pass  # what is of interest is in Proxy.requests

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Authorization") != f"Bearer {proxy.token}":
                    self.send_error(401)
                    return
                request = Request(self.command, self.path, body, time.monotonic())
                proxy.let_through()
                proxy.admit(request)
                time.sleep(proxy.latency)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
                self.upstream.request(self.command, self.path, body or None, headers)
                answer = self.upstream.getresponse()
                proxy.let_through()
                proxy.answered(request, answer.status)
                self.pass_on(answer, request)

            def pass_on(self, answer: http.client.HTTPResponse, request: Request) -> None:
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                if "watch=" not in request.path:
                    content = answer.read()
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                    request.end = time.monotonic()
                    return
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                request.end = time.monotonic()
                while part := answer.read1(65536):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815 - the names that http.server calls

        return Handler
