"""The schema of an archive's requests: JSON Schema 2020-12's words, compiled for speed."""

from marloft.contract.schema.compiled import annotation, binary_field, row_type, rows_decoder
from marloft.contract.schema.document import (
    DIALECT,
    from_json_schema,
    property_document,
    to_json_schema,
)
from marloft.contract.schema.property import Property, RowSchema, json_name

__all__ = [
    "DIALECT",
    "Property",
    "RowSchema",
    "annotation",
    "binary_field",
    "from_json_schema",
    "json_name",
    "property_document",
    "row_type",
    "rows_decoder",
    "to_json_schema",
]
