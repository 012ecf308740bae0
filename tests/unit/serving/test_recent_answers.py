"""Answers a node remembers: enough for a repeated question, never without end."""

from marloft.serving.exchange import Exchange
from marloft.serving.recent_answers import RecentAnswers


def _asked(number: int, ours: bool = True) -> Exchange:
    return Exchange(
        index=0, row={}, headers={}, request_id="same", asked_id=f"id-{number}", ours=ours
    )


def test_answer_is_remembered_by_torchserves_id() -> None:
    recent = RecentAnswers()
    assert [e.asked_id for e in recent.new([_asked(1)])] == ["id-1"]
    assert recent.answers([_asked(1)], {"id-1": b"first"}) == [b"first"]
    assert [e.asked_id for e in recent.new([_asked(1), _asked(2)])] == ["id-2"]
    assert recent.answers([_asked(1)], {}) == [b"first"]


def test_oldest_answers_are_forgotten() -> None:
    recent = RecentAnswers(kept=2)
    for number in range(3):
        recent.answers([_asked(number)], {f"id-{number}": b"x"})
    assert [e.asked_id for e in recent.new([_asked(n) for n in range(3)])] == ["id-0"]


def test_batch_larger_than_the_memory_is_answered_whole() -> None:
    recent = RecentAnswers(kept=2)
    batch = [_asked(number) for number in range(5)]
    answers = {f"id-{number}": bytes([number]) for number in range(5)}
    assert recent.answers(batch, answers) == [bytes([number]) for number in range(5)]


def test_request_of_another_node_is_neither_new_nor_answered() -> None:
    recent = RecentAnswers()
    assert recent.new([_asked(1, ours=False)]) == []
    assert recent.answers([_asked(1, ours=False)], {}) == [b""]
