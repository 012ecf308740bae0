"""A refusal names its place in full, whatever the names of fields and keys."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marloft.contract.schema import Property, RowSchema, locate, rows_decoder, rows_property
from marloft.contract.schema.places import RequestPlace
from tests.unit.contract.schema.random_schemas import ANYTHING, rows, values_for

COUNT = Property(type="integer", minimum=0)
LIST = Property(type="array", items=COUNT)
SCHEMA = RowSchema(
    row={
        "home_dest": Property(type="integer", alias="home.dest", default=0),
        "home": Property(type="object", properties={"dest": COUNT, "tags": COUNT}, default={
            "dest": 1, "tags": 1}),
        "counts": Property(type="object", additional_properties=COUNT, default={}),
        "deep": Property(
            type="array",
            items=Property(type="object", additional_properties=LIST),
            default=[],
        ),
        "odd": Property(type="string", alias="a[0]/~", enum=["x", "y"], default="x"),
    }
)  # fmt: skip


def place_of(features: Any, schema: RowSchema = SCHEMA) -> RequestPlace:
    data = msgspec.json.encode(features)
    with pytest.raises(msgspec.ValidationError) as refused:
        rows_decoder(schema).decode(data)
    path = str(refused.value).partition(" - at `")[2].removesuffix("`") or "$"
    return locate(rows_property(schema), path, data)


@pytest.mark.parametrize(
    ("row", "pointer"),
    [
        ({"home.dest": "x"}, "/0/home.dest"),
        ({"home": {"dest": -1, "tags": 1}}, "/0/home/dest"),
        ({"home": {"tags": 1}}, "/0/home"),
        ({"counts": {"a": 1, "b.c/d": -1}}, "/0/counts/b.c~1d"),
        ({"counts": 3}, "/0/counts"),
        ({"deep": [{}, {"x": [1], "y": [1, -1]}]}, "/0/deep/1/y/1"),
        ({"a[0]/~": "z"}, "/0/a[0]~1~0"),
        ({"nothing": 1}, "/0"),
    ],
)
def test_place_is_a_pointer_in_full(row: Any, pointer: str) -> None:
    assert place_of([row]).pointer == pointer


def test_names_and_values_of_the_place_are_known() -> None:
    assert place_of([{"home": {"des": 1}}]).fields == ["dest", "tags"]
    assert place_of([{"hom": {}}]).fields == ["home.dest", "home", "counts", "deep", "a[0]/~"]
    assert place_of([{"a[0]/~": "z"}]).values == ["x", "y"]


def test_text_that_is_no_json_further_on_keeps_what_is_known() -> None:
    data = b'[{"counts": {"a": -1}}, '
    assert locate(rows_property(SCHEMA), "$[0].counts[...]", data).pointer == "/0/counts"


@given(st.data(), rows())
def test_pointer_leads_to_a_value_of_the_request(
    data: st.DataObject, row: dict[str, Property]
) -> None:
    schema = RowSchema(row=row, max_rows=2)
    one_row = Property(type="object", properties=row)
    features = data.draw(st.lists(values_for(one_row) | ANYTHING, max_size=3))
    try:
        rows_decoder(schema).decode(msgspec.json.encode(features))
    except msgspec.ValidationError:
        node: Any = features
        for step in place_of(features, schema).pointer.split("/")[1:]:
            node = node[int(step) if isinstance(node, list) else unescaped(step)]


def unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
