"""The demo: real data to a decided A/B test, as a list of steps that anyone can run one by one."""

from marloft.demo.run import Demo, Step, run_steps
from marloft.demo.steps import STEPS

__all__ = ["STEPS", "Demo", "Step", "run_steps"]
