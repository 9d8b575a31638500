"""The plot of risk against size shows the curves of the requested head."""

from typing import Any

import numpy as np
import pytest
from small_analysis import AR2, analysis

from tsar.complexity import Lags


def lines_of(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.lines}


def test_the_plot_shows_the_curves() -> None:
    fitted = analysis("random", n_train=60).fit(AR2)
    total, excess = fitted.plot().axes
    lines = lines_of(total)
    curve = fitted.curves_[fitted.curves_["head"] == "ridgeless"]
    np.testing.assert_array_equal(lines["test, no penalty"].get_ydata(), curve["test"])
    np.testing.assert_array_equal(lines["test, no penalty"].get_xdata(), curve["size"])
    assert lines["null risk (mean)"].get_ydata()[0] == fitted.summary_["null_risk"]
    assert f"recommended: {fitted.recommend().size}" in lines
    assert total.get_xscale() == total.get_yscale() == "log"
    assert {60} <= {line.get_xdata()[0] for line in total.lines if len(line.get_xdata()) == 2}
    parts = lines_of(excess)
    np.testing.assert_array_equal(parts["excess"].get_ydata(), curve["excess"])
    assert {"variance", "theory"} <= set(parts)
    fitted.plot().canvas.draw()


def test_the_plot_shows_the_requested_head() -> None:
    fitted = analysis("random", n_train=60, head="ridge").fit(AR2)
    total, excess = fitted.plot().axes
    curve = fitted.curves_[fitted.curves_["head"] == "ridge"]
    lines = lines_of(excess)
    np.testing.assert_array_equal(lines["excess"].get_ydata(), curve["excess"])
    assert {"bias", "variance", "theory"} <= set(lines)
    assert "tuned ridge" in excess.get_ylabel()
    assert {"test, no penalty", "test, tuned ridge", "train, tuned ridge"} <= set(lines_of(total))


@pytest.mark.parametrize("head", ("ridgeless", "ridge"))
def test_no_curve_leaves_the_axes_at_the_bottom(head: Any) -> None:
    for axes in analysis("random", n_train=60, head=head).fit(AR2).plot().axes:
        low = axes.get_ylim()[0]
        for line in axes.lines:
            if line.get_transform() == axes.transData and len(line.get_xdata()) > 2:
                assert np.nanmin(line.get_ydata()) >= low, line.get_label()


def test_a_logistic_head_has_one_panel() -> None:
    fitted = analysis(Lags(3), sizes=(1, 3), head="logistic").fit(AR2, AR2 > 0)
    (axes,) = fitted.plot().axes
    assert {"test, logistic", "train, logistic"} <= set(lines_of(axes))
