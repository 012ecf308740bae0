"""A real HTTP server on loopback whose answers a test sets; it remembers what it was asked."""

import http.server
import threading
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct


class Asked(Struct, frozen=True, kw_only=True):
    """One request; names of headers are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Answer(Struct, frozen=True, kw_only=True):
    """One answer."""

    body: bytes | str
    status: int = 200


def as_json(content: object, status: int = 200) -> Answer:
    """Return an answer whose body is `content` as JSON."""
    return Answer(body=msgspec.json.encode(content), status=status)


class LocalServer:
    """Answers every request with what `answer` returns; with None it hangs up without a word."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer | None] = lambda _: Answer(body=b"")
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_request(self) -> None:
                found = server.answer(server.remember(self))
                if found is not None:
                    self.send_response(found.status)
                    self.end_headers()
                    body = found.body
                    self.wfile.write(body if isinstance(body, bytes) else body.encode())

            do_GET = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def remember(self, request: http.server.BaseHTTPRequestHandler) -> Asked:
        """Note a request before it is answered."""
        url = urlsplit(request.path)
        length = int(request.headers.get("content-length", 0))
        asked = Asked(
            method=request.command,
            path=url.path,
            query=dict(parse_qsl(url.query)),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=request.rfile.read(length),
        )
        self.asked.append(asked)
        return asked

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
