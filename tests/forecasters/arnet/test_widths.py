"""Widths of a combination's intervals, against quantiles by NumPy and the coverage of forecasts."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import t as student_t

from tsar import ARNet
from tsar.forecasters.arnet.combination import widths as module
from tsar.forecasters.arnet.combination.widths import COVERAGES, PRIOR_ORIGINS, Widths

NAN = np.nan


def scores(origins: int, seed: int = 0, horizon: int = 6) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.abs(rng.standard_t(4, size=(3, origins, horizon))))


def test_widths_lie_between_those_of_the_series_and_students_t() -> None:
    values = scores(4)
    values[1, 2:] = NAN  # two origins only
    values[2] = NAN
    widths = Widths.of(values)
    tails = student_t.ppf(0.5 + np.array(COVERAGES) / 2, module.TAIL_DF)
    for row, count in enumerate([4, 2, 0]):
        for third, factor in enumerate(module.THIRDS):
            own = values[row, :, 2 * third : 2 * third + 2].numpy()
            quantiles = np.nanquantile(own, COVERAGES) if count else np.zeros(len(COVERAGES))
            expected = PRIOR_ORIGINS * factor * tails + count * quantiles
            expected = expected / (PRIOR_ORIGINS + count)
            np.testing.assert_allclose(widths.quantiles[row, third], expected)


def test_without_evidence_quantiles_are_those_of_students_t() -> None:
    widths = Widths.of(scores(0))
    levels = [0.001, 0.05, 0.3, 0.5, 0.9, 0.9999]
    factors = widths.factors(torch.tensor([0]), 9, levels)
    expected = student_t.ppf(levels, module.TAIL_DF)
    for step in (0, 3, 5, 8):
        factor = module.THIRDS[min(step // 2, 2)]
        np.testing.assert_allclose(factors[0, step], factor * expected, rtol=1e-9)


def test_quantiles_do_not_cross_and_are_symmetric() -> None:
    levels = np.linspace(0.001, 0.999, 401).tolist()
    factors = Widths.of(scores(20)).factors(torch.arange(3), 6, levels).numpy()
    assert (np.diff(factors, axis=2) > 0).all()
    np.testing.assert_allclose(factors, -factors[:, :, ::-1], atol=1e-12)
    assert np.abs(factors[:, :, 200]).max() == 0


def test_an_error_after_a_constant_stretch_does_not_make_intervals_endless() -> None:
    y = np.r_[np.full(60, 5.0), np.full(36, 9.0)]
    frame = pd.Series(y, index=pd.date_range("2010", periods=96, freq="MS"))
    forecast = ARNet(horizon=6).fit(frame).predict(level=95)
    width = forecast["ARNet-hi-95"] - forecast["ARNet-lo-95"]
    assert float(width.max()) < 100


@pytest.mark.filterwarnings("ignore:series .* has a value:UserWarning")
@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_intervals_of_many_series_hold(tails: str) -> None:
    rng = np.random.default_rng(0)
    size = (168, 60)
    noise = rng.normal(size=size) if tails == "normal" else rng.standard_t(3, size=size)
    y = np.zeros(size)
    for t in range(1, 168):
        y[t] = 0.6 * y[t - 1] + noise[t]
    times = pd.date_range("2010", periods=168, freq="MS")
    wide = pd.DataFrame(50 + y, index=times)
    forecast = ARNet(horizon=12).fit(wide[:156]).predict(level=[80, 95])
    for level, low, high in ((80, 0.75, 0.87), (95, 0.92, 0.99)):
        below = forecast.xs(f"ARNet-lo-{level}", axis=1, level=1)
        above = forecast.xs(f"ARNet-hi-{level}", axis=1, level=1)
        held = (below <= wide[156:]) & (wide[156:] <= above)
        assert low < held.to_numpy().mean() < high


def test_pooled_widths_count_the_errors_of_other_series() -> None:
    values = np.random.default_rng(0).exponential(size=(200, 30))
    own, pooled = (ARNet(horizon=6, season_length=1, pool=pool) for pool in (False, True))
    assert np.allclose(own.fit(values).predict(), pooled.fit(values).predict())
    among, alone = (pooled.fit(some).predict(level=80)[:, 0] for some in (values, values[:, :1]))
    assert np.allclose(among[:, 0], alone[:, 0]) and not np.allclose(among, alone)
    widths = [
        model.fit(values[:60]).combination_.parts[0].widths.quantiles[:, 0, 3]
        for model in (own, pooled)
    ]
    assert float(widths[0].std()) == pytest.approx(float(widths[1].std()))  # the prior alone moves
    assert float(widths[0].mean()) != pytest.approx(float(widths[1].mean()), rel=1e-3)


def test_pooling_needs_a_combination() -> None:
    with pytest.raises(ValueError, match="pool must be False where the model is one equation"):
        ARNet(3, pool=True).fit(np.random.default_rng(0).normal(size=50))


def test_intervals_of_counts_are_not_negative() -> None:
    rng = np.random.default_rng(3)
    counts = np.where(rng.random(200) < 0.15, rng.poisson(4, 200) + 1, 0).astype(float)
    forecast = ARNet(horizon=14).fit(counts).predict(level=80)
    assert forecast.min() >= 0
    assert ARNet(horizon=14).fit(counts - 1).predict(level=80).min() < 0
