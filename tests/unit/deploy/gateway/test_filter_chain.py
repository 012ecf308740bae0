"""The order of the filters: what is checked is checked before it is used."""

from typing import Any

import pytest

from marloft.deploy.gateway.filter_chain import http_filters


@pytest.fixture
def filters() -> list[Any]:
    return http_filters(1000)


def names(filters: list[Any]) -> list[str]:
    return [each["name"].rsplit(".", 1)[1] for each in filters]


def test_ids_are_checked_before_they_are_copied_into_headers(filters: list[Any]) -> None:
    found = names(filters)
    assert found.index("json_to_metadata") < found.index("rbac") < found.index("header_mutation")
    assert found[-1] == "router"


def test_body_is_limited_before_it_is_read(filters: list[Any]) -> None:
    found = names(filters)
    assert found.index("buffer") < found.index("json_to_metadata")
    assert filters[found.index("buffer")]["typed_config"]["max_request_bytes"] == 1000
