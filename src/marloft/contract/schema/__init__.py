"""The schema of an archive's requests: JSON Schema 2020-12's words, compiled for speed."""

from marloft.contract.schema.checks import object_faults, read_schema, refusal, schema_faults
from marloft.contract.schema.compiled import (
    annotation,
    binary_field,
    object_type,
    parameters_type,
    row_type,
    rows_decoder,
)
from marloft.contract.schema.document import (
    DIALECT,
    from_json_schema,
    object_document,
    object_fields,
    parameters_schema,
    property_document,
    to_json_schema,
)
from marloft.contract.schema.names import is_json_name, python_name
from marloft.contract.schema.places import escaped, locate
from marloft.contract.schema.property import Property, RowSchema, json_name, rows_property

__all__ = [
    "DIALECT",
    "Property",
    "RowSchema",
    "annotation",
    "binary_field",
    "escaped",
    "from_json_schema",
    "is_json_name",
    "json_name",
    "locate",
    "object_document",
    "object_faults",
    "object_fields",
    "object_type",
    "parameters_schema",
    "parameters_type",
    "property_document",
    "python_name",
    "read_schema",
    "refusal",
    "row_type",
    "rows_decoder",
    "rows_property",
    "schema_faults",
    "to_json_schema",
]
