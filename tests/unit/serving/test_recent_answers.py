"""Answers a node remembers: enough for a repeated question, never without end."""

from marloft.serving.exchange import Received
from marloft.serving.recent_answers import RecentAnswers


def _asked(number: int, for_this_node: bool = True) -> Received:
    return Received(
        index=0,
        row={},
        headers={},
        torchserve_id=f"id-{number}",
        request_id="same",
        for_this_node=for_this_node,
    )


def test_answer_is_remembered_by_torchserves_id() -> None:
    recent = RecentAnswers()
    assert [e.torchserve_id for e in recent.new([_asked(1)])] == ["id-1"]
    assert recent.answers([_asked(1)], {"id-1": b"first"}) == [b"first"]
    assert [e.torchserve_id for e in recent.new([_asked(1), _asked(2)])] == ["id-2"]
    assert recent.answers([_asked(1)], {}) == [b"first"]


def test_oldest_answers_are_forgotten() -> None:
    recent = RecentAnswers(kept=2)
    for number in range(3):
        recent.answers([_asked(number)], {f"id-{number}": b"x"})
    assert [e.torchserve_id for e in recent.new([_asked(n) for n in range(3)])] == ["id-0"]


def test_batch_larger_than_the_memory_is_answered_whole() -> None:
    recent = RecentAnswers(kept=2)
    batch = [_asked(number) for number in range(5)]
    answers = {f"id-{number}": bytes([number]) for number in range(5)}
    assert recent.answers(batch, answers) == [bytes([number]) for number in range(5)]


def test_request_of_another_node_is_neither_new_nor_answered() -> None:
    recent = RecentAnswers()
    assert recent.new([_asked(1, for_this_node=False)]) == []
    assert recent.answers([_asked(1, for_this_node=False)], {}) == [b""]
