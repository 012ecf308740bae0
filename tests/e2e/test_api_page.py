"""`docs/api.md`: every curl answers with the status of its heading, as openapi.yaml describes."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from harness import factories
from harness.factories import REPOSITORY
from marloft.contract.predict_api import PROBLEM_JSON
from tests.e2e.running import Serving, configure, marloft

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}}, default: "1.0"}
  outcomes: {versions: {"1.0": {}}, default: "1.0"}
"""
OPENAPI = msgspec.yaml.decode((REPOSITORY / "docs" / "openapi.yaml").read_bytes())
_HEADING = re.compile(r"^### (\d{3}): [^\n]*$|^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A command of the page and the status that its heading promises."""

    status: int
    command: str

    @property
    def operation(self) -> dict[str, Any]:
        """The operation of openapi.yaml that the command asks for."""
        (path,) = re.findall(r"localhost:8000(/[a-z/]+)", self.command)
        known = "/models/{name}/predict" if path.startswith("/models/") else path
        (found,) = OPENAPI["paths"][known].values()
        return dict(found)


def examples(page: str) -> list[Example]:
    found, status = [], 0
    for heading, command in _HEADING.findall(page):
        status = int(heading or status)
        if command:
            found.append(Example(status, command.strip()))
    return found


EXAMPLES = examples((REPOSITORY / "docs" / "api.md").read_text())


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("api")
    factories.write_project(folder, torchscript=True)
    configure(folder, DEPLOYMENT)
    marloft(folder, "apply")
    with Serving(folder) as running:
        yield running


def schema_fault(status: int, operation: dict[str, Any], body: Any, content_type: str) -> str:
    """Return what the document says against an answer, "" when nothing."""
    response = operation["responses"][str(status)]
    if "$ref" in response:
        response = OPENAPI["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    reference = response["content"][content_type]["schema"]["$ref"]
    resource: Any = DRAFT202012.create_resource(OPENAPI)
    registry: Any = Registry().with_resource("urn:openapi", resource)
    validator = Draft202012Validator({"$ref": f"urn:openapi{reference}"}, registry=registry)
    return "; ".join(error.message for error in validator.iter_errors(body))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.status}")
def test_curl_answers_as_the_page_and_the_document_say(
    serving: Serving, example: Example, tmp_path: Path
) -> None:
    port = serving.ports.gateway
    command = example.command.replace("localhost:8000", f"127.0.0.1:{port}")
    command = command.replace("curl -s", "curl -s -o body -w '%{http_code} %{content_type}'")
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    status, _, content_type = done.stdout.partition(" ")
    body = msgspec.json.decode((tmp_path / "body").read_bytes())
    assert int(status) == example.status, body
    if example.status >= 400:
        assert (content_type, body["status"]) == (PROBLEM_JSON, example.status)
    assert schema_fault(example.status, example.operation, body, content_type) == ""


def test_answer_of_another_form_is_noticed() -> None:
    operation = OPENAPI["paths"]["/predict"]["post"]
    fault = schema_fault(200, operation, {"prediction": [1]}, "application/json")
    assert "'latency_ms' is a required property" in fault


def test_page_has_a_curl_for_every_status_that_a_client_can_cause() -> None:
    assert {example.status for example in EXAMPLES} == {200, 202, 400, 404, 405, 413, 415, 422}
