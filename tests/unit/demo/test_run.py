"""How the demo runs: steps in order, a summary, and one clear line when a step fails."""

from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from marloft.demo import Demo, Step, run_steps
from marloft.errors import StepError

KEYS = {
    *("data", "train", "optimize", "archives", "serving", "experiment", "planted", "fairness"),
    *("var", "seconds"),
}


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    monkeypatch.chdir(tmp_path)
    return Demo(0, Console(file=(tmp_path / "screen").open("w"), width=80))


def screen(demo: Demo) -> str:
    demo.console.file.close()
    return Path("screen").read_text()


def test_steps_run_in_order_and_fill_the_summary(demo: Demo) -> None:
    done: list[str] = []
    first = Step(name="a", title="first", run=lambda _: done.append("a"))
    second = Step(name="b", title="second", run=lambda _: done.append("b"))
    run_steps(demo, (first, second))
    demo.console.file.close()
    summary = msgspec.json.decode(Path("build/demo/summary.json").read_bytes())
    assert done == ["a", "b"]
    assert set(summary) == KEYS
    assert set(summary["seconds"]) == {"a", "b"}


def test_failing_step_is_named_with_its_last_words(demo: Demo) -> None:
    def fail(demo: Demo) -> None:
        demo.run("python", "-c", "print('on my way'); raise SystemExit('no ratings today')")

    steps = (Step(name="data", title="data", run=fail), Step(name="never", title="", run=fail))
    with pytest.raises(StepError, match=r"step 'data' failed: python .* no ratings today"):
        run_steps(demo, steps)
    assert "on my way" in screen(demo)


def test_quiet_command_shows_its_output_only_when_it_fails(demo: Demo) -> None:
    demo.run("python", "-c", "print('all ' + 'well')", quiet=True)
    with pytest.raises(StepError):
        demo.run("python", "-c", "print('look ' + 'here'); raise SystemExit(3)", quiet=True)
    shown = screen(demo)
    assert "all well" not in shown
    assert "look here" in shown
