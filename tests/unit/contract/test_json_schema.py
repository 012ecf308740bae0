"""JSON Schemas of users: checked, and never fetched."""

import pytest

from marloft.contract.json_schema import fault_of, faults

SCHEMA = {"type": "object", "properties": {"a": {"items": {"type": "integer"}}}}


def test_value_is_checked_with_its_place() -> None:
    assert fault_of({"a": [1, 2]}, SCHEMA) is None
    assert fault_of({"a": [1, "2"]}, SCHEMA) == "/a/1: '2' is not of type 'integer'"
    assert fault_of(3, SCHEMA) == "3 is not of type 'object'"


def test_all_faults_of_a_schema_are_told() -> None:
    assert faults(SCHEMA) == []
    found = faults({"type": "objct", "properties": {"a": {"minimum": "1"}}})
    assert len(found) == 2


def test_reference_out_of_the_file_is_refused_and_not_fetched() -> None:
    outside = {"$ref": "http://127.0.0.1:1/schema.json"}
    assert "leads out of the file" in faults(outside)[0]
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        fault_of(1, outside)
