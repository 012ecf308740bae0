"""Parameters of a request: three ways to send one, and what is said of each that is wrong."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from marloft.contract.manifest import ARCHIVE_JSON, Manifest, WorkerSettings
from marloft.contract.schema import Property, RowSchema, to_json_schema
from marloft.files import to_json, write_atomic, write_json
from marloft.runtimes import Arrays
from marloft.serving import Handler, LoadedArchive, Prediction, Rejected, Request
from marloft.serving.parameters import ParameterReader
from tests.unit.serving.driver import Sent, Server

JPEG = "image/jpeg"
SCHEMA = RowSchema(
    row={"image": Property(type="string", content_encoding="base64", content_media_type=JPEG)},
    parameters={
        "top_k": Property(type="integer", minimum=1, maximum=100),
        "language": Property(type="string", enum=["en", "de"], default="en"),
        "threshold": Property(type="number", default=0.5),
        "exact": Property(type="boolean", default=False),
        "words": Property(type="array", items=Property(type="string"), default=[]),
    },
)
PLAIN = RowSchema(row=SCHEMA.row)
BODY = {"features": [{"image": "AAAA"}]}
DEFAULTS = {"language": "en", "threshold": 0.5, "exact": False, "words": []}


class Telling(Handler):
    """Answers with the parameters that it was asked with."""

    def load(self, archive: LoadedArchive) -> None:
        pass

    def decode(self, request: Request) -> Arrays:
        return {"n": np.ones(len(request.rows))}

    def predict(self, inputs: Arrays) -> Arrays:
        return inputs

    def encode(self, request: Request, outputs: Arrays) -> Prediction:  # noqa: ARG002
        names = request.parameters.__struct_fields__
        told = {name: getattr(request.parameters, name) for name in names}
        return Prediction(prediction=[told], confidence=1.0)


def serve(folder: Path, schema: RowSchema, registered: str = "lens") -> Server:
    write_atomic(folder / "archive" / "schema.json", to_json(to_json_schema(schema)))
    manifest = Manifest(
        name="lens",
        version="1.0",
        runtime=None,
        artifact=None,
        handler="lens.py",
        members={},
        settings=WorkerSettings(),
        accepts=["application/json", JPEG],
        golden_tolerance=1e-4,
        parents={},
        requires={},
        sensitive_features_at_serving=[],
    )
    write_json(folder / "archive" / ARCHIVE_JSON, manifest)
    return Server(Telling(), folder / "archive", folder / "var", registered=registered)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    return serve(tmp_path, SCHEMA)


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    return serve(tmp_path, PLAIN)


def _json(parameters: Any = None, **headers: str) -> Sent:
    body = BODY if parameters is None else BODY | {"parameters": parameters}
    return Sent(body=body, headers={name.replace("_", "-"): v for name, v in headers.items()})


def _query(text: str, *, raw: bool = False) -> Sent:
    headers = {"x-marloft-query": f"/models/lens/predict?{text}"}
    if raw:
        return Sent(body=b"\xff\xd8", content_type=JPEG, headers=headers)
    return Sent(body=BODY, headers=headers)


@pytest.mark.parametrize(
    "sent",
    [
        _json({"top_k": 5, "language": "de"}),
        _query("top_k=5&language=de"),
        _json(x_parameter_top_k="5", x_parameter_language="de"),
        _json({"top_k": 5}, x_parameter_language="de"),
        _json({"top_k": 5, "language": "de"}, x_parameter_top_k="5"),
        _query("top_k=5&language=de", raw=True),
        _query("top_k=%35&l%61nguage=d%65"),
        Sent(
            body=b"\xff\xd8",
            content_type=JPEG,
            headers={"x-parameter-top-k": "5", "x-parameter-language": "de"},
        ),
        Sent(body=BODY, query={"top_k": "5", "language": "de"}),
        Sent(body=BODY, query={"top_k": "5", "language": "de", "model_name": "lens"}),
    ],
)
def test_every_way_gives_the_same_parameters(server: Server, sent: Sent) -> None:
    (answer,) = server.ask(sent)
    wanted = DEFAULTS | {"top_k": 5, "language": "de"}
    assert (answer.status, answer.body.get("prediction")) == (200, [wanted])
    assert server.records()[0]["parameters"] == wanted


def test_text_is_converted_by_the_declared_type(server: Server) -> None:
    (answer,) = server.ask(
        _query("top_k=5&threshold=0.25&exact=true&words=%5B%22a+b%22%2C%22%C3%A9%22%5D")
    )
    (told,) = answer.body["prediction"]
    assert told == {
        "top_k": 5,
        "language": "en",
        "threshold": 0.25,
        "exact": True,
        "words": ["a b", "é"],
    }


@pytest.mark.parametrize(
    ("sent", "pointer", "words"),
    [
        (
            _json(),
            "/parameters/top_k",
            "Parameter 'top_k' is missing; send it in a JSON body as "
            '"parameters": {"top_k": …}, in the query as ?top_k=…, or as header x-parameter-top-k.',
        ),
        (_json([]), "/parameters", "Expected 'object', got 'array'."),
        (_json({"topk": 5}), "/parameters/topk", "Unknown parameter 'topk'. Did you mean 'top_k'?"),
        (
            _json({"a/b": 5}),
            "/parameters/a~1b",
            "Unknown parameter 'a/b'. Allowed: exact, language",
        ),
        (_json({"top_k": 500}), "/parameters/top_k", "Expected 'int' <= 100."),
        (_json({"top_k": "5"}), "/parameters/top_k", "Expected 'int', got 'str'."),
        (_json({"top_k": 5, "words": [1]}), "/parameters/words/0", "Expected 'str', got 'int'."),
        (
            _query("topk=5"),
            "/parameters/topk",
            "Unknown query parameter 'topk'. Did you mean 'top_k'?",
        ),
        (_query("top_k=500"), "/parameters/top_k", "Expected 'int' <= 100. It came in the query."),
        (
            _query("top_k=5&language=ed"),
            "/parameters/language",
            "Invalid enum value 'ed'. Allowed: de, en. It came in the query.",
        ),
        (
            _query("top_k=five"),
            "/parameters/top_k",
            "The query's top_k is 'five'; an integer is written as 5.",
        ),
        (_query("top_k="), "/parameters/top_k", "The query's top_k is ''; an integer is written"),
        (_query("top_k=5&"), "/parameters", "Unknown query parameter ''."),
        (_query("language=%ff&top_k=5"), "/parameters", "The query is not UTF-8"),
        (_query("top_k=5&words=[1]"), "/parameters/words/0", "got 'int'. It came in the query."),
        (
            _json(x_parameter_top_k="x"),
            "/parameters/top_k",
            "Header x-parameter-top-k is 'x'; an integer is written as 5.",
        ),
        (
            _json(x_parameter_top_k="0"),
            "/parameters/top_k",
            "Expected 'int' >= 1. It came in header x-parameter-top-k.",
        ),
        (
            _json(x_parameter_topk="5"),
            "/parameters/topk",
            "Unknown parameter header 'x-parameter-topk'. Did you mean 'x-parameter-top-k'?",
        ),
        (
            Sent(body=BODY, headers={"x-parameter-top_k": "5"}),
            "/parameters/top_k",
            "Did you mean 'x-parameter-top-k'?",
        ),
        (
            _json({"top_k": 5}, x_parameter_language="größe"),
            "/parameters/language",
            "Header x-parameter-language has characters that are not ASCII",
        ),
        (
            Sent(body=BODY, query={"data": "x"}),
            "/parameters/data",
            "Unknown query parameter 'data'",
        ),
        (Sent(body=BODY | {"parameter": {}}), "/parameter", "Did you mean 'parameters'?"),
    ],
)
def test_what_is_wrong_has_its_place_and_what_is_allowed(
    server: Server, sent: Sent, pointer: str, words: str
) -> None:
    refused, good = server.ask(sent, _json({"top_k": 1}))
    assert (refused.status, good.status) == (422, 200)
    assert refused.body["errors"][0]["pointer"] == pointer
    assert words in refused.body["detail"]
    assert "parameters" not in server.records()[0]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (
            _json({"top_k": 5}, x_parameter_top_k="6"),
            "Parameter 'top_k' is 5 in the body but 6 in header x-parameter-top-k; send one",
        ),
        (
            Sent(
                body=BODY | {"parameters": {"top_k": 5}},
                headers={"x-marloft-query": "/predict?top_k=6"},
            ),
            "is 5 in the body but 6 in the query",
        ),
        (
            Sent(
                body=BODY,
                headers={"x-marloft-query": "/predict?top_k=6", "x-parameter-top-k": "5"},
            ),
            "is 6 in the query but 5 in header x-parameter-top-k",
        ),
        (_query("top_k=5&top_k=5"), "top_k is given twice in the query; give it once."),
        (_query("top_k=5&t%6Fp_k=5"), "top_k is given twice in the query; give it once."),
    ],
)
def test_parameter_that_contradicts_itself_is_400(server: Server, sent: Sent, words: str) -> None:
    refused, good = server.ask(sent, _json({"top_k": 1}))
    assert (refused.status, good.status) == (400, 200)
    assert words in refused.body["detail"]


@pytest.mark.parametrize(
    "query",
    [
        {"body": "evil", "data": "evil"},
        {"x-marloft": "version=9.0", "x-envoy-attempt-count": "9"},
        {"content-type": "text/plain", "x-user-id": "evil", "x-model-version": "9.0"},
    ],
)
@pytest.mark.parametrize("declares", [True, False])
def test_query_at_torchserves_own_paths_replaces_no_body_and_no_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: dict[str, str], declares: bool
) -> None:
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    server = serve(tmp_path, SCHEMA if declares else PLAIN)
    body = BODY | {"parameters": {"top_k": 1}} if declares else BODY
    attacked, good = server.ask(Sent(body=body, query=query), Sent(body=body))
    assert good.status == 200
    if declares:
        assert attacked.status == 422
        assert "Unknown query parameter" in attacked.body["detail"]
    else:
        assert (attacked.status, attacked.body["prediction"]) == (200, [{}])
        assert server.records()[0]["user_id"] is None


def test_archive_without_parameters_reads_none(plain: Server) -> None:
    good, refused, ignored = plain.ask(
        _json(), _json({"top_k": 5}), _json(x_parameter_top_k="5", x_marloft_query="/predict?a=1")
    )
    assert (good.status, refused.status, ignored.status) == (200, 422, 200)
    assert refused.body["detail"] == (
        "Unknown field 'parameters'. Allowed: features, model_version, request_id, user_id."
    )
    assert good.body["prediction"] == ignored.body["prediction"] == [{}]
    assert all("parameters" not in record for record in plain.records())


def test_node_of_a_workflow_takes_them_from_body_and_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    arm = serve(tmp_path, SCHEMA, registered="split__control")
    (answer,) = arm.ask(_json({"top_k": 5}, x_parameter_language="de"))
    assert answer.body["prediction"] == [DEFAULTS | {"top_k": 5, "language": "de"}]


def test_default_of_one_request_is_not_shared_with_the_next(server: Server) -> None:
    first, second = server.ask(_json({"top_k": 1}), _json({"top_k": 1}))
    assert first.body["prediction"] == second.body["prediction"]


PIXELS = Property(type="integer", minimum=1, alias="width-px")
BOX = Property(
    type="object",
    properties={
        "size": Property(type="object", properties={"width_px": PIXELS}),
        "weights": Property(
            type="object", additional_properties=Property(type="integer", minimum=1), default={}
        ),
    },
)


@pytest.mark.parametrize(
    ("box", "pointer", "words"),
    [
        ({"size": {"width-px": 0}}, "/parameters/box/size/width-px", ">= 1"),
        ({"size": {"width_px": 1}}, "/parameters/box/size/width_px", "Did you mean 'width-px'?"),
        ({"size": {"width-px": 1}, "weights": {"a/b": 0}}, "/parameters/box/weights/a~1b", ">= 1"),
    ],
)
def test_place_inside_of_a_parameter_is_given_in_full(
    box: dict[str, Any], pointer: str, words: str
) -> None:
    reader = ParameterReader(RowSchema(row={}, parameters={"box": BOX}))
    with pytest.raises(Rejected) as refused:
        reader.read(msgspec.Raw(msgspec.json.encode({"box": box})), {}, {})
    assert refused.value.pointer == pointer
    assert words in refused.value.detail
