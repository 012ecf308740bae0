"""A schema written as YAML is read back as itself."""

import msgspec
from hypothesis import given

from marloft.archive.project.schema_yaml import schema_yaml
from marloft.contract.schema import Property, RowSchema
from tests.unit.contract.schema.random_schemas import rows


@given(rows())
def test_block_reads_back_as_the_schema(row: dict[str, Property]) -> None:
    schema = RowSchema(row=row, max_rows=7)
    text = schema_yaml(schema, {("x",): "seen: 1"}, "From rows.")
    assert msgspec.yaml.decode(text.encode(), type=dict[str, RowSchema]) == {"schema": schema}


def test_comment_stands_behind_its_field() -> None:
    field = Property(type=["array", None], items=Property(type="string", enum=["yes", "b c"]))
    text = schema_yaml(RowSchema(row={"on": field}), {("on", "items"): "two values"}, "Head.")
    assert text == (
        "# Head.\n"
        "schema:\n"
        "  max_rows: 500\n"
        "  row:\n"
        '    "on":\n'
        "      type: [array, null]\n"
        '      items: {type: string, enum: ["yes", "b c"]}  # two values\n'
    )
