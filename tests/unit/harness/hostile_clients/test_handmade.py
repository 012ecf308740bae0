"""The malformed requests made by hand: many, each different, and a good one as a control."""

import json
from collections import Counter

from harness.hostile_clients.handmade import SMUGGLED, TARGETS, handmade, post, predict


def test_there_are_many_of_every_kind_and_none_twice() -> None:
    made = [request for target in TARGETS for request in handmade(target)]
    kinds = Counter(request.kind for request in made)
    assert len(made) > 1000
    assert kinds.keys() == {"framing", "path", "header", "body", "method", "protocol"}
    assert min(kinds.values()) > 40
    doubled = {data for data, n in Counter(request.data for request in made).items() if n > 1}
    # Those without a target of their own.
    assert all(not data.startswith(b"POST /predict ") or len(data) < 200 for data in doubled)


def test_smuggled_request_is_whole() -> None:
    hidden = [r.data for r in handmade("/health") if SMUGGLED.encode() in r.data]
    assert len(hidden) > 10
    for data in hidden:
        at = data.index(b'{"user_id": "%s"' % SMUGGLED.encode())
        body = json.loads(data[at:].split(b"\r\n")[0])
        assert body["user_id"] == SMUGGLED


def test_good_request_says_its_length() -> None:
    head, body = predict(5).split(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert len(json.loads(body)["features"]) == 5


def test_length_is_left_out_when_it_is_empty() -> None:
    assert b"Content-Length" not in post("/", b"abc", length="")
    assert b"Content-Length: 9\r\n" in post("/", b"abc", length="9")
