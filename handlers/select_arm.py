"""Passes on the answer of the arm that was meant; the last node of a workflow."""

from marloft.serving.nodes import SelectNode


class SelectArm(SelectNode):
    """Takes the one answer that is not empty."""
