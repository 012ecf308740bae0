"""A row schema's document says what the schema says, in whatever order its fields are written."""

import msgspec

from marloft.contract.schema import Property, RowSchema, from_json_schema, to_json_schema
from marloft.files import to_json


def test_document_reads_back_as_itself_whatever_the_order_of_fields() -> None:
    number = Property(type="number", minimum=0)
    schema = RowSchema(row={"b": number, "a": number, "c": Property(type="string", default="")})
    document = msgspec.json.decode(to_json(to_json_schema(schema)))
    assert to_json_schema(from_json_schema(document)) == document
    assert document["items"]["required"] == ["a", "b"]
