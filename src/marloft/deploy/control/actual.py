"""What is real, for `marloft status`: TorchServe, the gateway and the supervisor are asked."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from marloft.contract.live import Live
from marloft.contract.release import Key
from marloft.deploy.gateway.observed_routes import ModelRoutes, observe_routes
from marloft.deploy.ports import Ports
from marloft.deploy.running import ask_live, is_running, read_live
from marloft.deploy.torchserve.management import ManagementApi, Registered
from marloft.errors import MarloftError, ServingError

# Each of them alone, side by side: people want an answer in five seconds whatever hangs, of which
# the command itself takes two to start where the cores are busy.
_ANSWER_S = 2.0


class Actual(Struct, frozen=True, kw_only=True):
    """What is real: `serving` says that a `marloft serve` runs; None is what nobody answered.

    `silent` says why `marloft serve` itself told nothing.
    """

    serving: bool
    registered: Mapping[Key, Registered] | None
    routed: Mapping[str, ModelRoutes] | None
    live: Live | None
    silent: str | None = None


def observe_actual(var: Path, ports: Ports) -> Actual:
    """Ask TorchServe, the gateway and the supervisor at once: any of them may hang."""
    if not is_running(var) and not _answers_for(var, ports.supervisor):
        return Actual(serving=False, registered=None, routed=None, live=None)
    with ThreadPoolExecutor() as asking:
        registered = asking.submit(_registered, ports.management)
        routed = asking.submit(_routed, ports.envoy_admin)
        live, silent = _live(var)
    return Actual(
        serving=True,
        registered=registered.result(),
        routed=routed.result(),
        live=live,
        silent=silent,
    )


def _answers_for(var: Path, port: int) -> bool:
    """Whether a `marloft serve` on `var` answers although its lock is gone."""
    try:
        return ask_live(port).var == str(var.resolve())
    except ServingError:
        return False


def _registered(port: int) -> Mapping[Key, Registered] | None:
    api = ManagementApi(port, answer_s=_ANSWER_S)
    try:
        return api.registered()
    except ServingError:
        return None
    finally:
        api.close()


def _routed(port: int) -> Mapping[str, ModelRoutes] | None:
    try:
        return observe_routes(port, answer_s=_ANSWER_S)
    except ServingError:
        return None


def _live(var: Path) -> tuple[Live | None, str | None]:
    try:
        return read_live(var), None
    except MarloftError as error:
        return None, str(error)
