"""Statistics of each series: autoregressive order, out-of-sample R2, number of HMM states."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.complexity.representations import complete_windows
from tsar.complexity.splits import Rows, future_values, rows_by_period
from tsar.data.panel import Panel
from tsar.hmm.discrete import selection
from tsar.hmm.discrete.fitting import EMOptions, FittedModels, fit_restarts
from tsar.hmm.discrete.gaussian_emissions import DiagonalGaussian
from tsar.hmm.discrete.sequence_groups import SequenceGroups
from tsar.hmm.observations import Observations
from tsar.runtime.memory import MAX_ELEMENTS, chunked, rows_within

JITTER = 1e-10  # of the variance, as a row for each lag: no triangular factor is singular
MIN_ROWS_PER_LAG = 3  # training rows that an order needs for each of its lags
MAX_HMM_SERIES = 100  # series whose number of states is selected: a third of a second each
N_COMPONENTS, N_INIT, EM_RULES = range(1, 9), 5, EMOptions(n_iter=100, tol=1e-2)
EMISSION = DiagonalGaussian(covars_prior=1e-5, min_covar=1e-8)


def autoregression_table(panel: Panel, shares: tuple[float, float], max_order: int) -> pd.DataFrame:
    """Order, one-step test risk and R2 of an autoregression of each series.

    All orders come from one QR decomposition: with orthogonalized lags the forecast of order p is a
    sum of p terms. The order is the smallest whose validation error is within one standard error
    of the least. The series are standardized; `shares` are those of validation and test in each.

    Returns
    -------
    frame
        By id: ``n_train`` (rows), ``order``, ``risk`` and ``null_risk`` (mean squared errors on the
        test period, of that order and of the training mean), ``r2`` (out-of-sample,
        ``1 - risk / null_risk``) and ``entropy_rate`` in nats per point (of a Gaussian with the
        error's variance, in units of the standardized series). NaN where a series is too short.

    Examples
    --------
    >>> noise = torch.randn(1, 600, generator=torch.Generator().manual_seed(0)).double()
    >>> for point in range(2, 600):
    ...     noise[0, point] += 0.9 * noise[0, point - 2]
    >>> int(autoregression_table(Panel.from_tensor(noise), (0.2, 0.2), 8)["order"].iloc[0])
    2
    """
    response = future_values(panel, 1, segment=False)
    periods = rows_by_period(panel, response, complete_windows(panel, max_order), 1, shares)
    counts = torch.stack([torch.bincount(rows.series, minlength=len(panel)) for rows in periods])
    enough = (counts[0] >= 2 * MIN_ROWS_PER_LAG) & (counts[1:] >= 2).all(dim=0)
    series = enough.nonzero()[:, 0]

    def measure(chunk: slice) -> Float[Tensor, "series statistic"]:
        designs = [_Designs.of(panel, rows, series[chunk], max_order) for rows in periods]
        return _statistics(*designs)

    statistics = torch.full((len(panel), 5), math.nan, dtype=torch.float64)
    chunk_size = rows_within(MAX_ELEMENTS, int(counts.max()) * max_order)
    if len(series):
        statistics[series] = torch.cat(list(chunked(measure, len(series), chunk_size)))
    columns = ["n_train", "order", "risk", "null_risk", "entropy_rate"]
    table = pd.DataFrame(statistics.numpy(), columns=columns, index=panel.labels.ids)
    table["entropy_rate"] += 0.0
    table.insert(4, "r2", 1 - table["risk"] / table["null_risk"])
    return table.astype({"n_train": "Int64", "order": "Int64"})


def select_n_components(panel: Panel, seed: int) -> list[int]:
    """Number of Gaussian HMM states by held-out score, for each of the first 100 series.

    All series, which are standardized, are fitted in one batch.
    """
    first = panel.select(np.arange(min(len(panel), MAX_HMM_SERIES)))
    observations = Observations(first.values[:, None], first.offsets)
    data, _ = SequenceGroups(observations, torch.arange(len(first))).robust_standardize()

    def fit(part: SequenceGroups, n_components: int) -> FittedModels[Any]:
        return fit_restarts(EMISSION, part, n_components, N_INIT, EM_RULES, seed)

    return selection.select_n_components(EMISSION, data, N_COMPONENTS, "heldout", fit)[0].tolist()


@dataclass(frozen=True)
class _Designs:
    """Lag windows and targets of several series, with masked rows of zeros where one has fewer."""

    windows: Float[Tensor, "series row lag"]
    target: Float[Tensor, "series row"]
    mask: Bool[Tensor, "series row"]

    @classmethod
    def of(
        cls, panel: Panel, rows: Rows, selected: Int[Tensor, " selected"], max_order: int
    ) -> "_Designs":
        index = torch.full((len(panel),), -1)
        index[selected] = torch.arange(len(selected))
        rows = rows.select(index[rows.series] >= 0)
        row = torch.arange(len(rows)) - torch.searchsorted(rows.series, rows.series)
        shape = len(selected), int(row.max()) + 1
        designs = cls(
            panel.values.new_zeros(*shape, max_order),
            panel.values.new_zeros(shape),
            torch.zeros(shape, dtype=torch.bool),
        )
        at = index[rows.series], row
        windows = panel.values.unfold(0, max_order, 1)
        designs.windows[at] = windows[rows.positions - max_order + 1].flip(1)
        designs.target[at] = rows.response[:, 0]
        designs.mask[at] = True
        return designs

    def centre(
        self, lag_mean: Float[Tensor, "series lag"], target_mean: Float[Tensor, " series"]
    ) -> "_Designs":
        """Subtract the training means."""
        mask = self.mask.to(self.windows)
        windows = (self.windows - lag_mean[:, None]) * mask[:, :, None]
        return _Designs(windows, (self.target - target_mean[:, None]) * mask, self.mask)

    def mean(self, losses: Float[Tensor, "series row order"]) -> Float[Tensor, "series order"]:
        """Mean over the rows of each series; losses of masked rows must be 0."""
        return losses.sum(dim=1) / self.mask.sum(dim=1)[:, None]


def _statistics(
    train: _Designs, validation: _Designs, test: _Designs
) -> Float[Tensor, "series statistic"]:
    """Training rows, order, risk, null risk and entropy rate of each series."""
    n_train = train.mask.sum(dim=1)
    means = train.windows.sum(dim=1) / n_train[:, None], train.target.sum(dim=1) / n_train
    train, validation, test = (part.centre(*means) for part in (train, validation, test))
    jitter = (JITTER * n_train).sqrt()[:, None, None] * torch.eye(train.windows.shape[2]).double()
    left, triangle = torch.linalg.qr(torch.cat([train.windows, jitter], dim=1))
    weights = (left[:, : train.target.shape[1]].mT @ train.target[:, :, None])[:, :, 0]
    order = _select_order(_losses(validation, triangle, weights), validation, n_train)
    risks = test.mean(_losses(test, triangle, weights))
    risk, null_risk = risks.gather(1, order[:, None])[:, 0], risks[:, 0]
    entropy_rate = 0.5 * (2 * math.pi * math.e * risk).log()
    return torch.stack([n_train.to(risk), order.to(risk), risk, null_risk, entropy_rate], dim=1)


def _losses(
    designs: _Designs,
    triangle: Float[Tensor, "series lag lag"],
    weights: Float[Tensor, "series lag"],
) -> Float[Tensor, "series row order"]:
    """Squared errors of order 0, which is the training mean, and of each higher order."""
    scores = torch.linalg.solve_triangular(triangle, designs.windows, upper=True, left=False)
    forecasts = torch.nn.functional.pad((scores * weights[:, None]).cumsum(dim=2), (1, 0))
    return (designs.target[:, :, None] - forecasts).square()


def _select_order(
    losses: Float[Tensor, "series row order"], validation: _Designs, n_train: Int[Tensor, " series"]
) -> Int[Tensor, " series"]:
    """The smallest order within one standard error of the least validation risk."""
    risk = validation.mean(losses)
    allowed = torch.arange(risk.shape[1]) <= n_train[:, None] // MIN_ROWS_PER_LAG
    best = torch.where(allowed, risk, torch.inf).argmin(dim=1)
    excess = losses - losses.gather(2, best[:, None, None].expand(-1, losses.shape[1], 1))
    mean_excess = validation.mean(excess)
    deviations = (excess - mean_excess[:, None]) * validation.mask[:, :, None]
    std_err = (validation.mean(deviations.square()) / validation.mask.sum(dim=1)[:, None]).sqrt()
    return (allowed & (mean_excess <= std_err)).long().argmax(dim=1)
