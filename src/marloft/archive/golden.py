"""Golden answers: parsed, and checked against the schema of the requests."""

import re
from typing import Any

import msgspec

from marloft.contract.manifest import GOLDEN_JSONL, GoldenAnswer, decode_golden
from marloft.contract.predict_api import ParameterEnvelope, RequestEnvelope
from marloft.contract.schema import RowSchema, parameters_type, rows_decoder
from marloft.errors import ConfigError

# What names, bounds and patterns that msgspec cannot hold raise; a foreign archive may have any.
_UNCOMPILED = (
    *(TypeError, ValueError, ArithmeticError, NotImplementedError, RecursionError, re.error),
)


def parse_golden(data: bytes, schema: RowSchema) -> list[GoldenAnswer]:
    """Return the recorded answers of `golden.jsonl`.

    Raises:
        ConfigError: the schema cannot be compiled, there is no line, a line is not a golden
            answer, or its request is one that the schema refuses.
    """
    decoder = compile_schema(schema)
    envelope = ParameterEnvelope if schema.parameters else RequestEnvelope
    parameters = parameters_type(schema)
    answers = decode_golden(data)
    if not answers:
        raise ConfigError(f"{GOLDEN_JSONL} is empty; record at least one answer.")
    for number, answer in enumerate(answers, start=1):
        try:
            body = msgspec.json.encode(answer.request)
            decoder.decode(msgspec.json.decode(body, type=envelope).features)
            if schema.parameters:
                msgspec.convert(answer.request.get("parameters", {}), parameters)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{GOLDEN_JSONL}:{number}: the schema refuses it: {error}") from None
    return answers


def compile_schema(schema: RowSchema) -> "msgspec.json.Decoder[list[Any]]":
    """Compile the schema; raises ConfigError with the cause when its bounds make no sense."""
    try:
        parameters_type(schema)
        return rows_decoder(schema)
    except _UNCOMPILED as error:
        raise ConfigError(f"schema: {error}; correct the field's bounds.") from None
