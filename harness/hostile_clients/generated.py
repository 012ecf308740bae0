"""Malformed requests nobody thought of: schemathesis on the OpenAPI document, and flipped bytes."""

import json
import random
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode

from harness.hostile_clients.handmade import post
from harness.hostile_clients.sending import RawRequest

# What schemathesis adds to every case; one of them is random.
_ITS_OWN = {"user-agent", "accept", "accept-encoding", "connection", "x-schemathesis-testcaseid"}


def from_openapi(document: Path, count: int, number: int = 1) -> list[RawRequest]:
    """Return about `count` requests that break the document, as many for each operation.

    `number` seeds them: the same number, the same requests.
    """
    schema = schemathesis.openapi.from_path(document)
    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
    # An operation that takes nothing cannot be asked wrongly, by this document's word.
    takers = [each for each in operations if each.body or each.path_parameters or each.headers]
    found: list[RawRequest] = []
    for operation in takers:
        cases = _cases(operation, count // len(takers), number)
        found += [RawRequest(kind="openapi", data=_bytes(case)) for case in cases]
    return found


def flipped(requests: Sequence[RawRequest], count: int, number: int = 1) -> Iterator[RawRequest]:
    """Return `count` of the requests, each with a few bytes changed, dropped or doubled.

    Their clients hang up: a changed length can promise a body that never comes.
    """
    chance = random.Random(number)  # noqa: S311
    for _ in range(count):
        data = bytearray(chance.choice(requests).data)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(min(len(data), 400)) if data else 0
            data[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
        yield RawRequest(kind="flipped bytes", data=bytes(data), hangs_up=True)


def _cases(operation: Any, count: int, number: int) -> list[Case[Any]]:
    found: list[Case[Any]] = []

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def take(case: Case[Any]) -> None:
        found.append(case)

    with warnings.catch_warnings():
        # Of its own strategies, about characters in header values.
        warnings.simplefilter("ignore")
        take()
    return found


def _bytes(case: Case[Any]) -> bytes:
    """Return a case as it goes over the wire; `requests` would refuse to send some of them."""
    sent = case.as_transport_kwargs(base_url="http://gateway")
    target = sent["url"].removeprefix("http://gateway")
    if sent.get("params"):
        target += "?" + urlencode(sent["params"])
    body = json.dumps(sent["json"]) if "json" in sent else sent.get("data", b"")
    data = body if isinstance(body, bytes) else str(body).encode()
    headers = tuple(
        f"{name}: {value}".encode()
        for name, value in sent["headers"].items()
        if name.lower() not in _ITS_OWN
    )
    return post(target, data, headers, method=sent["method"])
