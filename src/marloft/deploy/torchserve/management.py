"""A client for TorchServe's management API.

https://pytorch.org/serve/management_api.html
"""

from collections.abc import Mapping
from typing import Any, Literal

import httpx2
from msgspec import Struct

from marloft.contract.manifest import WorkerSettings
from marloft.errors import ServingError

# Far more than an answer takes; who waits for one looks after other things too.
_ANSWER_S = 5.0
# Until a registration is answered the archive is unpacked, which takes a large one a minute.
REGISTER_S = 120.0
State = Literal["ready", "starting"]


class RefusedError(ServingError):
    """TorchServe answered, and its answer was an error."""


class Registered(Struct, frozen=True, kw_only=True):
    """One registered version as TorchServe describes it.

    `ready` when all its wanted workers are; `workers` maps a worker's id to its process, -1 while
    it has none, and `ready_processes` are those of the READY ones; `startup_s` is how long
    TorchServe waits for a worker.
    """

    state: State
    default: bool
    min_workers: int = 1
    batch_size: int = 16
    max_batch_delay_ms: int = 1
    startup_s: int = 120
    workers: Mapping[str, int] = {}
    ready_processes: frozenset[int] = frozenset()


class ManagementClient:
    """A connection to one TorchServe's management port."""

    def __init__(self, port: int, *, answer_s: float = _ANSWER_S) -> None:
        """Connect lazily to the management port on loopback."""
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=answer_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(self, method: str, path: str, *, answer_s: float | None = None, **query: Any) -> Any:
        """Return the JSON of the answer.

        `answer_s` is how long this answer may take, where it is not what all may.

        Raises:
            RefusedError: TorchServe's own words.
            ServingError: it does not answer in time, or says something that is not JSON.
        """
        timeout = self._client.timeout if answer_s is None else answer_s
        try:
            response = self._client.request(method, path, params=query, timeout=timeout)
        except httpx2.HTTPError as error:
            raise ServingError(f"TorchServe does not answer {method} {path}: {error}.") from error
        if response.is_error:
            raise RefusedError(f"TorchServe refused {method} {path}: {_message(response)}")
        try:
            return response.json()
        except ValueError:
            raise ServingError(
                f"TorchServe answers {method} {path} without JSON: {response.text[:200]!r}."
            ) from None


class ManagementApi(ManagementClient):
    """Models and their versions; methods raise ServingError with TorchServe's own words."""

    def registered(self) -> dict[tuple[str, str], Registered]:
        """Return every registered (model, version), workflow nodes included."""
        try:
            return self._registered()
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ServingError(
                f"TorchServe lists its models in another form: {error!r}."
            ) from error

    def register(self, archive: str, settings: WorkerSettings) -> None:
        """Register an archive of the model store and start its workers; does not wait for READY.

        Waiting inside TorchServe (`synchronous=true`) stalls all inference meanwhile.
        """
        self.call(
            "POST",
            "/models",
            url=archive,
            batch_size=settings.batch_size,
            max_batch_delay=settings.max_batch_delay_ms,
            initial_workers=settings.workers,
            synchronous="false",
            answer_s=REGISTER_S,
        )

    def scale(self, name: str, version: str, workers: int) -> None:
        """Change the number of workers without waiting; running requests keep theirs."""
        self.call(
            "PUT",
            f"/models/{name}/{version}",
            min_worker=workers,
            max_worker=workers,
            synchronous="false",
        )

    def unregister(self, name: str, version: str) -> None:
        """Remove a version; its queued requests would hang, so take its traffic away first."""
        self.call("DELETE", f"/models/{name}/{version}")

    def set_default(self, name: str, version: str) -> None:
        """Make `version` the one that answers requests that name none."""
        self.call("PUT", f"/models/{name}/{version}/set-default")

    def _registered(self) -> dict[tuple[str, str], Registered]:
        names = [model["modelName"] for model in self._pages()]
        found: dict[tuple[str, str], Registered] = {}
        for name in dict.fromkeys(names):
            versions = self.call("GET", f"/models/{name}/all")
            default = self.call("GET", f"/models/{name}")[0]["modelVersion"]
            for described in versions:
                version = described["modelVersion"]
                found[name, version] = _described(described, default=version == default)
        return found

    def _pages(self) -> list[Any]:
        models: list[Any] = []
        first: str | None = "0"
        while first:
            page = self.call("GET", "/models", limit=100, next_page_token=first)
            models += page["models"]
            first = page.get("nextPageToken")
        return models


def _described(described: Mapping[str, Any], *, default: bool) -> Registered:
    return Registered(
        state=_state(described),
        default=default,
        min_workers=int(described["minWorkers"]),
        batch_size=int(described["batchSize"]),
        max_batch_delay_ms=int(described["maxBatchDelay"]),
        startup_s=int(described["startupTimeout"]),
        workers={worker["id"]: int(worker["pid"]) for worker in described["workers"]},
        ready_processes=frozenset(int(worker["pid"]) for worker in _ready_workers(described)),
    )


def _state(described: Mapping[str, Any]) -> State:
    """A version with failed workers stays listed; only the workers' own status tells."""
    wanted = max(1, int(described["minWorkers"]))
    return "ready" if len(_ready_workers(described)) >= wanted else "starting"


def _ready_workers(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [worker for worker in described["workers"] if worker["status"] == "READY"]


def _message(response: httpx2.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.text[:200]}"
