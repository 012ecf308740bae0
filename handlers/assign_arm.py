"""Says which arm of the experiment each request belongs to; the first node of a workflow."""

from marloft.serving.nodes import AssignNode


class AssignArm(AssignNode):
    """Splits by the archive's `allocation.json`, or by the release's while one is rendered."""
