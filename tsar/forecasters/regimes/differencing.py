"""Levels or first differences: the one with the lower one-step error is modelled."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.forecasters.regimes.drift import warn_of_drift
from tsar.forecasters.regimes.fitting import RegimeFit, RegimeFitter
from tsar.hmm.robust_scale import group_means


def fit_regimes(
    fitter: RegimeFitter, panel: Panel, differences: Literal["auto", 0, 1]
) -> RegimeFit:
    """Fit levels, first differences, or both and keep for each model the better ones."""
    differenced, group = first_differences(panel), fitter.group(len(panel))
    n_groups = int(group.max()) + 1
    nobs = group_means(differenced.values, group[differenced.series], n_groups)[1]
    eligible = nobs > 1  # two differences are the least for a variance
    if differences == 1 and bool(eligible.all()):
        return fitter.fit(differenced, differences=1)
    levels = fitter.fit(panel, differences=0)
    if differences == 0:
        warn_of_drift(levels, panel.labels.ids)
    if differences == 0 or not bool(eligible.any()):
        return levels
    part = differenced.select(eligible[group].nonzero()[:, 0].numpy())
    rows, always = eligible.nonzero()[:, 0], differences == 1
    return select_differences(levels, fitter.fit(part, differences=1), rows, always=always)


def first_differences(panel: Panel) -> Panel:
    """First differences; NaN at the first point of a series and next to a missing one.

    Examples
    --------
    >>> first_differences(Panel.from_tensor(torch.tensor([[1.0, 4.0, 5.0]]))).values
    tensor([nan, 3., 1.])
    """
    first = panel.offsets[:-1][panel.lengths > 0]
    differences = panel.values.diff(prepend=panel.values[:1])
    differences[first] = torch.nan
    return replace(panel, values=differences)


def select_differences(
    levels: RegimeFit, differences: RegimeFit, rows: Int[Tensor, " row"], *, always: bool
) -> RegimeFit:
    """Models of levels, replaced by those of differences where these have the lower error.

    `differences` is the fit of the models `rows` alone; `always` replaces all of them, whatever
    their errors.
    """
    better = torch.ones_like(rows, dtype=torch.bool)
    if not always:
        own = levels if levels.models.is_global else levels.select(rows)
        better = differences_are_better(own, differences)
    chosen = better.nonzero()[:, 0]
    if not len(chosen):
        return levels
    if len(chosen) < len(rows):
        differences = differences.select(chosen)
    return levels.put(rows[chosen], differences)


def differences_are_better(levels: RegimeFit, differences: RegimeFit) -> Bool[Tensor, " model"]:
    """Whether models of differences have a lower mean absolute one-step error than those of levels.

    Over points with an observed predecessor. For one regime and an AR(1) process with coefficient
    c, differences are better where c > 0.5. The errors of each series count in units of its
    standard deviation. Equal errors leave the levels.
    """
    gain = levels.one_step_errors() - differences.one_step_errors()  # NaN: no predecessor
    gain = gain / levels.models.scaling.deviation[levels.series]
    model, n_models = levels.data.point_group.cpu(), len(levels.models.n_components)
    return group_means(gain, model, n_models)[0] > 0
