"""Densities against scipy, and quantiles and sample paths computed from them."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from small_autotimes import SMALL, waves

from tsar import AutoTimes, NLinear, Training
from tsar.data.batch import Context
from tsar.forecasters.autotimes.density import DENSITIES
from tsar.forecasters.autotimes.module import AutoTimesModule

OUTPUT = {
    "gaussian": torch.tensor([[1.0, 0.5], [-3.0, -2.0]], dtype=torch.float64),
    "student_t": torch.tensor([[1.0, 0.5, 0.3], [-3.0, -2.0, 4.0]], dtype=torch.float64),
}


def scipy_density(name: str, output: torch.Tensor) -> Any:
    location, scale = output[:, 0].numpy(), output[:, 1].exp().numpy()
    if name == "gaussian":
        return stats.norm(location, scale)
    return stats.t(2 + np.log1p(np.exp(output[:, 2].numpy())), location, scale)


@pytest.mark.parametrize("name", OUTPUT)
def test_density_matches_scipy(name: str) -> None:
    output, density = OUTPUT[name], DENSITIES[name]
    points = torch.tensor([2.0, -3.3], dtype=torch.float64)
    expected = scipy_density(name, output).logpdf(points.numpy())
    np.testing.assert_allclose(density.log_prob(output, points), expected, rtol=1e-9)
    for index, level in enumerate((0.05, 0.5, 0.9)):
        found = density.quantiles(output, (0.05, 0.5, 0.9))[:, index]
        np.testing.assert_allclose(found, scipy_density(name, output).ppf(level), rtol=1e-6)


@pytest.mark.parametrize("name", OUTPUT)
def test_samples_follow_the_density(name: str) -> None:
    output = OUTPUT[name][:1]
    uniform = 1 - torch.rand(20000, 2, generator=torch.Generator().manual_seed(0)).double()
    samples = DENSITIES[name].sample(output.expand(20000, -1), uniform)
    assert stats.kstest(samples.numpy(), scipy_density(name, output).cdf).pvalue > 1e-3


@pytest.mark.parametrize("loss", ("gaussian", "student_t"))
def test_quantiles_beyond_a_segment_are_those_of_sample_paths(loss: str) -> None:
    model = AutoTimes(12, horizon=3, loss=loss, **SMALL).fit(waves())
    context = torch.from_numpy(waves()[-12:].T.copy())
    levels = (0.1, 0.5, 0.9)
    found = model.forecast(context, 9, quantile_levels=levels)
    paths = model.forecast(context, 9, n_samples=4000)
    assert paths.shape == (2, 4000, 9)
    expected = paths.quantile(torch.tensor(levels, dtype=torch.float64), dim=1).movedim(0, -1)
    width = expected[..., 2] - expected[..., 0]
    assert float(((found - expected).abs() / width[..., None]).max()) < 0.25  # 200 paths
    assert bool((found[..., 0] < found[..., 1]).all() and (found[..., 1] < found[..., 2]).all())
    again = model.forecast(context, 9, n_samples=4000)
    assert torch.equal(paths, again)  # seeded


def test_sample_paths_without_a_density_raise() -> None:
    model = AutoTimes(12, horizon=3, **SMALL).fit(waves())
    with pytest.raises(ValueError, match=r"n_samples must be None for .* draws no paths"):
        model.forecast(torch.zeros(2, 12), n_samples=3)
    training = SMALL["training"]
    linear = NLinear(12, training=training, random_state=0).fit(waves())
    with pytest.raises(ValueError, match=r"n_samples must be None for .* draws no paths"):
        linear.forecast(torch.zeros(2, 12), n_samples=3)


def test_sample_paths_after_a_missing_point_raise() -> None:
    model = AutoTimes(12, horizon=3, loss="gaussian", **SMALL).fit(waves())
    context = torch.zeros(2, 12)
    context[1, -1] = torch.nan
    with pytest.raises(ValueError, match=r"context must end with an observed point"):
        model.forecast(context, n_samples=3)


def test_intervals_of_a_density_have_their_coverage() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(600, 20))
    options = SMALL | {"training": Training(epochs=10, batch_size=64)}
    model = AutoTimes(12, horizon=3, loss="gaussian", **options).fit(noise[:-3])
    found = model.predict(level=80)
    inside = (found[..., 1] <= noise[-3:]) & (noise[-3:] <= found[..., 2])
    assert 0.7 < inside.mean() < 0.9


def test_sample_paths_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoTimes(12, horizon=3, loss="gaussian", **SMALL).fit(waves())
    context = torch.from_numpy(waves()[:24].reshape(8, 6)).float()
    expected = model.forecast(context, 7, n_samples=4, series=torch.full((8,), -1))
    hidden = AutoTimesModule.hidden

    def limited(self: AutoTimesModule, context: Context) -> Any:
        if len(context) > 12:  # four paths of three contexts, or all contexts
            raise torch.OutOfMemoryError("too many contexts")
        return hidden(self, context)

    monkeypatch.setattr(AutoTimesModule, "hidden", limited)
    model.set_params(inference_batch_size=16)
    found = model.forecast(context, 7, n_samples=4, series=torch.full((8,), -1))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch_size", (1, 2, 256))
def test_sample_paths_depend_neither_on_batch_nor_horizon(batch_size: int) -> None:
    model = AutoTimes(12, horizon=3, loss="gaussian", **SMALL).fit(waves())
    context = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    rows = torch.full((3,), -1)
    paths = model.forecast(context, 9, series=rows, n_samples=20)
    model.set_params(inference_batch_size=batch_size)
    short = model.forecast(context[:2], 4, series=rows[:2], n_samples=20)
    torch.testing.assert_close(short, paths[:2, :, :4], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(paths[0].mean(dim=0), paths[0])
    noise = [row - row.mean(dim=0) for row in paths]
    assert abs(float(torch.corrcoef(torch.stack([n.flatten() for n in noise]))[0, 1])) < 0.3
