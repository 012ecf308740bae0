"""The first and the last node of a workflow that splits requests over its arms' nodes.

    assign ──► control, treatment ──► select

TorchServe runs every node for every request, so assign names the request's node in the body's
`_marloft`, the other arms answer nothing, and select passes on what is there. A node must never
raise: TorchServe would never release the request's thread.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from marloft.assignment import arm_of, total_weight
from marloft.contract.allocation import ALLOCATION_JSON, AllocationFile, allocation_path
from marloft.contract.predict_api import (
    NodeBody,
    NodeFacts,
    ParameterNodeEnvelope,
    Problem,
    Refusal,
    RequestEnvelope,
    public_version,
)
from marloft.contract.release import Arm
from marloft.errors import MarloftError
from marloft.files import read_json
from marloft.serving.exchange import Received
from marloft.serving.intake import pinned_of, read_envelope, user_of
from marloft.serving.log import var_folder
from marloft.serving.refusals import Rejected

_logger = logging.getLogger(__name__)
_FAILED = "The assign node failed on this request; its log has the cause."


class LiveAllocation:
    """The split in force: the file rendered from the release, else the archive's packed copy."""

    def __init__(self, packed: AllocationFile, path: Path) -> None:
        """Remember both; `path` may appear, change and vanish at any time."""
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._current = packed
        if self._look() is None:
            _logger.warning("%s does not exist: the packed allocation.json splits.", path)

    def current(self) -> AllocationFile:
        """Return the split, read again when the file changed; a broken file changes nothing."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._reload()
        return self._current

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _reload(self) -> None:
        try:
            self._current = read_json(self._path, AllocationFile)
        except (MarloftError, OSError) as error:
            _logger.error("The split stays as it was: %s", error)


class AssignNode:
    """Assigns each request to an arm; the archive holds the first `allocation.json`."""

    def initialize(self, context: Any) -> None:
        """Read the packed split; the rendered file of its experiment replaces it."""
        packed = read_json(
            Path(context.system_properties["model_dir"]) / ALLOCATION_JSON, AllocationFile
        )
        live = allocation_path(var_folder(), packed.allocation.name)
        self._allocation = LiveAllocation(packed, live)
        # Whether parameters are declared is for the arms to know.
        self._envelope = msgspec.json.Decoder(ParameterNodeEnvelope)
        self._known = list(RequestEnvelope.__struct_fields__)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Return each request's body with `_marloft` in it, or `_marloft` alone when refused."""
        split = self._allocation.current()
        return [self._answer(Received.of(i, row, context), split) for i, row in enumerate(data)]

    def _answer(self, received: Received, split: AllocationFile) -> bytes:
        headers, request_id, arrived_s = received.headers, received.request_id, received.received_s
        try:
            envelope = read_envelope(self._envelope, received.row, headers, self._known)
            request_id = envelope.request_id or request_id
            user, pinned = user_of(envelope, headers), pinned_of(envelope, headers)
            facts = _facts(split, user, pinned, request_id, arrived_s)
        except Rejected as refusal:
            return _refusal(split, request_id, arrived_s, refusal)
        except Exception as error:
            _logger.error("Request %s failed.", request_id, exc_info=error)
            return _refusal(split, request_id, arrived_s, Rejected(_FAILED, status=500))
        encoded = msgspec.Raw(msgspec.json.encode(facts))
        return msgspec.json.encode(msgspec.structs.replace(envelope, marloft=encoded))


class SelectNode:
    """Passes on the one answer that is not empty."""

    def initialize(self, context: Any) -> None:
        """Nothing is needed: what the arms answered is all there is."""

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Return each request's answer; a problem when no arm's node serves its version."""
        return [_select(row) or _unserved(context.get_request_id(i)) for i, row in enumerate(data)]


def _facts(
    split: AllocationFile, user: str | None, pinned: str | None, request_id: str, arrived_s: float
) -> NodeFacts:
    """Decide one request: its arm, or outside the experiment a pinned or the default version."""
    arms = split.allocation.arms
    if user is None or pinned is not None or not split.running:
        return NodeFacts(
            node=_node_of(pinned or split.default, arms, pinned is not None),
            version=pinned or split.default,
            release=split.release,
            request_id=request_id,
            arrived_s=arrived_s,
        )
    name = arm_of(split.allocation, user)
    arm = next(arm for arm in arms if arm.name == name)
    return NodeFacts(
        node=name,
        version=arm.version,
        release=split.release,
        experiment=split.allocation.name,
        arm=name,
        propensity=arm.weight / total_weight(split.allocation),
        request_id=request_id,
        arrived_s=arrived_s,
    )


def _node_of(version: str, arms: list[Arm], pinned: bool) -> str:
    """Return the first arm of `version`: its node has the arm's name.

    A default version that is no arm's has no node, which the select node reports; for a pinned one
    the client is refused.
    """
    for arm in arms:
        if arm.version == version:
            return arm.name
    if pinned:
        served = ", ".join(sorted({public_version(arm.version) for arm in arms}))
        raise Rejected(
            f"model_version {version!r} is not served here; this workflow serves {served}.",
            status=404,
        )
    return ""


def _refusal(split: AllocationFile, request_id: str, arrived_s: float, refusal: Rejected) -> bytes:
    """Let control's node answer and log a request that cannot be read."""
    control = split.allocation.arms[0]
    facts = NodeFacts(
        node=control.name,
        version=control.version,
        release=split.release,
        request_id=request_id,
        arrived_s=arrived_s,
        refusal=Refusal(detail=refusal.detail, pointer=refusal.pointer, status=refusal.status),
    )
    return msgspec.json.encode(NodeBody(marloft=facts))


def _select(row: Mapping[str, Any]) -> bytes:
    return next((bytes(answer) for answer in row.values() if answer), b"")


def _unserved(request_id: str) -> bytes:
    _logger.error("Request %s: no arm's node serves the version it was meant for.", request_id)
    return msgspec.json.encode(
        Problem(
            title="No such node",
            status=503,
            detail="No node of this workflow serves the version that was meant; give each arm of "
            "the allocation a node of its name with its version.",
            request_id=request_id,
        )
    )
