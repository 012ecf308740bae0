"""Malformed requests made by hand: framing, paths, headers, bodies, protocols.

A smuggled request, one that a server would only see if it misread where another ends, asks for
`SMUGGLED` as its user: no record may name it.
"""

import gzip
import json
from collections.abc import Iterator

from harness.hostile_clients.sending import RawRequest

SMUGGLED = "smuggled"
TARGETS = ("/predict", "/models/ranker/predict", "/outcomes", "/health")
_BODY = b'{"user_id": 7, "features": [{"item_id": 50}, {"item_id": 172}, {"item_id": 29}]}'
_JSON = ("Content-Type: application/json",)


def handmade(target: str) -> Iterator[RawRequest]:
    """Return every malformed request to a target, each with bytes of its own."""
    yield from _framing(target)
    yield from _paths(target)
    yield from _headers(target)
    yield from _bodies(target)
    yield from _protocols(target)


def predict(rows: int = 3) -> bytes:
    """Return a good request of `rows` candidates."""
    items = [{"item_id": 1 + n % 1000} for n in range(rows)]
    return post("/predict", json.dumps({"user_id": 7, "features": items}).encode())


def post(
    target: str | bytes,
    body: bytes = _BODY,
    headers: tuple[str | bytes, ...] = _JSON,
    *,
    method: str = "POST",
    version: str = "HTTP/1.1",
    length: str | None = None,
) -> bytes:
    """Return the bytes of a request; headers are sent as they are, `length` instead of the true."""
    path = target if isinstance(target, bytes) else target.encode()
    size = str(len(body)) if length is None else length
    lines = [b"%s %s %s" % (method.encode(), path, version.encode()), b"Host: gateway"]
    lines += [each if isinstance(each, bytes) else each.encode() for each in headers]
    if size:
        lines.append(f"Content-Length: {size}".encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _framing(target: str) -> Iterator[RawRequest]:
    chunked = (*_JSON, "Transfer-Encoding: chunked")
    hidden = post(
        "/predict", b'{"user_id": "%s", "features": [{"item_id": 1}]}' % SMUGGLED.encode()
    )
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)

    def framed(data: bytes, **more: bool) -> RawRequest:
        return RawRequest(kind="framing", data=data, **more)

    for size in ("zz", "-1", "0x10", "1_0", "", " 5", "5 ", "1" * 40):
        yield framed(post(target, size.encode() + b"\r\nhello\r\n0\r\n\r\n", chunked, length=""))
    yield framed(post(target, b"f" * 16 + b"\r\nhello\r\n", chunked, length=""), hangs_up=True)
    yield framed(post(target, chunks[:-2], chunked, length=""), hangs_up=True)
    yield framed(post(target, chunks + b"trailing", chunked, length=""))
    yield framed(post(target, chunks.replace(b"\r\n", b"\n"), chunked, length=""), hangs_up=True)
    yield framed(post(target, b"5;" + b"x" * 9000 + b"\r\nhello\r\n0\r\n\r\n", chunked, length=""))
    yield framed(post(target, b"0\r\nX-Marloft: release=9\r\n\r\n", chunked, length=""))
    # One server takes the length, another the chunks: what follows is then a request of its own.
    yield framed(post(target, b"0\r\n\r\n" + hidden, chunked))
    yield framed(
        post(target, b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden), chunked, length="4")
    )
    for coding in ("xchunked", "chunked, identity", "identity", "chunked;q=1", "Chunked, chunked"):
        odd = (*_JSON, f"Transfer-Encoding: {coding}")
        yield framed(post(target, b"0\r\n\r\n" + hidden, odd))
        yield framed(post(target, b"0\r\n\r\n" + hidden, odd, length=""))
    for odd_name in ("Transfer-Encoding : chunked", " Transfer-Encoding: chunked"):
        yield framed(post(target, b"0\r\n\r\n" + hidden, (*_JSON, odd_name)))
    for length in ("-1", "+5", "0x5", "5, 5", "5, 6", "1e2", "9" * 30, "5 5", "\u0665"):
        yield framed(post(target, length=length), hangs_up=True)
    yield framed(post(target, _BODY + hidden, (*_JSON, "Content-Length: 5")), hangs_up=True)
    yield framed(post(target, length=str(len(_BODY) + 50)), hangs_up=True)
    yield framed(post(target, length=str(10**12)), hangs_up=True)
    yield framed(post(target, length=str(len(_BODY) - 9)), hangs_up=True)
    yield framed(b"\r\n\r\n\r\n" + post(target))
    yield framed(post(target).replace(b"\r\n", b"\n"), hangs_up=True)
    yield framed(post(target).replace(b"\r\n", b"\r"), hangs_up=True)
    yield framed(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, hangs_up=True)
    yield framed(b"\x00" * 512, hangs_up=True)
    yield framed(b"GET", hangs_up=True)
    yield framed(b"", hangs_up=True)


def _paths(target: str) -> Iterator[RawRequest]:
    name = target.strip("/")
    odd = [
        f"/..{target}", f"/../..{target}/../../predictions/ranker", f"/%2e%2e{target}",
        f"{target}/..%2f..%2fmodels", f"{target}%00", f"{target}%0d%0aX-Marloft:%20release=9",
        f"//{name}", f"/.{target}", f"{target}/", f"{target}//", f"{target};x=1", f"\\{name}",
        f"/{name.upper()}", f"/%70redict/{name}", f"{target}%2f", f"{target}%5c..",
        f"{target}?{'a' * 70_000}", f"{target}?model_version=2.0", f"{target}#fragment",
        f"{target}?%", f"{target}%zz", f"{target}%", "/" + "a/" * 20_000, "/" + "%2e%2e/" * 3000,
        "/predictions/ranker", "/models", "/models/ranker/1.0", "/metrics", "/api-description",
        "/models/../models/ranker/predict", "/models/%2e%2e/predict", "/models//predict",
        "/models/ranker%2fpredict", "/models/ranker/../outcomes/predict", "*", "",
        "/workflows", "/wfpredict/feed_ab", "/explanations/ranker", "/v1/models/ranker:predict",
        "/stats/prometheus", "/quitquitquit", "/ping", f"http://gateway{target}",
        f"http://other.example{target}", f"http://user:word@gateway{target}", f"https:{target}",
        f"file://{target}", f"ftp://gateway{target}", f"http://[::1{target}", "gateway:8000",
    ]  # fmt: skip
    for path in odd:
        yield RawRequest(kind="path", data=post(path))
    for raw in (b"\xff\xfe", b"\xc3\x28", b"\x80", b"\x01", b"\x7f", b" ", b"\t", b"\x00"):
        yield RawRequest(kind="path", data=post(target.encode() + raw + b"x"))


def _headers(target: str) -> Iterator[RawRequest]:
    odd: list[str | bytes] = [
        "X-Marloft: release=9;version=2.0", "x-marloft-v: ../../models", "X-Marloft-Unit: 1",
        "X_Marloft: release=9", "X-User-Id: 7\r\n X-Marloft: 1", "X-User-Id: a b",
        "X-User-Id: " + "u" * 129, "X-User-Id:", "X-User-Id: 7\r\nX-User-Id: 8",
        "X-Request-Id: \x01", "X-Request-Id: " + "r" * 5000, "X-Model-Version: 9.9",
        "X-Model-Version: 1.0\r\nX-Model-Version: 2.0", "X-Model-Version: ../1.0",
        "X-Model-Version: ", "Host: other", "Host:", "Connection: close, X-Marloft",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        "Expect: 200-ok", "Range: bytes=0-1", "Content-Encoding: gzip", "Content-Encoding: br",
        "X-Forwarded-For: " + "1.1.1.1," * 900, "X-Forwarded-Proto: file", "Forwarded: for=_x",
        "X-Envoy-Upstream-Rq-Timeout-Ms: 1", "X-Envoy-Max-Retries: 1000",
        "X-Envoy-Original-Path: /models", "X-Envoy-Retry-On: 5xx", "X-HTTP-Method-Override: DELETE",
        "X-Rewrite-Url: /models", "TE: trailers, deflate", "Trailer: Content-Length",
        "Proxy-Connection: keep-alive", "Max-Forwards: 0", "Accept: " + "a/b," * 3000,
        "A" * 9000 + ": 1", "No-Colon", ": no name", "Na me: 1", "Na\tme: 1", "(name): 1",
        "Name: a\x00b", "Name: a\nX-Marloft: 1", "Name: a\rX-Marloft: 1", "Name: \x7f",
        "Accept-Encoding: gzip;q=2, *;q=-1", "Authorization: " + "x" * 8000,
        "Cookie: " + "c=1; " * 3000, b"Name: \xff\xfe", b"N\xe4me: 1", "X-Big: " + "x" * 100_000,
    ]  # fmt: skip
    odd += ["\r\n".join(f"X-{n}: {n}" for n in range(count)) for count in (90, 101, 5000)]
    for header in odd:
        yield RawRequest(kind="header", data=post(target, headers=(*_JSON, header)))
    kinds = ["text/plain", "application/xml", "multipart/form-data", "a" * 5000, "", "/", "*/*"]
    kinds += ["application/json; charset=utf-16", "application/JSON", "application/json, text/x"]
    kinds += ["application/x-www-form-urlencoded", "application/json;" + "x" * 4000, "image/png"]
    for kind in kinds:
        yield RawRequest(kind="header", data=post(target, headers=(f"Content-Type: {kind}",)))
    twice = (*_JSON, "Content-Type: text/plain")
    yield RawRequest(kind="header", data=post(target, headers=twice))
    yield RawRequest(kind="header", data=post(target, headers=()))


def _bodies(target: str) -> Iterator[RawRequest]:
    row = b'"features": [{"item_id": 50}]'
    bodies = [
        b"", b"{", b"}", b"null", b"[]", b"7", b'"text"', b"true", b"{}", b"\x00", b"{'a': 1}",
        b"[" * 50_000, b'{"a":' * 50_000, b"[" * 500_000 + b"]" * 500_000,
        b'{"features": ' + b"[" * 300 + b"]" * 300 + b"}", b'{"features": [[[[{}]]]]}',
        b"{%s, %s}" % (row, row), b'{"user_id": 7, "user_id": 8, %s}' % row,
        b'{"model_version": "1.0", "model_version": "2.0", %s}' % row,
        b'{"user_id": 1e400, %s}' % row, b'{"user_id": %s, %s}' % (b"9" * 5000, row),
        b'{"user_id": -0, %s}' % row, b'{"user_id": 1.5, %s}' % row,
        b'{"user_id": true, %s}' % row, b'{"user_id": {"a": 1}, %s}' % row,
        b'{"user_id": [7], %s}' % row, b'{"user_id": "a\\r\\nX-Marloft: 1", %s}' % row,
        b'{"user_id": "a\\u0000", %s}' % row, b'{"user_id": "\\ud800", %s}' % row,
        b'{"user_id": "%s", %s}' % (b"u" * 100_000, row), b'{"user_id": "", %s}' % row,
        b'{"request_id": "a b", %s}' % row, b'{"request_id": 5, %s}' % row,
        b'{"model_version": 1.0, %s}' % row, b'{"model_version": "../2.0", %s}' % row,
        b'{"model_version": null, "user_id": null, %s}' % row, b'{"x-marloft": "a", %s}' % row,
        b'{"features": NaN}', b'{"features": [{"item_id": NaN}]}',
        b'{"features": [{"item_id": Infinity}]}', b'{"features": [{"item_id": 1e999}]}',
        b'{"features": [{"item_id": %s}]}' % (b"1" * 4000), b'{"features": [{"item_id": -1}]}',
        b'{"features": [{"item_id": 50.5}]}', b'{"features": [{"item_id": "50"}]}',
        b'{"features": [{"item_id": null}]}', b'{"features": [{}]}', b'{"features": []}',
        b'{"features": {}}', b'{"features": null}', b'{"features": "x"}',
        b'{"features": [{"item_id": 50}, 7]}', b'{"features": [{"item_id": 50, "more": 1}]}',
        b'{"features": [' + b'{"item_id": 50},' * 501 + b'{"item_id": 50}]}',
        b'{"features": [' + b'{"item_id": 50},' * 60_000 + b'{"item_id": 50}]}',
        b'{"__proto__": {"a": 1}, %s}' % row, b"{%s}//comment" % row, b"{%s,}" % row,
        b"{%s} {%s}" % (row, row), b"\xef\xbb\xbf{%s}" % row, b"{%s}\x00" % row,
        f"{{{row.decode()}}}".encode("utf-16"), f"{{{row.decode()}}}".encode("utf-32-le"),
        b'{"user_id": "\xff\xfe", %s}' % row, b'{"user_id": "\xc0\xaf", %s}' % row,
        b'{"%s": 1, %s}' % (b"k" * 500_000, row), b" " * 900_000 + b"{%s}" % row,
        b"x" * (1 << 20), b"x" * ((1 << 20) + 1), b'{"event": "click", "request_id": "nobody"}',
        b'{"parameters": {"a": 1}, %s}' % row, b'{"parameters": 5, %s}' % row,
    ]  # fmt: skip
    for body in bodies:
        yield RawRequest(kind="body", data=post(target, body))
    bomb = gzip.compress(b" " * (50 << 20) + _BODY)
    for coding in ("gzip", "deflate", "gzip, gzip", "br", "zstd"):
        coded = (*_JSON, f"Content-Encoding: {coding}")
        yield RawRequest(kind="body", data=post(target, bomb, coded))
    yield RawRequest(kind="body", data=post(target, gzip.compress(_BODY)))


def _protocols(target: str) -> Iterator[RawRequest]:
    methods = ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PRI", "FOO"]
    for method in [*methods, "HEAD", "M" * 5000, "PO ST", "POST\x00", ""]:
        yield RawRequest(kind="method", data=post(target, method=method))
    for version in ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/3", "HTTP/1.2", "http/1.1", "X", ""):
        yield RawRequest(kind="protocol", data=post(target, version=version))
    kept = (*_JSON, "Connection: keep-alive")
    yield RawRequest(kind="protocol", data=post(target, headers=kept, version="HTTP/1.0"))
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    yield RawRequest(kind="protocol", data=post(target, headers=(*_JSON, *upgrade)))
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield RawRequest(kind="protocol", data=preface + b"\x00\x00\x00\x04\x00" * 9, hangs_up=True)
    yield RawRequest(kind="protocol", data=preface + b"\xff" * 64, hangs_up=True)
    expects = (*_JSON, "Expect: 100-continue")
    yield RawRequest(kind="protocol", data=post(target, headers=expects))
    yield RawRequest(kind="protocol", data=post(target, b"", expects, length="80"), hangs_up=True)
    yield RawRequest(kind="protocol", data=post(target) * 8, answers=8)
    bad = post(target, b"{") + post(target) + post("/nowhere") + post(target, method="PUT")
    yield RawRequest(kind="protocol", data=bad, answers=4)
    yield RawRequest(kind="protocol", data=post("/health", b"", (), method="GET") * 8, answers=8)
