"""Generated requests: the same for the same number, and off the document."""

import pytest

from harness.factories import REPOSITORY
from harness.hostile_clients.generated import flipped, from_openapi
from harness.hostile_clients.handmade import predict
from harness.hostile_clients.sending import RawRequest

DOCUMENT = REPOSITORY / "docs" / "openapi.yaml"


@pytest.mark.slow
def test_requests_of_the_document_are_the_same_each_time() -> None:
    first, again = from_openapi(DOCUMENT, 30), from_openapi(DOCUMENT, 30)
    assert [request.data for request in first] == [request.data for request in again]
    assert {request.data.split(b" ")[0] for request in first} == {b"POST"}
    assert len({request.data for request in first}) > 15
    other = from_openapi(DOCUMENT, 30, number=2)
    assert [request.data for request in first] != [request.data for request in other]


def test_flipped_requests_are_changed_in_a_few_bytes() -> None:
    good = RawRequest(kind="good", data=predict())
    found = list(flipped([good], 20))
    assert len({request.data for request in found}) > 15
    assert all(abs(len(request.data) - len(good.data)) <= 8 for request in found)
    assert [r.data for r in flipped([good], 20)] == [r.data for r in found]
