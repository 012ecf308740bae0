"""What a handler needs of TorchServe's worker, for machines where TorchServe is not installed.

It finds the handler's class or function, gives it batches and answers failures as TorchServe 0.12
does (ts/model_loader.py, ts/service.py, ts/context.py), without its import of torch. It has what
marloft's own base classes use, and no metrics.
"""

import importlib
import inspect
import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Json = dict[str, Any]
_Handle = Callable[[list[Json], "Context"], Any]
# A failed batch: every request of it gets this.
_FAILED = {"status": 503, "body": "error"}


class Context:
    """What TorchServe tells a handler, and what the handler answers beside the bodies."""

    metrics = None

    def __init__(self, name: str, folder: Path, manifest: Json, batch_size: int) -> None:
        """Describe the unpacked archive in `folder`."""
        self.model_name = name
        self.manifest = manifest
        self.system_properties = {
            "model_dir": str(folder),
            "gpu_id": None,
            "batch_size": batch_size,
            "server_name": "MMS",
            "server_version": "0.12.0",
            "limit_max_image_pixels": True,
        }
        self.take([])

    def take(self, requests: list[Json]) -> list[Json]:
        """Begin a batch; return its rows as a handler gets them."""
        self._ids = [f"asked-{request['place']}" for request in requests]
        self._requested = [
            {"body": {"content-type": request["headers"]["content-type"]}, **request["headers"]}
            for request in requests
        ]
        self._statuses = [200] * len(requests)
        self._headers: list[dict[str, str]] = [{} for _ in requests]
        return [{"body": bytearray(request["body"])} for request in requests]

    def get_request_id(self, idx: int = 0) -> str:
        """Return the id of one request of the batch."""
        return self._ids[idx]

    def get_all_request_header(self, idx: int) -> Json:
        """Return the headers of one request."""
        return self._requested[idx]

    def get_request_header(self, idx: int, key: str) -> Any:
        """Return one header of one request, None when it has none of this name."""
        return self._requested[idx].get(key)

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Set the HTTP status of one answer; the phrase is not kept."""
        del phrase
        self._statuses[idx] = code

    def get_response_status(self, idx: int) -> int:
        """Return the HTTP status of one answer."""
        return self._statuses[idx]

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Set a header of one answer."""
        self._headers[idx][key] = value

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Set the content type of one answer."""
        self.set_response_header(idx, "content-type", value)


class StandIn:
    """A loaded handler; `answer` gives it one batch after the other."""

    def __init__(self, folder: Path, name: str, batch_size: int) -> None:
        """Import the handler of the unpacked archive, which lies on `sys.path`, and load it.

        Raises:
            ValueError: the handler's file has neither `handle` nor exactly one class with it.
        """
        manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_text())
        self._context = Context(name, folder, manifest, batch_size)
        module = importlib.import_module(Path(manifest["model"]["handler"]).stem)
        self._handle, initialize = _entry_points(module)
        initialize(self._context)

    def answer(self, requests: list[Json]) -> list[Json]:
        """Return status and body of each request of a batch."""
        rows = self._context.take(requests)
        try:
            answers = self._handle(rows, self._context)
        except Exception:
            logging.warning("Invoking custom service failed.", exc_info=True)
            return [_FAILED] * len(requests)
        if not isinstance(answers, list) or len(answers) != len(requests):
            logging.warning("the handler has to return a list with an answer for each request")
            return [_FAILED] * len(requests)
        try:
            bodies = [_body(answer) for answer in answers]
        except TypeError:
            logging.warning("Unable to serialize model output.", exc_info=True)
            return [_FAILED] * len(requests)
        return [
            {"status": self._context.get_response_status(index), "body": body}
            for index, body in enumerate(bodies)
        ]


def _entry_points(module: ModuleType) -> tuple[_Handle, Callable[[Context], Any]]:
    function = getattr(module, "handle", None)
    if function is not None:
        return function, lambda context: function(None, context)
    own = inspect.getmembers(
        module, lambda each: inspect.isclass(each) and each.__module__ == module.__name__
    )
    if len(own) != 1:
        raise ValueError(f"a handler's file has one class or a function `handle`; found {own}")
    handler = own[0][1]()
    if not hasattr(handler, "handle"):
        raise ValueError(f"the class {own[0][0]} has no method `handle`")
    return handler.handle, handler.initialize


def _body(answer: Any) -> str:
    if isinstance(answer, bytes | bytearray):
        return answer.decode(errors="replace")
    return answer if isinstance(answer, str) else json.dumps(answer, indent=2)
