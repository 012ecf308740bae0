"""Silence is counted in questions, so that sleep of the machine is nobody's fault."""

import threading

from marloft.deploy.processes.watchdog import Watchdog


class Asked:
    """Somebody who answers after a while or not at all; time is set by hand."""

    def __init__(self) -> None:
        self.now, self.takes_s, self.answers = 0.0, 0.0, True
        self.seen: list[float] = []
        self.watchdog = Watchdog(self.ask, patience_s=5, clock=lambda: self.now)

    def ask(self, patience_s: float) -> bool:
        self.now += self.takes_s / 2
        self.seen.append(self.watchdog.silent_s)
        self.now += self.takes_s / 2
        assert patience_s == 5
        return self.answers


def test_answers_are_no_silence_however_slow() -> None:
    asked = Asked()
    asked.takes_s = 4
    for _ in range(10):
        asked.watchdog.ask()
    assert asked.watchdog.silent_s == 0


def test_unanswered_questions_add_up_while_they_wait() -> None:
    asked = Asked()
    asked.takes_s, asked.answers = 5, False
    for _ in range(3):
        asked.watchdog.ask()
    assert asked.seen == [2.5, 7.5, 12.5]
    assert asked.watchdog.silent_s == 15
    asked.answers = True
    asked.watchdog.ask()
    assert asked.watchdog.silent_s == 0


def test_refusals_at_once_are_silence_too() -> None:
    asked = Asked()
    asked.answers = False
    for _ in range(4):
        asked.watchdog.ask()
    assert asked.watchdog.silent_s == 4


def test_sleep_of_the_machine_is_one_question_at_most() -> None:
    asked = Asked()
    asked.takes_s, asked.answers = 3600, False
    asked.watchdog.ask()
    assert asked.watchdog.silent_s == 5


def test_answer_to_somebody_else_counts() -> None:
    asked = Asked()
    asked.answers = False
    asked.watchdog.ask()
    asked.watchdog.answered()
    assert asked.watchdog.silent_s == 0


def test_it_asks_by_itself_until_the_block_ends() -> None:
    asked = threading.Event()

    def ask(_: float) -> bool:
        asked.set()
        return True

    with Watchdog(ask, every_s=0.01):
        assert asked.wait(10)
