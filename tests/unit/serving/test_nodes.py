"""The assign and select nodes: the arm of the assignment, and never an error raised."""

import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ts.context import Context

from harness import factories
from marloft.assignment import arm_of
from marloft.contract.allocation import AllocationFile, allocation_path
from marloft.contract.release import Allocation, Arm
from marloft.errors import ConfigError
from marloft.files import write_atomic, write_json
from marloft.serving import nodes
from marloft.serving.nodes import AssignNode, SelectNode
from tests.unit.serving.driver import Sent, Server, TinyRanker, take_apart

PACKED = AllocationFile(
    release=None,
    model="ranker",
    default="1.0",
    allocation=Allocation(
        name="feed_ab",
        salt="feed_ab",
        unit="user_id",
        arms=[
            Arm(name="control", version="1.0", weight=30),
            Arm(name="treatment", version="2.0", weight=70),
        ],
    ),
)
VERSION_OF = {"control": "1.0", "treatment": "2.0"}
BODY = factories.body(7, [3])


class Assign:
    """The assign node on an unpacked archive, with a state folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.var = folder, folder / "var"
        self.live = allocation_path(self.var, "feed_ab")
        write_json(folder / "allocation.json", PACKED)
        self.context = Context("feed_ab__assign", str(folder), {}, 32, None, "test")
        self.node = AssignNode()

    def start(self) -> None:
        self.node.initialize(self.context)

    def raw(self, *requests: Any) -> list[bytes]:
        return self.node.handle(take_apart(self.context, requests), self.context)

    def facts(self, *requests: Any) -> list[dict[str, Any]]:
        return [json.loads(answer)["_marloft"] for answer in self.raw(*requests)]


@pytest.fixture
def assign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Assign:
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    node = Assign(tmp_path)
    node.start()
    return node


def test_every_user_gets_the_arm_of_the_assignment(assign: Assign) -> None:
    users = [f"user-{number}" for number in range(300)]
    facts = assign.facts(*[factories.body(user, [3]) for user in users])
    arms = [arm_of(PACKED.allocation, user) for user in users]
    assert [told["arm"] for told in facts] == arms
    assert [told["node"] for told in facts] == arms
    assert [told["version"] for told in facts] == [VERSION_OF[arm] for arm in arms]
    assert {(t["arm"], t["propensity"]) for t in facts} == {("control", 0.3), ("treatment", 0.7)}
    assert {told["experiment"] for told in facts} == {"feed_ab"}
    another = msgspec.structs.replace(PACKED.allocation, salt="another")
    assert [told["arm"] for told in facts] != [arm_of(another, user) for user in users]


def test_number_text_and_header_name_one_unit(assign: Assign) -> None:
    header = Sent(body=factories.body(None, [3]), headers={"X-User-Id": "7"})
    arms = [told["arm"] for told in assign.facts(BODY, factories.body("7", [3]), header)]
    assert arms == [arm_of(PACKED.allocation, "7")] * 3


def test_body_reaches_the_arms_as_it_was_sent(assign: Assign) -> None:
    features = b'[{"item_id": 3,  "x": 1.0e0}]'
    (answer,) = assign.raw(b'{"features": ' + features + b', "user_id": "7"}')
    assert features in answer
    assert set(json.loads(answer)) == {"features", "user_id", "_marloft"}


def test_parameters_reach_the_arms_unread(assign: Assign) -> None:
    (answer,) = assign.raw(BODY | {"parameters": {"top_k": 5}})
    assert json.loads(answer)["parameters"] == {"top_k": 5}
    (without,) = assign.raw(BODY)
    assert "parameters" not in json.loads(without)


def test_clients_own_marloft_is_overwritten(assign: Assign) -> None:
    forged = {"_marloft": {"node": "control", "version": "9.0", "experiment": "forged"}}
    (plain,) = assign.facts(BODY)
    (told,) = assign.facts(BODY | forged)
    assert told | {"t": 0} == plain | {"t": 0}


def test_request_id_is_the_bodys_then_the_headers_then_torchserves(assign: Assign) -> None:
    header = {"x-request-id": "header"}
    told = assign.facts(
        Sent(body=BODY | {"request_id": "body"}, headers=header), Sent(body=BODY, headers=header)
    )
    assert [facts["request_id"] for facts in [*told, *assign.facts(BODY)]] == [
        "body",
        "header",
        "ts-0",
    ]


@pytest.mark.parametrize(
    ("body", "node", "version"),
    [
        (factories.body(None, [3]), "control", "1.0"),
        (BODY | {"model_version": "v2.0"}, "treatment", "2.0"),
        (BODY | {"model_version": "1.0"}, "control", "1.0"),
    ],
)
def test_request_outside_the_experiment_names_no_arm(
    assign: Assign, body: dict[str, Any], node: str, version: str
) -> None:
    (told,) = assign.facts(body)
    assert (told["node"], told["version"]) == (node, version)
    assert not {"experiment", "arm", "propensity"} & set(told)


@pytest.mark.parametrize(
    ("sent", "status", "pointer", "words"),
    [
        (b"{", 400, "", "not JSON"),
        (b"", 400, "", "not JSON"),
        (b'{"user_id": "\xff"}', 400, "", "not JSON"),
        (b'{"features": ' + b"[" * 9000 + b"]" * 9000 + b"}", 400, "", "not JSON"),
        (b"[]", 422, "", "Expected 'object'"),
        (BODY | {"user_id": "a b"}, 422, "/user_id", "matching regex"),
        (BODY | {"usr_id": 7}, 422, "/usr_id", "'user_id'"),
        (BODY | {"model_version": "9.0"}, 404, "", "serves v1.0, v2.0"),
        (Sent(body=BODY, headers={"x-user-id": "8"}), 400, "", "send one of them"),
        (Sent(body=BODY, content_type="text/csv"), 415, "", "send application/json"),
    ],
)
def test_request_that_cannot_be_read_goes_to_control_with_the_reason(
    assign: Assign, sent: Any, status: int, pointer: str, words: str
) -> None:
    refused, good = assign.facts(sent, BODY)
    assert (refused["node"], refused["version"]) == ("control", "1.0")
    assert (refused["refusal"]["status"], refused["refusal"]["pointer"]) == (status, pointer)
    assert words in refused["refusal"]["detail"]
    assert "experiment" not in refused
    assert "refusal" not in good


def test_fault_of_the_node_itself_refuses_the_request_and_raises_nothing(
    assign: Assign, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(nodes, "arm_of", lambda *_: 1 // 0)
    (told,) = assign.facts(BODY)
    assert told["refusal"]["status"] == 500
    assert "ZeroDivisionError" in caplog.text


def _released(weights: tuple[int, int], number: int) -> AllocationFile:
    arms = [
        msgspec.structs.replace(arm, weight=weight)
        for arm, weight in zip(PACKED.allocation.arms, weights, strict=True)
    ]
    allocation = msgspec.structs.replace(PACKED.allocation, arms=arms)
    return msgspec.structs.replace(PACKED, release=number, allocation=allocation)


def test_rendered_file_splits_from_the_next_batch_on(assign: Assign) -> None:
    users = [factories.body(f"user-{number}", [3]) for number in range(100)]
    for number, weights in enumerate([(99, 1), (1, 99)], start=1):
        released = _released(weights, number)
        write_json(assign.live, released)
        facts = assign.facts(*users)
        expected = [arm_of(released.allocation, str(body["user_id"])) for body in users]
        assert [told["arm"] for told in facts] == expected
        assert {told["release"] for told in facts} == {number}


@pytest.mark.parametrize("fault", ["broken", "removed"])
def test_fault_of_the_rendered_file_keeps_the_split_and_is_said_once(
    assign: Assign, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    write_json(assign.live, _released((50, 50), 4))
    assert assign.facts(BODY)[0]["release"] == 4
    if fault == "broken":
        write_atomic(assign.live, b'{"release": ')
    else:
        assign.live.unlink()
    for _ in range(3):
        assert assign.facts(BODY)[0]["release"] == 4
    assert caplog.text.count("The split stays as it was") == 1
    write_json(assign.live, _released((50, 50), 5))
    assert assign.facts(BODY)[0]["release"] == 5


def test_packed_split_is_said_once(assign: Assign, caplog: pytest.LogCaptureFixture) -> None:
    assign.start()
    assign.facts(BODY)
    assign.facts(BODY)
    assert caplog.text.count("the packed allocation.json splits") == 1
    caplog.clear()
    write_json(assign.live, _released((50, 50), 4))
    assign.start()
    assert assign.facts(BODY)[0]["release"] == 4
    assert caplog.text == ""


def test_assign_archive_without_a_split_does_not_start(assign: Assign) -> None:
    (assign.folder / "allocation.json").unlink()
    with pytest.raises(ConfigError, match=r"allocation\.json does not exist"):
        assign.start()


@pytest.fixture
def select(tmp_path: Path) -> tuple[SelectNode, Context]:
    context = Context("feed_ab__select", str(tmp_path), {}, 32, None, "test")
    node = SelectNode()
    node.initialize(context)
    context.request_ids = {0: "ts-0", 1: "ts-1"}
    return node, context


def test_select_passes_on_the_answer_that_is_there(select: tuple[SelectNode, Context]) -> None:
    node, context = select
    rows = [
        {"control": bytearray(b""), "treatment": bytearray(b"two")},
        {"control": bytearray(b"one"), "treatment": bytearray(b"")},
    ]
    assert node.handle(rows, context) == [b"two", b"one"]


def test_select_says_that_no_node_serves_the_version(
    select: tuple[SelectNode, Context], caplog: pytest.LogCaptureFixture
) -> None:
    node, context = select
    rows = [{"control": bytearray(b""), "treatment": bytearray(b"")}, {}]
    with caplog.at_level(logging.ERROR):
        answers = [json.loads(answer) for answer in node.handle(rows, context)]
    assert [(a["status"], a["request_id"]) for a in answers] == [(503, "ts-0"), (503, "ts-1")]
    assert "ts-0" in caplog.text


def test_default_version_without_an_arm_has_no_node(assign: Assign) -> None:
    split = msgspec.structs.replace(_released((50, 50), 4), default="1.1")
    write_json(assign.live, split)
    (told,) = assign.facts(factories.body(None, [3]))
    assert (told["node"], told["version"]) == ("", "1.1")


@pytest.mark.parametrize("sent", [BODY, factories.body(None, [3]), b"{", BODY | {"features": []}])
def test_exactly_one_arms_node_answers_and_logs_whatever_comes(
    assign: Assign, archive_folder: Path, sent: Any
) -> None:
    # Both serve 1.0, so that the node alone decides.
    arms = [msgspec.structs.replace(a, version="1.0") for a in PACKED.allocation.arms]
    same = msgspec.structs.replace(PACKED.allocation, arms=arms)
    write_json(assign.live, msgspec.structs.replace(PACKED, allocation=same))
    (told,) = assign.raw(sent)
    names = [f"feed_ab__{arm.name}" for arm in arms]
    servers = [Server(TinyRanker(), archive_folder, assign.var, registered=name) for name in names]
    answers = [server.ask(told)[0].raw for server in servers]
    assert sum(bool(answer) for answer in answers) == 1
    assert len(servers[0].records()) == 1
