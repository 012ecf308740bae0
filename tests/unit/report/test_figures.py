"""How every report's pictures are drawn: the same bytes, a text alternative, open sides."""

from xml.etree import ElementTree

import numpy as np
import pytest

from marloft.contract.estimate import Estimate
from marloft.report.figures import COLOURS, canvas, draw_interval, to_svg


def drawn(low: float | None, high: float | None) -> str:
    figure, axes = canvas(2)
    estimate = Estimate(value=0.2, low=low, high=high, p=None, n=10, method="x")
    draw_interval(axes, 0, estimate, COLOURS[0])
    return to_svg(figure, "an effect")


def test_same_figure_is_the_same_svg_with_a_text_alternative() -> None:
    first = drawn(0.1, 0.3)
    assert first == drawn(0.1, 0.3) != drawn(0.1, 0.4)
    element = ElementTree.fromstring(first)
    assert (element.get("role"), element.get("aria-label")) == ("img", "an effect")


@pytest.mark.parametrize(
    ("low", "high", "heads"),
    [(0.1, 0.3, []), (None, 0.3, ["<"]), (0.1, None, [">"]), (None, None, ["<", ">"])],
)
def test_side_without_a_bound_ends_in_an_arrow_head(
    low: float | None, high: float | None, heads: list[str]
) -> None:
    _, axes = canvas(2)
    estimate = Estimate(value=0.2, low=low, high=high, p=None, n=10, method="x")
    draw_interval(axes, 0, estimate, COLOURS[0])
    markers = [line.get_marker() for line in axes.lines]
    assert [marker for marker in markers if marker in ("<", ">")] == heads


def test_values_are_drawn_as_per_cent_unless_another_factor_is_given() -> None:
    _, axes = canvas(2)
    estimate = Estimate(value=4.0, low=3.0, high=5.0, p=None, n=10, method="x")
    draw_interval(axes, 0, estimate, COLOURS[0])
    draw_interval(axes, 1, estimate, COLOURS[0], 1.0)
    drawn_at = [np.asarray(line.get_xdata()).tolist() for line in axes.lines]
    assert drawn_at == [[300, 500], [400], [3, 5], [4]]


def test_colours_differ() -> None:
    assert len(set(COLOURS)) == len(COLOURS)
