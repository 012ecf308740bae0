"""Bodies that are not JSON: one row, whose binary field they are; the log gets their hash."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marloft.contract.manifest import ARCHIVE_JSON, Manifest, WorkerSettings
from marloft.contract.predict_api import NO_ROUTE
from marloft.contract.schema import Property, RowSchema, from_json_schema, to_json_schema
from marloft.errors import ConfigError
from marloft.files import to_json, write_atomic, write_json
from marloft.runtimes import Arrays
from marloft.serving import Handler, LoadedArchive, Prediction, Request
from marloft.serving.intake import Intake
from marloft.serving.refusals import Rejected
from tests.unit.serving.driver import Sent, Server

PNG = b"\x89PNG\r\n\x1a\nnot really"
IMAGE = Property(type="string", content_encoding="base64", content_media_type="image/png")
ROWS = RowSchema(row={"image": IMAGE}, max_rows=4)


class Measure(Handler):
    """Answers with the size of each image."""

    def load(self, archive: LoadedArchive) -> None:
        pass

    def decode(self, request: Request) -> Arrays:
        return {"size": np.array([len(image) for image in request.column("image")])}

    def predict(self, inputs: Arrays) -> Arrays:
        return inputs

    def encode(self, request: Request, outputs: Arrays) -> Prediction:  # noqa: ARG002
        return Prediction(prediction=outputs["size"].tolist(), confidence=1.0)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    folder = tmp_path / "archive"
    write_atomic(folder / "schema.json", to_json(to_json_schema(ROWS)))
    manifest = Manifest(
        name="images",
        version="1.0",
        runtime=None,
        artifact=None,
        handler="measure.py",
        members={},
        settings=WorkerSettings(),
        accepts=["application/json", "image/PNG"],
        golden_tolerance=1e-4,
        parents={},
        requires={},
        sensitive_features_at_serving=[],
    )
    write_json(folder / ARCHIVE_JSON, manifest)
    return Server(Measure(), folder, tmp_path / "var", registered="images")


def _image(
    *, body: bytes = PNG, content_type: str = "image/png", headers: dict[str, str] | None = None
) -> Sent:
    return Sent(body=body, content_type=content_type, headers=headers)


def _json(*images: Any) -> dict[str, Any]:
    return {"features": [{"image": image} for image in images]}


def test_bytes_and_base64_are_the_same_row(server: Server) -> None:
    text = base64.b64encode(PNG).decode()
    raw, in_json, both = server.ask(_image(), _json(text), _json(text, "AAAA"))
    assert raw.body["prediction"] == in_json.body["prediction"] == [len(PNG)]
    assert both.body["prediction"] == [len(PNG), 3]


def test_headers_name_version_user_and_request(server: Server) -> None:
    headers = {"x-model-version": "v1.0", "x-user-id": "u7", "x-request-id": "r-1"}
    answer, wrong = server.ask(_image(headers=headers), _image(headers={"x-model-version": "2.0"}))
    assert (answer.status, answer.body["request_id"]) == (200, "r-1")
    assert wrong.status == 404
    assert server.records()[0]["user_id"] == "u7"


def test_log_gets_type_size_and_hash_of_the_body(server: Server) -> None:
    server.ask(_image(content_type="Image/png; charset=binary"))
    assert server.records()[0]["features"] == [
        {
            "image": {
                "content_type": "image/png",
                "bytes": len(PNG),
                "sha256": hashlib.sha256(PNG).hexdigest(),
            }
        }
    ]


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (_image(content_type="image/jpeg"), 415, "send application/json or image/png"),
        (_image(body=b""), 422, "The body is empty; send the bytes of image"),
        (_json("not base64!"), 422, "Invalid base64"),
        (_json(7), 422, "Expected 'bytes', got 'int'"),
        (_json(*["AAAA"] * 5), 422, "length <= 4"),
    ],
)
def test_refusal_touches_no_other_request(
    server: Server, sent: Any, status: int, words: str
) -> None:
    refused, good = server.ask(sent, _image())
    assert (refused.status, good.status) == (status, 200)
    assert words in refused.body["detail"]


def test_schema_with_bytes_survives_its_json_form() -> None:
    document = to_json_schema(ROWS)
    assert document["items"]["properties"]["image"]["contentEncoding"] == "base64"
    assert from_json_schema(document) == ROWS


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": Property(type="string")}, "0 fields have"),
        ({"a": IMAGE, "b": IMAGE}, "2 fields have"),
        ({"a": IMAGE, "n": Property(type="integer")}, "'n' has no `default`"),
    ],
)
def test_schema_that_cannot_take_a_body_of_bytes_is_refused(
    row: dict[str, Property], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        Intake(RowSchema(row=row), "1.0", accepts=["image/png"])
    Intake(RowSchema(row=row), "1.0", accepts=["application/json"])


def test_bound_of_base64_text_is_refused() -> None:
    bounded = Property(type="string", content_encoding="base64", max_length=8)
    with pytest.raises(ConfigError, match="maxLength would be of its base64 text"):
        Intake(RowSchema(row={"image": bounded}), "1.0")


def test_body_is_logged_under_the_name_that_clients_use() -> None:
    image = Property(type="string", content_encoding="base64", alias="my.image")
    intake = Intake(RowSchema(row={"image": image}), "1.0", accepts=["image/png"])
    request = intake.read({"body": PNG}, {"content-type": "image/png"}, NO_ROUTE, "r")
    assert request.column("image") == [PNG]
    assert bytes(request.features).startswith(b'[{"my.image":')


@pytest.mark.parametrize("row", [{"data": "text"}, {"data": b""}, {}])
def test_query_called_data_is_no_body(row: dict[str, Any]) -> None:
    intake = Intake(ROWS, "1.0", accepts=["image/png"])
    with pytest.raises(Rejected, match="The body is empty"):
        intake.read(row, {"content-type": "image/png"}, NO_ROUTE, "id")
    read = intake.read({"data": b"form"}, {"content-type": "image/png"}, NO_ROUTE, "id")
    assert read.column("image") == [b"form"]
