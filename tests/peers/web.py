"""A web server on loopback with a certificate per name: MTA-STS policies and whatever is posted."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

from tests.peers.threads import serving


class Web:
    """`pages[(host, path)]` are answered as text/plain; `posts` holds (host, path, body)."""

    def __init__(self, pages: Mapping[tuple[str, str], bytes]) -> None:
        self.pages = dict(pages)
        self.posts: list[tuple[str, str, bytes]] = []
        self.port = 0


@contextlib.contextmanager
def web(pages: Mapping[tuple[str, str], bytes], authority: trustme.CA, *names: str) -> Iterator[Web]:
    """One certificate of `authority` for all `names`."""
    state = Web(pages)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = state.pages.get((self.headers["Host"].partition(":")[0], self.path))
            self.answer(200 if page is not None else 404, page or b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.posts.append((self.headers["Host"].partition(":")[0], self.path, body))
            self.answer(201, b"")

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that does not trust us is no news."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    with serving(server):
        yield state
