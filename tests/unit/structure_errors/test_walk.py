"""Every mistake of a file is found, with its place, what is allowed and the line to write."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from marloft.structure_errors import collect, convert, in_file_order


class Step(Struct, forbid_unknown_fields=True):
    UNKNOWN_KEYS: ClassVar[dict[str, str]] = {"sleep": "Write `wait_s: …`."}
    UNKNOWN_VALUES: ClassVar[dict[str, dict[str, str]]] = {"kind": {"pause": "write `kind: hold`."}}

    wait_s: Annotated[int, Meta(ge=1)]
    name: Annotated[str, Meta(pattern=r"^[a-z0-9.]+\Z")] = "x"
    kind: Literal["hold", "ramp"] = "hold"
    share: Annotated[float, Meta(gt=0, le=1)] | None = None
    on: bool = True


class Hold(Struct, tag="hold", forbid_unknown_fields=True):
    hours: int


class Ramp(Struct, tag="ramp", forbid_unknown_fields=True):
    to: float


class Plan(Struct, forbid_unknown_fields=True):
    steps: Annotated[list[Step], Meta(min_length=1)]
    by_version: dict[Annotated[str, Meta(pattern=r"^\d\.\d\Z")], Step] = {}
    shape: Hold | Ramp | None = None
    words: list[str | int | None] = []

    def __post_init__(self) -> None:
        if len(self.steps) > 2:
            raise ValueError("steps holds more than two")


def texts(yaml: str) -> list[str]:
    value = msgspec.yaml.decode(yaml.encode())
    return [fault.text for fault in in_file_order(collect(value, Plan), value)]


@pytest.mark.parametrize(
    ("yaml", "text"),
    [
        ("steps: [{wait_s: 0}]", "steps[0].wait_s is 0, must be an integer >= 1."),
        (
            "steps: [{wait_s: '5'}]",
            "steps[0].wait_s is '5', must be an integer >= 1; write `wait_s: 5`.",
        ),
        ("steps: [{wait_s: 5.0}]", "steps[0].wait_s is 5.0, must be an integer >= 1; write "
         "`wait_s: 5`."),
        ("steps: [{wait_s: true}]", "steps[0].wait_s is true, must be an integer >= 1."),
        ("steps: [{wait_s: 5, kind: pause}]", "steps[0].kind is 'pause', must be one of hold, "
         "ramp; write `kind: hold`."),
        ("steps: [{wait_s: 5, kind: holt}]", "steps[0].kind is 'holt', must be one of hold, ramp. "
         "Did you mean 'hold'?"),
        ("steps: [{}]", "steps[0] lacks 'wait_s'; add `wait_s: …`, an integer >= 1."),
        ("steps: [{wait: 1}]", "unknown key 'wait' at steps[0]. Did you mean 'wait_s'?"),
        ("steps: [{wait_s: 1, sleep: 1}]", "unknown key 'sleep' at steps[0]. Write `wait_s: …`."),
        ("steps: [{wait_s: 1, name: 1.0}]", "steps[0].name is 1.0, must be text that matches "
         "^[a-z0-9.]+$; write `name: \"1.0\"`."),
        ("steps: [{wait_s: 1, name: no}]", "steps[0].name is false, must be text that matches "
         "^[a-z0-9.]+$; for the word, write `\"false\"`."),
        ("steps: [{wait_s: 1, name: 2024-01-02}]", "steps[0].name is the date 2024-01-02, must be "
         "text that matches ^[a-z0-9.]+$."),
        ("steps: [{wait_s: 1, kind: rmp}]", "steps[0].kind is 'rmp', must be one of hold, ramp. "
         "Did you mean 'ramp'?"),
        ("steps: [{wait_s: 1, share: 1.5}]", "steps[0].share is 1.5, must be a number > 0 and "
         "<= 1."),
        ("steps: [{wait_s: 1, 'on': 'yes'}]", "steps[0].on is 'yes', must be true or false; write "
         "`on: true`."),
        ("steps: []", "steps is a list of 0, must be a list of at least 1 entries."),
        ("steps: {wait_s: 1}", "steps is a mapping, must be a list of at least 1 entries."),
        ("steps: [{wait_s: 1}]\nby_version: {1.0: {wait_s: 1}}", "key 1.0 at by_version must be "
         "text that matches ^\\d\\.\\d$; write `\"1.0\": …`."),
        ("steps: [{wait_s: 1}]\nby_version: {v1: {wait_s: 1}}", "key v1 at by_version must be text "
         "that matches ^\\d\\.\\d$."),
        ("steps: [{wait_s: 1}]\nby_version: {'1.0': {wait_s: 0}}", 'by_version."1.0".wait_s is 0, '
         "must be an integer >= 1."),
        ("steps: [{wait_s: 1}]\nshape: {hours: 1}", "shape lacks 'type'; add `type: …`, one of "
         "hold, ramp."),
        ("steps: [{wait_s: 1}]\nshape: {type: rampp, to: 1}", "shape.type is 'rampp', must be one "
         "of hold, ramp. Did you mean 'ramp'?"),
        ("steps: [{wait_s: 1}]\nshape: {type: ramp, hours: 1}", "shape lacks 'to'; add `to: …`, a "
         "number."),
        ("steps: [{wait_s: 1}]\nwords: a", "words is 'a', must be a list; write `words: [a]`."),
        ("steps: [{wait_s: 1}]\nwords: [2.5]", "words[0] is 2.5, must be text or an integer; write "
         "`\"2.5\"`."),
        ("steps: [{wait_s: 1}, {wait_s: 1}, {wait_s: 1}]", "$: steps holds more than two."),
        ("[]", "$ is a list of 0, must be a mapping."),
        ("{}", "the file lacks 'steps'; add `steps: …`, a list of at least 1 entries."),
    ],
)  # fmt: skip
def test_mistake_is_told_with_what_is_allowed(yaml: str, text: str) -> None:
    assert text in texts(yaml)


@pytest.mark.parametrize("tag", [{"a": 1}, ["hold"], {"hold"}, None, 5])
def test_tag_of_another_form_is_told_with_those_that_there_are(tag: Any) -> None:
    value = {"steps": [{"wait_s": 1}], "shape": {"type": tag, "hours": 1}}
    (fault,) = collect(value, Plan)
    assert fault.place == ("shape", "type")
    assert "must be one of hold, ramp" in fault.text


def test_unknown_key_of_a_type_without_keys_is_left_out() -> None:
    class Bare(Struct, forbid_unknown_fields=True):
        pass

    (fault,) = collect({"per": "row"}, Bare)
    assert fault.text == "unknown key 'per' at $. Leave it out."


def test_all_mistakes_are_told_in_the_order_of_the_file() -> None:
    yaml = "words: [1, 2.5]\nsteps: [{wait_s: 0, nam: x}, {kind: x}]\nbeside: 1\n"
    assert [text.split()[0] for text in texts(yaml)] == [
        "words[1]", "steps[0].wait_s", "unknown", "steps[1]", "steps[1].kind", "unknown",
    ]  # fmt: skip


def test_misspelt_key_is_one_mistake_not_two() -> None:
    assert len(texts("step: [{wait_s: 1}]")) == 1


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(0, 2) | st.sampled_from("ax"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["steps", "wait_s", "name", "kind", "share", "shape", "type", "to", "1.0"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_nothing_is_told_of_a_value_exactly_when_msgspec_takes_it(value: Any) -> None:
    try:
        convert(value, Plan)
    except msgspec.ValidationError:
        assert collect(value, Plan)
    else:
        assert collect(value, Plan) == []
