"""LinearGaussianHMM: scikit-learn's contract, fits, inference, and errors."""

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from statsmodels.tsa.statespace.mlemodel import MLEModel

from tsar.data.panel import Panel
from tsar.hmm.linear_gaussian.estimator import LinearGaussianHMM
from tsar.hmm.linear_gaussian.forecasting import simulate
from tsar.hmm.linear_gaussian.kalman import StateSpaceModel
from tsar.hmm.linear_gaussian.selection import predictive_log_density
from tsar.hmm.observations import Observations

ROWS_ARE_TIMES = {
    "check_methods_sample_order_invariance": "rows are times: a model of their order",
    "check_methods_subset_invariance": "rows are times: a state depends on all rows before it",
}


def make_model(n_components: Any = 2, **options: Any) -> LinearGaussianHMM:
    defaults: dict[str, Any] = {"n_init": 2, "n_iter": 30, "device": "cpu", "random_state": 0}
    return LinearGaussianHMM(n_components, **(defaults | options))


def true_model(states: int, features: int, seed: int = 0) -> LinearGaussianHMM:
    """An estimator with fitted attributes that are set by hand."""
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(states, states)))[0]
    model = make_model(states)
    model.transition_ = rotation * np.linspace(0.6, 0.97, states)
    model.state_cov_ = 0.3 * np.eye(states)
    model.design_ = generator.normal(size=(features, states))
    model.obs_intercept_ = 10 * generator.normal(size=features)
    model.obs_cov_ = 0.5 * np.eye(features)
    model.initial_state_, model.initial_state_cov_ = np.zeros(states), np.eye(states)
    model.n_features_in_ = features
    return model


def simulated(
    model: LinearGaussianHMM, length: int, sequences: int = 1, missing: float = 0.0
) -> NDArray[np.float64]:
    """Sequences of one length, end to end."""
    paths = simulate(model._model(), sequences, length, torch.Generator().manual_seed(1))[1]
    values = paths[0].flatten(0, 1).numpy()
    generator = np.random.default_rng(2)
    return np.where(generator.random(values.shape) < missing, np.nan, values)


# --- scikit-learn -----------------------------------------------------------------------------


@pytest.mark.wrong_types
@parametrize_with_checks(
    [make_model(1, n_init=1, n_iter=5)], expected_failed_checks=lambda _: ROWS_ARE_TIMES
)
def test_scikit_learn_accepts_the_transformer(estimator: Any, check: Any) -> None:
    check(estimator)


def test_states_have_feature_names_and_may_be_frames() -> None:
    frame = pd.DataFrame(simulated(true_model(2, 2), 60), columns=["a", "b"])
    model = make_model().set_output(transform="pandas").fit(frame)
    states = model.transform(frame)
    assert list(states.columns) == ["lineargaussianhmm0", "lineargaussianhmm1"]
    assert list(model.get_feature_names_out()) == list(states.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame.rename(columns={"a": "c"}))
    assert clone(model).get_params() == model.get_params()


def test_states_are_features_in_a_pipeline() -> None:
    true = true_model(2, 2)
    values = simulated(true, 300)
    now, later = values[:-1], values[1:, 0]
    score = make_pipeline(make_model(), Ridge()).fit(now, later).score(now, later)
    states = true.transform(now)
    assert score > Ridge().fit(states, later).score(states, later) - 0.02
    assert score > Ridge().fit(now, later).score(now, later) + 0.02


# --- fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", (0.0, 0.2))
@pytest.mark.parametrize(("states", "features"), ((1, 1), (3, 2), (2, 5)))
def test_the_likelihood_never_decreases_and_exceeds_that_of_the_true_model(
    states: int, features: int, missing: float
) -> None:
    true = true_model(states, features)
    values = simulated(true, 100, sequences=5, missing=missing)
    model = make_model(states, n_init=3, n_iter=60).fit(values, lengths=[100] * 5)
    history = model.history_["log_likelihood"]
    assert list(history.index) == list(range(1, model.n_iter_ + 1))
    assert history.diff().min() > -1e-7 * abs(model.log_likelihood_)
    assert model.log_likelihood_ == pytest.approx(model.score(values, lengths=[100] * 5), rel=1e-9)
    assert model.log_likelihoods_.shape == (3,)
    assert model.log_likelihood_ == model.log_likelihoods_.max()
    assert model.log_likelihood_ >= history.max()
    assert model.log_likelihood_ > true.score(values, lengths=[100] * 5) - 0.5


def test_forecasts_are_nearly_those_of_the_true_model() -> None:
    true = true_model(3, 2)
    values = simulated(true, 2000)
    model = make_model(3, n_iter=60).fit(values)
    fresh = true.sample(600, random_state=5)[0]
    lengths = np.full(20, 30)
    for horizon in (1, 5):
        fitted, best = (m.forecast(fresh, horizon, lengths=lengths) for m in (model, true))
        std = np.sqrt(np.diagonal(best.covariance, axis1=2, axis2=3))
        assert np.sqrt(np.mean(((fitted.mean - best.mean) / std) ** 2)) < 0.15
        ratio = np.diagonal(fitted.covariance, axis1=2, axis2=3) / std**2
        assert ratio.min() > 0.8 and ratio.max() < 1.25


class NoisyLevel(MLEModel):
    """statsmodels' model of one state observed with noise, from a known initial state."""

    def __init__(self, values: Any, mean: float, covariance: float) -> None:
        super().__init__(values, k_states=1, k_posdef=1)
        self["design", 0, 0] = self["selection", 0, 0] = 1.0
        self.ssm.initialize_known(np.array([mean]), np.array([[covariance]]))

    param_names = ("transition", "innovation", "noise")
    start_params = np.array([0.9, 0.0, 0.0])

    def update(self, params: Any, **kwargs: Any) -> None:
        transition, innovation, noise = super().update(params, **kwargs)
        self["transition", 0, 0] = transition
        self["state_cov", 0, 0] = np.exp(innovation)
        self["obs_cov", 0, 0] = np.exp(noise)


def test_statsmodels_finds_no_likelier_local_level() -> None:
    generator = np.random.default_rng(0)
    values = np.cumsum(0.3 * generator.normal(size=400)) + generator.normal(size=400)
    values[50:60] = np.nan
    model = make_model(1, n_init=3, n_iter=1000, tol=1e-5).fit(values[:, None])
    assert model.converged_
    scale = model.design_[0, 0]
    peer = NoisyLevel(
        values - model.obs_intercept_[0],
        float(model.initial_state_[0] * scale),
        float(model.initial_state_cov_[0, 0] * scale**2),
    )
    fitted = peer.fit(method="lbfgs", maxiter=500, disp=False)
    # At our parameters it has our likelihood; at its own it may gain what our tolerance left.
    params = [
        model.transition_[0, 0],
        np.log(model.state_cov_[0, 0] * scale**2),
        np.log(model.obs_cov_[0, 0]),
    ]
    assert peer.loglike(params) == pytest.approx(model.log_likelihood_, rel=1e-9)
    assert fitted.llf == pytest.approx(model.log_likelihood_, abs=0.02)


def test_the_canonical_form_of_the_states() -> None:
    values = simulated(true_model(3, 4), 500)
    model = make_model(3, n_iter=60).fit(values)
    smooth = model.smooth(values)
    assert np.mean(smooth**2, axis=0).max() <= 1
    innovations = model.state_cov_
    np.testing.assert_allclose(innovations, np.diag(np.diag(innovations)), atol=1e-10)
    assert (np.diff(np.diag(innovations)) > 0).all()
    design = model.design_
    largest = abs(design / values.std(0)[:, None]).argmax(0)
    assert (design[largest, np.arange(3)] > 0).all()
    assert model.n_parameters_ == 3 * 4 + 2 * 4 + 3 + 3 * 4


def test_bic_rejects_more_states_than_those_of_the_true_model() -> None:
    values = simulated(true_model(1, 3), 400)
    scores = [make_model(n, n_iter=60).fit(values).bic(values) for n in (1, 3)]
    assert scores[0] < scores[1]
    model = make_model(1).fit(values)
    expected = 2 * model.n_parameters_ - 2 * model.score(values)
    assert model.aic(values) == pytest.approx(expected)


@pytest.mark.parametrize("criterion", ("heldout", "bic", "aic"))
def test_the_true_number_of_states_is_selected(criterion: Any) -> None:
    values = simulated(true_model(2, 3), 300, sequences=2, missing=0.1)
    options: dict[str, Any] = {"criterion": criterion, "max_components": 4}
    model = make_model("auto", **options).fit(values, lengths=[300, 300])
    assert model.n_components_ == 2 or (criterion == "aic" and model.n_components_ > 2)
    table = model.selection_
    assert table["n_components"].tolist() == [1, 2, 3, 4]
    assert table.loc[table["chosen"], "n_components"].tolist() == [model.n_components_]
    alone = make_model(model.n_components_).fit(values, lengths=[300, 300])
    np.testing.assert_array_equal(alone.transition_, model.transition_)
    assert model.transform(values, lengths=[300, 300]).shape == (600, model.n_components_)
    if criterion != "heldout":
        row = table[table["chosen"]].iloc[0]
        assert row["log_likelihood"] == pytest.approx(model.log_likelihood_)
        value = getattr(model, criterion)(values, lengths=[300, 300])
        assert row[criterion] == pytest.approx(value)


def test_predictive_log_densities_add_up_to_the_log_likelihood() -> None:
    model = true_model(2, 3)
    values = simulated(model, 60, sequences=2, missing=0.3)
    values[70] = np.nan
    observations = Observations(torch.from_numpy(values), torch.tensor([0, 70, 120]))
    log_density = predictive_log_density(observations, model._model())
    assert float(log_density.sum()) == pytest.approx(model.score(values, lengths=[70, 50]))
    assert log_density[70] == 0  # a missing point
    early = float(log_density[:40].sum())
    assert early == pytest.approx(model.score(values[:40]))


def test_held_out_points_are_observed_ones() -> None:
    values = simulated(true_model(2, 3), 400)
    values[300:] = np.nan
    assert make_model("auto", max_components=3).fit(values).n_components_ == 2


def test_a_seed_determines_the_fit_and_the_order_of_sequences_does_not_matter() -> None:
    values = simulated(true_model(2, 2), 50, sequences=4)
    lengths = [30, 50, 20, 100]
    parts = np.split(values, np.cumsum(lengths)[:-1])
    first = make_model().fit(values, lengths=lengths)
    again = make_model().fit(values, lengths=lengths)
    np.testing.assert_array_equal(again.transition_, first.transition_)
    reordered = make_model().fit(np.concatenate(parts[::-1]), lengths=lengths[::-1])
    assert reordered.log_likelihood_ == pytest.approx(first.log_likelihood_, rel=1e-9)
    np.testing.assert_allclose(reordered.transition_, first.transition_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("scale", "level"), ((1e-6, 0.0), (1e6, 1e9)))
def test_the_fit_is_equivariant_to_scale_and_location(scale: float, level: float) -> None:
    values = simulated(true_model(2, 2), 200)
    plain, rescaled = make_model().fit(values), make_model().fit(values * scale + level)
    expected = plain.log_likelihood_ - values.size * np.log(scale)
    assert rescaled.log_likelihood_ == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(
        rescaled.transform(values * scale + level), plain.transform(values), atol=1e-4
    )


# --- inference --------------------------------------------------------------------------------


def test_filtered_states_do_not_depend_on_later_points() -> None:
    values = simulated(true_model(2, 2), 120, missing=0.1)
    model = make_model().fit(values)
    changed = values.copy()
    changed[70:] = 100.0
    before, after = model.transform(values), model.transform(changed)
    np.testing.assert_allclose(after[:70], before[:70], rtol=1e-9, atol=1e-10)
    assert abs(after[70:] - before[70:]).max() > 1
    assert abs(model.smooth(changed)[60:70] - model.smooth(values)[60:70]).max() > 0.1
    np.testing.assert_allclose(model.smooth(values)[-1], before[-1])


def test_sequences_are_independent() -> None:
    values = simulated(true_model(2, 2), 100)
    model = make_model().fit(values)
    parts = (values[:30], values[30:37], values[37:])
    lengths = [len(part) for part in parts]
    joint = model.transform(values, lengths=lengths)
    np.testing.assert_allclose(joint, np.concatenate([model.transform(p) for p in parts]))
    score = model.score(values, lengths=lengths)
    assert score == pytest.approx(sum(model.score(part) for part in parts))
    forecast = model.forecast(values, 3, lengths=lengths)
    for i, part in enumerate(parts):
        np.testing.assert_allclose(forecast.mean[i], model.forecast(part, 3).mean[0])
        np.testing.assert_allclose(forecast.covariance[i], model.forecast(part, 3).covariance[0])
    fitted = make_model().fit_transform(values, lengths=lengths)
    np.testing.assert_allclose(
        fitted, make_model().fit(values, lengths=lengths).transform(values, lengths=lengths)
    )


def test_a_long_frame_in_any_row_order_equals_its_panel() -> None:
    values = simulated(true_model(1, 1), 40, sequences=3)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(["a", "b", "c"], 40),
            "ds": np.tile(pd.date_range("2024-01-01", periods=40), 3),
            "y": values[:, 0],
        }
    )
    shuffled = frame.sample(frac=1, random_state=0)
    model = make_model(1).fit(shuffled)
    panel = Panel.from_frame(frame)
    assert model.log_likelihood_ == pytest.approx(make_model(1).fit(panel).log_likelihood_)
    assert model.log_likelihood_ == pytest.approx(
        make_model(1).fit(values, lengths=[40] * 3).log_likelihood_
    )
    states = pd.Series(model.transform(shuffled)[:, 0], index=shuffled.index).sort_index()
    np.testing.assert_allclose(states, model.transform(panel)[:, 0])
    with pytest.raises(ValueError, match="lengths must be None"):
        model.transform(shuffled, lengths=[120])


def test_samples_have_the_moments_of_the_model_and_are_reproducible() -> None:
    true = true_model(2, 2)
    values, states = true.sample(4000, random_state=3)
    assert values.shape == (4000, 2) and states.shape == (4000, 2)
    np.testing.assert_array_equal(true.sample(4000, random_state=3)[0], values)
    errors = values - states @ true.design_.T - true.obs_intercept_
    np.testing.assert_allclose(np.cov(errors.T), true.obs_cov_, atol=0.05)
    innovations = states[1:] - states[:-1] @ true.transition_.T
    np.testing.assert_allclose(np.cov(innovations.T), true.state_cov_, atol=0.05)


# --- degenerate and invalid input -------------------------------------------------------------


def test_a_sequence_without_observations_is_skipped() -> None:
    values = simulated(true_model(2, 2), 60)
    empty = np.full((20, 2), np.nan)
    lengths, both = [60, 20], np.concatenate([values, empty])
    model, plain = make_model().fit(both, lengths=lengths), make_model().fit(values)
    assert model.log_likelihood_ == pytest.approx(plain.log_likelihood_)
    np.testing.assert_allclose(model.transition_, plain.transition_)
    assert model.score(both, lengths=lengths) == pytest.approx(model.score(values))
    assert np.isfinite(model.transform(both, lengths=lengths)).all()
    assert np.isfinite(model.forecast(both, 2, lengths=lengths).mean).all()


@pytest.mark.parametrize(
    "values",
    (
        np.full((50, 2), 3.25),
        np.column_stack([np.full(50, 1e8), np.arange(50.0)]),
        np.column_stack([np.full(50, np.nan), np.arange(50.0)]),
        np.sin(np.arange(60.0))[:, None],
        np.exp(np.arange(40.0))[:, None],
        np.where(np.arange(50) == 7, 1e6, 0.0)[:, None],
        np.array([[1.0], [2.0]]),
        np.array([[1.0, 2.0]]),
    ),
    ids=("constant", "large level", "all missing", "sine", "growth", "outlier", "two", "one"),
)
def test_degenerate_data_give_finite_parameters(values: NDArray[np.float64]) -> None:
    model = make_model().fit(values)
    for field in fields(StateSpaceModel):
        assert np.isfinite(getattr(model, f"{field.name}_")).all()
    assert np.isfinite(model.log_likelihood_)
    assert (np.diag(model.obs_cov_) > 0).all()
    assert (np.linalg.eigvalsh(model.state_cov_) > 0).all()
    gains = model.history_["log_likelihood"].diff().fillna(0)
    assert gains.min() > -1e-6 * abs(model.log_likelihood_)
    assert np.isfinite(model.transform(values)).all()
    assert np.isfinite(model.forecast(values, 3).covariance).all()


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({"n_components": 0}, "n_components must be an integer of at least 1; got 0"),
        ({"n_components": 21}, "n_components must be at most 20 for these observations; got 21"),
        ({"n_components": "all"}, "integer of at least 1, or 'auto'; got 'all'"),
        ({"criterion": "icl"}, "criterion must be one of"),
        ({"n_init": 0}, "n_init must be an integer"),
        ({"n_iter": 0}, "n_iter must be an integer"),
        ({"tol": -1.0}, "tol must be finite and at least 0"),
        ({"min_covar": 0.0}, "min_covar must be positive"),
        ({"transition_prior": np.nan}, "transition_prior must be finite"),
        ({"transition_weight": -1.0}, "transition_weight must be finite and at least 0"),
        ({"obs_cov_prior": 0.0}, "obs_cov_prior must be positive"),
        ({"obs_cov_weight": np.inf}, "obs_cov_weight must be finite and at least 0"),
        ({"device": "tpu9"}, "device must be 'auto' or a device"),
    ),
    ids=str,
)
def test_invalid_parameters_are_rejected(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model().set_params(**options).fit(np.random.default_rng(0).normal(size=(10, 2)))


def test_invalid_input_is_rejected() -> None:
    values = simulated(true_model(2, 2), 40)
    with pytest.raises(NotFittedError):
        make_model().transform(values)
    with pytest.raises(NotFittedError):
        make_model().sample(3)
    with pytest.raises(ValueError, match="add up to the 40 rows of X; got 41"):
        make_model().fit(values, lengths=[20, 21])
    with pytest.raises(ValueError, match="at least one observed point; got NaN alone"):
        make_model().fit(np.full((10, 2), np.nan))
    model = make_model().fit(values)
    with pytest.raises(ValueError, match="expecting 2 features"):
        model.transform(values[:, :1])
    with pytest.raises(ValueError, match="horizon must be an integer"):
        model.forecast(values, 0)
    with pytest.raises(ValueError, match="n_samples must be an integer"):
        model.sample(0)
    with pytest.raises(ValueError, match="infinity"):
        model.transform(np.where(values > values.mean(), np.inf, values))
