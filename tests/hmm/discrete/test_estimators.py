"""GaussianHMM and CategoricalHMM against hmmlearn, and as scikit-learn estimators."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hmmlearn import hmm
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from tsar.data.panel import Columns, Panel
from tsar.hmm import CategoricalHMM, GaussianHMM, LinearGaussianHMM
from tsar.hmm.discrete.emissions import Categorical, Emission
from tsar.hmm.discrete.fitting import EMOptions, fit
from tsar.hmm.discrete.gaussian_emissions import DiagonalGaussian, FullGaussian
from tsar.hmm.discrete.parameters import CategoricalParameters, GaussianParameters, P
from tsar.hmm.discrete.sequence_groups import SequenceGroups
from tsar.hmm.em import run_em
from tsar.hmm.observations import Observations

Floats = np.ndarray[Any, Any]
MEANS = np.array([[0.0, 0.0], [3.0, -2.0], [-3.0, 1.0]])
TRANSMAT = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.02, 0.08, 0.9]])


def true_model(features: int = 2) -> hmm.GaussianHMM:
    model = hmm.GaussianHMM(3, "diag")
    model.startprob_, model.transmat_ = np.array([1.0, 0.0, 0.0]), TRANSMAT
    model.means_, model.covars_ = MEANS[:, :features], np.full((3, features), 0.5)
    return model


def sample_points(length: int = 600, features: int = 2, seed: int = 0) -> Floats:
    return np.asarray(true_model(features).sample(length, random_state=seed)[0])


@pytest.fixture(autouse=True)
def silence_hmmlearn() -> None:
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)


# --- expectation-maximization -----------------------------------------------------------------


def batch_of_one(*arrays: Floats) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array(array, dtype=float))[None] for array in arrays]


def run_steps(emission: Emission[P], start: P, values: Floats, n_iter: int, cut: int = 0) -> P:
    """EM iterations from given parameters, on one sequence, or two if `cut` is given."""
    borders = torch.tensor([0, cut, len(values)] if cut else [0, len(values)])
    data = SequenceGroups(
        Observations(torch.from_numpy(values), borders), torch.zeros(len(borders) - 1).long()
    )
    rules = EMOptions(n_iter=n_iter, tol=-np.inf)
    return fit(emission, data, start, torch.tensor([0]), rules).parameters


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
def test_gaussian_em_equals_hmmlearn(kind: str) -> None:
    values = sample_points()
    covars = {"diag": np.ones((3, 2)), "full": np.tile(np.eye(2), (3, 1, 1)), "tied": np.eye(2)}
    prior = 1e-2 if kind == "diag" else 0.0  # hmmlearn adds a number to all of a matrix
    reference = hmm.GaussianHMM(3, kind, init_params="", n_iter=5, tol=-np.inf, covars_prior=prior)
    reference.startprob_, reference.transmat_ = np.full(3, 1 / 3), np.full((3, 3), 1 / 3)
    reference.means_, reference.covars_ = MEANS + 0.3, covars[kind]
    emission = (
        DiagonalGaussian(covars_prior=prior, min_covar=1e-12)
        if kind == "diag"
        else FullGaussian(covars_prior=prior, min_covar=1e-12, tied=kind == "tied")
    )
    initial_covars = np.tile(np.eye(2), (3, 1, 1)) if kind == "tied" else covars[kind]
    arrays = reference.startprob_, reference.transmat_, reference.means_, initial_covars
    start = GaussianParameters(*batch_of_one(*arrays))
    result = run_steps(emission, start, values, 5, cut=250)
    reference.fit(values, [250, 350])
    np.testing.assert_allclose(result.startprob[0], reference.startprob_, atol=1e-10)
    np.testing.assert_allclose(result.transmat[0], reference.transmat_, atol=1e-10)
    np.testing.assert_allclose(result.means[0], reference.means_, atol=1e-10)
    fitted_covars = result.covars[0].numpy()
    if kind == "diag":
        fitted_covars = np.stack([np.diag(row) for row in fitted_covars])
    np.testing.assert_allclose(fitted_covars, reference.covars_, atol=1e-10)


def test_categorical_em_equals_hmmlearn() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, size=(400, 1))
    emissionprob = rng.dirichlet(np.ones(4), size=3)
    reference = hmm.CategoricalHMM(3, init_params="", n_iter=5, tol=-np.inf)
    reference.startprob_, reference.transmat_ = np.full(3, 1 / 3), TRANSMAT
    reference.emissionprob_ = emissionprob
    arrays = batch_of_one(reference.startprob_, reference.transmat_, emissionprob)
    parameters = CategoricalParameters(*arrays)
    result = run_steps(Categorical(4), parameters, values.astype(float), 5)
    reference.fit(values)
    np.testing.assert_allclose(result.transmat[0], reference.transmat_, atol=1e-10)
    np.testing.assert_allclose(result.emissionprob[0], reference.emissionprob_, atol=1e-10)


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
@pytest.mark.parametrize("missing", [False, True])
def test_em_never_decreases_the_objective(kind: Any, missing: bool) -> None:
    values = sample_points(300)
    if missing:
        values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan
        values[40:45] = np.nan
    model = GaussianHMM(3, kind, n_init=3, tol=0.0, n_iter=40, random_state=0).fit(values)
    assert model.history_["log_likelihood"].diff().min() > -1e-8
    assert model.log_likelihood_ == pytest.approx(model.score(values))


def test_em_with_missing_features_reaches_a_maximum_of_the_likelihood() -> None:
    """One state: EM of a Gaussian. Every change of a parameter lowers the likelihood."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    values[:60, 1] = np.nan
    model = GaussianHMM(1, "full", covars_prior=0.0, tol=1e-12, n_iter=500, n_init=1).fit(values)
    best = model.score(values)
    for change in (1e-3, -1e-3):
        model.covars_[0, 0, 1] += change
        model.covars_[0, 1, 0] += change
        assert model.score(values) < best
        model.covars_[0, 0, 1] -= change
        model.covars_[0, 1, 0] -= change
        model.means_[0, 1] += change
        assert model.score(values) < best
        model.means_[0, 1] -= change


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
def test_fit_scores_at_least_as_high_as_hmmlearn_and_the_true_model(kind: Any) -> None:
    values = sample_points(800)
    model = GaussianHMM(3, kind, covars_prior=0.0, random_state=0).fit(values)
    reference = hmm.GaussianHMM(3, kind, n_iter=100, covars_prior=0.0, random_state=0).fit(values)
    assert model.score(values) > true_model().score(values)
    assert model.score(values) > reference.score(values) - 0.1
    np.testing.assert_allclose(model.means_[:, 0], sorted(MEANS[:, 0]), atol=0.2)
    assert list(model.means_[:, 0]) == sorted(model.means_[:, 0])


# --- inference --------------------------------------------------------------------------------


def copy_of(reference: hmm.GaussianHMM, kind: Any) -> GaussianHMM:
    model = GaussianHMM(3, kind)
    model.startprob_, model.transmat_ = reference.startprob_, reference.transmat_
    model.means_, model.covars_ = reference.means_, reference._covars_
    model.n_features_in_ = 2
    return model


def test_inference_of_a_given_model_equals_hmmlearn() -> None:
    reference = true_model()
    model = copy_of(reference, "diag")
    values, lengths = sample_points(90), [50, 30, 10]
    assert model.score(values, lengths=lengths) == pytest.approx(reference.score(values, lengths))
    np.testing.assert_allclose(
        model.predict_proba(values, lengths=lengths),
        reference.predict_proba(values, lengths),
        atol=1e-9,
    )
    np.testing.assert_array_equal(
        model.predict(values, lengths=lengths), reference.predict(values, lengths)
    )
    assert model.decode(values, lengths=lengths)[0] == pytest.approx(
        reference.decode(values, lengths)[0]
    )
    assert model.aic(values) == pytest.approx(reference.aic(values))
    assert model.bic(values) == pytest.approx(reference.bic(values))
    np.testing.assert_allclose(
        model.get_stationary_distribution(), reference.get_stationary_distribution()
    )


def test_transform_is_causal() -> None:
    values = np.random.default_rng(0).normal(size=(80, 1))
    model = GaussianHMM(3, random_state=0, n_init=2).fit(values)
    before = model.transform(values)
    changed = values.copy()
    changed[50:] = 0.0
    np.testing.assert_allclose(model.transform(changed)[:50], before[:50], rtol=1e-12)
    assert abs(model.predict_proba(changed)[49] - model.predict_proba(values)[49]).max() > 1e-6
    np.testing.assert_allclose(before[-1], model.predict_proba(values)[-1])
    np.testing.assert_allclose(before.sum(axis=1), 1)


def test_samples_have_the_moments_of_the_model() -> None:
    model = copy_of(true_model(), "diag")
    values, states = model.sample(20_000, random_state=0)
    for state in range(3):
        np.testing.assert_allclose(values[states == state].mean(axis=0), MEANS[state], atol=0.06)
        np.testing.assert_allclose(values[states == state].var(axis=0), 0.5, atol=0.05)
    again = model.sample(20_000, random_state=0)[0]
    np.testing.assert_array_equal(values, again)
    assert model.score(values) == pytest.approx(true_model().score(values))


def test_a_missing_point_leaves_the_prediction() -> None:
    model = copy_of(true_model(), "diag")
    values = sample_points(30)
    values[10] = np.nan
    predicted = model.filter_proba(values)[9] @ TRANSMAT
    np.testing.assert_allclose(model.filter_proba(values)[10], predicted)
    values[11, 0] = np.nan
    assert np.isfinite(model.score(values))
    assert np.isfinite(model.predict_proba(values)).all()


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_score_integrates_out_missing_features(kind: Any) -> None:
    rng = np.random.default_rng(2)
    model = GaussianHMM(2, kind, random_state=0, n_init=2).fit(rng.normal(size=(100, 3)))
    values = rng.normal(size=(1, 3))
    values[0, 1] = np.nan
    covars = np.broadcast_to(model.covars_, (2, 3, 3))
    keep = [0, 2]
    density = 0.0
    for state in range(2):
        covar = covars[state][np.ix_(keep, keep)]
        residual = values[0, keep] - model.means_[state, keep]
        scale = 1 / np.sqrt(np.linalg.det(2 * np.pi * covar))
        share = np.exp(-0.5 * residual @ np.linalg.solve(covar, residual)) * scale
        density += model.startprob_[state] * share
    assert model.score(values) == pytest.approx(np.log(density))


# --- starts and invariances -------------------------------------------------------------------


def test_a_random_state_reproduces_the_model() -> None:
    values = sample_points(200)
    first, again = (GaussianHMM(4, random_state=3, n_init=4).fit(values) for _ in range(2))
    np.testing.assert_array_equal(first.means_, again.means_)
    np.testing.assert_array_equal(first.transmat_, again.transmat_)


def test_the_best_start_is_kept() -> None:
    model = GaussianHMM(6, random_state=0, n_init=8).fit(sample_points(150))
    assert model.log_likelihoods_.shape == (8,)
    assert model.log_likelihood_ == pytest.approx(model.log_likelihoods_.max())
    assert model.log_likelihoods_.std() > 0  # the starts differ


def test_fit_is_equivariant_to_shift_and_scale() -> None:
    values = sample_points(300)
    one = GaussianHMM(3, random_state=0, n_init=2).fit(values)
    other = GaussianHMM(3, random_state=0, n_init=2).fit(values * 1e-6 + 5e3)
    np.testing.assert_allclose(other.means_, one.means_ * 1e-6 + 5e3, rtol=1e-9)
    np.testing.assert_allclose(other.covars_, one.covars_ * 1e-12, rtol=1e-3)
    assert other.log_likelihood_ - one.log_likelihood_ == pytest.approx(600 * np.log(1e6), rel=1e-6)


def test_fit_does_not_depend_on_the_order_of_sequences() -> None:
    values = sample_points(300)
    one = GaussianHMM(2, random_state=0, n_init=2).fit(values, lengths=[100, 200])
    swapped = GaussianHMM(2, random_state=0, n_init=2).fit(
        np.concatenate([values[100:], values[:100]]), lengths=[200, 100]
    )
    np.testing.assert_allclose(one.means_, swapped.means_, atol=1e-2)
    assert one.log_likelihood_ == pytest.approx(swapped.log_likelihood_, rel=1e-5)


def test_fitted_transition_probabilities_are_positive() -> None:
    """EM keeps initial zeros, and never reaches zero otherwise."""
    model = GaussianHMM(3, random_state=0, n_init=2).fit(sample_points(300))
    assert (model.transmat_ > 0).all()
    np.testing.assert_allclose(model.transmat_.sum(axis=1), 1)


# --- number of states -------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["heldout", "bic", "icl", "aic"])
def test_auto_selects_the_true_number_of_states(criterion: Any) -> None:
    values = sample_points(1500, features=1, seed=5)
    model = GaussianHMM(
        "auto", criterion=criterion, max_components=5, n_init=4, random_state=0
    ).fit(values)
    assert model.n_components_ == 3 or (criterion == "aic" and model.n_components_ > 3)
    table = model.selection_
    assert list(table["n_components"]) == [1, 2, 3, 4, 5]
    assert table.loc[table["chosen"], "n_components"].tolist() == [model.n_components_]
    if criterion in ("bic", "aic"):
        chosen = table.loc[table["chosen"], criterion].item()
        assert chosen == pytest.approx(getattr(model, criterion)(values), rel=1e-9)
    if criterion != "heldout":
        log_likelihood = table.loc[table["chosen"], "log_likelihood"].item()
        assert log_likelihood == pytest.approx(model.log_likelihood_)


@pytest.mark.parametrize("missing", [slice(1200, None), slice(None, 1200)])
def test_heldout_criterion_holds_out_observed_points(missing: slice) -> None:
    values = sample_points(1500, features=1, seed=5)
    values[missing] = np.nan
    model = GaussianHMM("auto", max_components=3, n_init=4, random_state=0).fit(values)
    assert model.n_components_ == 3
    assert (model.selection_["log_density"] != 0).all()


def test_auto_warns_if_no_point_can_be_held_out() -> None:
    with pytest.warns(
        UserWarning, match="must have two observed points of each series, to hold one out"
    ):
        model = GaussianHMM("auto", max_components=3, random_state=0).fit([[np.nan], [2.0]])
    assert model.n_components_ == 1
    assert model.selection_["log_density"].isna().all()


# --- frames, pipelines, scikit-learn ----------------------------------------------------------


def test_long_frames_and_panels_hold_a_sequence_for_each_series() -> None:
    values = sample_points(60, features=1)
    frame = pd.DataFrame(
        {"unique_id": ["b"] * 40 + ["a"] * 20, "ds": [*range(40), *range(20)], "y": values[:, 0]}
    )
    model = GaussianHMM(2, random_state=0, n_init=2)
    plain = model.fit(values, lengths=[40, 20]).filter_proba(values, lengths=[40, 20])
    framed = model.filter_proba(frame)
    np.testing.assert_allclose(framed, plain)
    shuffled = frame.sample(frac=1, random_state=0)
    np.testing.assert_allclose(model.filter_proba(shuffled), plain[shuffled.index])
    panel = Panel.from_frame(frame)
    assert model.score(panel) == pytest.approx(model.score(values, lengths=[40, 20]))


def test_state_probabilities_are_features_in_a_pipeline() -> None:
    values = sample_points(200)
    y = values[:, 0] + 1.0
    pipeline = make_pipeline(GaussianHMM(3, random_state=0, n_init=2), LinearRegression())
    assert pipeline.fit(values, y).score(values, y) > 0.8
    model = GaussianHMM(3, random_state=0, n_init=2).set_output(transform="pandas")
    named = model.fit_transform(pd.DataFrame(values, columns=["a", "b"]))
    assert list(named.columns) == ["gaussianhmm0", "gaussianhmm1", "gaussianhmm2"]


@pytest.mark.wrong_types
@parametrize_with_checks(
    [GaussianHMM(random_state=0, n_init=2), GaussianHMM(1, "full", random_state=0, n_init=1)]
)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


# --- invalid input ----------------------------------------------------------------------------


def test_unknown_symbols_raise() -> None:
    model = CategoricalHMM(2, random_state=0).fit([[0], [1], [0], [2], [1]])
    with pytest.raises(ValueError, match=r"X must hold symbols below 3.* got 7, first in row 1"):
        model.score([[0], [7]])
    with pytest.raises(ValueError, match="X must hold symbols, integers from 0"):
        model.score([[0.5]])
    larger = CategoricalHMM(2, n_features=8, random_state=0).fit([[0], [1], [0], [2], [1]])
    assert np.isfinite(larger.score([[0], [7]]))  # a positive probability


def test_large_symbols_without_n_features_raise() -> None:
    with pytest.raises(ValueError, match="OrdinalEncoder"):
        CategoricalHMM().fit([[10**7], [1], [2]])


@pytest.mark.parametrize("lengths", [[3, 3], [10, -1], [0, 9], [4.5, 4.5], 9])
def test_invalid_lengths_raise(lengths: Any) -> None:
    with pytest.raises(ValueError, match="lengths must"):
        GaussianHMM().fit(sample_points(9), lengths=lengths)


@pytest.mark.parametrize("labels", [[4, 5], np.zeros(3)])
@pytest.mark.parametrize("kind", [GaussianHMM, LinearGaussianHMM])
def test_lengths_in_place_of_y_raise(kind: Any, labels: Any) -> None:
    values = sample_points(9)
    with pytest.raises(ValueError, match=r"by name: fit\(X, lengths"):
        kind().fit(values, labels)
    with pytest.raises(ValueError, match=r"by name: fit\(X, lengths"):
        kind().fit_transform(values, labels)
    model = kind(1, n_init=1).fit(values, np.zeros(9), lengths=[4, 5])
    with pytest.raises(ValueError, match=r"by name: fit\(X, lengths"):
        model.score(values, labels)
    assert model.score(values, np.zeros(9), lengths=[4, 5]) == model.score(values, lengths=[4, 5])


@pytest.mark.parametrize("kind", [GaussianHMM, CategoricalHMM, LinearGaussianHMM])
def test_errors_of_frames_explain_how_to_pass_columns(kind: Any) -> None:
    advice = r"tsar.data.panel.Panel.from_frame\(frame, Columns\(...\)\) as X"
    frame = pd.DataFrame({"store": "a", "day": pd.date_range("2024", periods=20), "sales": 1.0})
    frame["sales"] = np.arange(20.0) % 3
    for columns in (["store", "day", "sales"], ["day", "sales"]):
        with pytest.raises(ValueError, match=f"columns unique_id, ds, y; got what .*{advice}"):
            kind().fit(frame[columns])
    renamed = frame.rename(columns={"store": "unique_id", "day": "ds", "sales": "y"}).drop(index=4)
    with pytest.raises(ValueError, match=rf"1 missing row\(s\).* To pass Columns, give {advice}"):
        kind().fit(renamed)
    named = Columns(id="store", time="day", target="sales", fill_gaps=True)
    panel = Panel.from_frame(frame.drop(index=4), named)
    assert np.isfinite(kind(1, n_init=1).fit(panel).score(panel))


def test_text_symbols_raise() -> None:
    with pytest.raises(ValueError, match=r"could not convert string.*OrdinalEncoder"):
        CategoricalHMM().fit([["sun"], ["rain"]])


def test_more_states_than_points_raise() -> None:
    with pytest.raises(ValueError, match="n_components must be at most"):
        GaussianHMM(10).fit(sample_points(9))


def test_constant_series_and_few_distinct_values_are_fitted() -> None:
    for values in (np.full((50, 1), 3.0), np.repeat([[1.0], [2.0]], 25, axis=0)):
        model = GaussianHMM(4, random_state=0, n_init=3).fit(values)
        for learned in (model.startprob_, model.transmat_, model.means_, model.covars_):
            assert np.isfinite(learned).all()
        assert (model.covars_ > 0).all()
        assert np.isfinite(model.score(values))


def test_min_covar_is_the_minimum_covariance() -> None:
    values = sample_points(100)
    values[::10] = values[0]  # a point to which a state could collapse
    for kind in ("diag", "full", "tied"):
        model = GaussianHMM(
            6, kind, covars_prior=0.0, min_covar=1e-3, random_state=0, n_init=5
        ).fit(values)
        if kind == "diag":
            least = (model.covars_ / values.var(axis=0)).min()
        else:
            scaled = model.covars_ / np.sqrt(np.outer(values.var(axis=0), values.var(axis=0)))
            least = np.linalg.eigvalsh(scaled).min()
        assert least >= 1e-3 * (1 - 1e-9)


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
def test_features_that_are_never_observed_together_are_fitted(kind: Any) -> None:
    """Two sensors that are observed alternately, each at three levels."""
    rng = np.random.default_rng(4)
    state = np.repeat([0, 1, 2] * 10, 20)
    values = np.stack([5.0 * state, -3.0 * state], 1) + rng.normal(size=(600, 2))
    values[::2, 0] = np.nan
    values[1::2, 1] = np.nan
    model = GaussianHMM(3, kind, random_state=0, n_init=3).fit(values)
    np.testing.assert_allclose(model.means_, [[0, 0], [5, -3], [10, -6]], atol=0.3)
    assert (model.predict(values) == state).mean() > 0.99
    with pytest.raises(ValueError, match="n_components must be at most"):
        GaussianHMM(3).fit(values[:2])


def test_data_of_extreme_magnitude_are_fitted() -> None:
    values = sample_points(200)
    model = GaussianHMM(2, random_state=0, n_init=2).fit(values)
    for unit in (1e-130, 1e130):
        other = GaussianHMM(2, random_state=0, n_init=2).fit(values * unit)
        np.testing.assert_allclose(other.means_ / unit, model.means_, rtol=1e-6)
        np.testing.assert_array_equal(other.predict(values * unit), model.predict(values))
    for unit in (1e-200, 1e200):
        with pytest.raises(ValueError, match="variances are finite numbers above 0"):
            GaussianHMM(2).fit(values * unit)


def test_auto_with_one_candidate() -> None:
    model = GaussianHMM("auto", max_components=1, random_state=0).fit(sample_points(60))
    assert model.selection_["chosen"].tolist() == [True]


def test_em_that_fails_has_not_converged() -> None:
    shapes = ((3, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1))
    start = GaussianParameters(*(torch.ones(shape) for shape in shapes))
    objectives = iter([[1.0, 1.0, 1.0], [2.0, torch.nan, 0.5], [2.0]])

    def step(
        parameters: GaussianParameters, active: Any
    ) -> tuple[GaussianParameters, torch.Tensor]:
        return parameters, torch.tensor(next(objectives))[: len(active)]

    result = run_em(start, step, n_iter=5, tol=0.1)
    assert result.converged.tolist() == [True, False, False]
    assert result.n_iter.tolist() == [3, 2, 2]


def test_sequences_without_observations_are_skipped() -> None:
    values = sample_points(60)
    alone = GaussianHMM(2, random_state=0, n_init=2).fit(values)
    values = np.concatenate([values, np.full((10, 2), np.nan)])
    both = GaussianHMM(2, random_state=0, n_init=2).fit(values, lengths=[60, 10])
    np.testing.assert_allclose(alone.means_, both.means_, atol=1e-6)
    assert np.isfinite(both.predict_proba(values, lengths=[60, 10])).all()
    with pytest.raises(ValueError, match="X must hold at least one observed"):
        GaussianHMM().fit(np.full((9, 2), np.nan))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"covariance_type": "round"}, "covariance_type must be one of"),
        ({"n_components": 0}, "n_components must be an integer of at least 1"),
        ({"n_components": "many"}, "n_components must be an integer of at least 1, or 'auto'"),
        ({"criterion": "r2"}, "criterion must be one of"),
        ({"n_components": "auto", "max_components": 0}, "max_components must be an integer"),
        ({"n_init": 0}, "n_init must be"),
        ({"min_covar": 0.0}, "min_covar must be"),
    ],
)
def test_invalid_parameters_raise(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        GaussianHMM().set_params(**change).fit(sample_points(30))


def test_unfitted_estimators_raise() -> None:
    for method in ("score", "predict", "transform", "filter_proba", "bic"):
        with pytest.raises(NotFittedError):
            getattr(GaussianHMM(), method)(sample_points(9))


def two_state_model() -> GaussianHMM:
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = np.array([1.0, 0.0]), np.array([[0.9, 0.1], [0.1, 0.9]])
    model.means_, model.covars_ = np.array([[0.0], [100.0]]), np.ones((2, 1))
    model.n_features_in_ = 1
    return model


def test_impossible_starts_keep_their_likelihood() -> None:
    """The first points are very unlikely in the only state where the chain can start."""
    model, values = two_state_model(), [[100.0], [100.0], [0.0]]
    reference = hmm.GaussianHMM(2, "diag")
    reference.startprob_, reference.transmat_ = model.startprob_, model.transmat_
    reference.means_, reference.covars_ = model.means_, model.covars_
    assert model.score(values) == pytest.approx(reference.score(values))
    assert model.decode(values)[0] <= model.score(values)


@pytest.mark.wrong_types  # shapes that do not fit
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("transmat_", [[2.0, 1.0], [1.0, 2.0]], "transmat_ must be probabilities"),
        ("transmat_", np.eye(3), "must have the same number of states"),
        ("startprob_", [0.5, 0.6], "startprob_ must be probabilities"),
        ("covars_", -np.ones((2, 1)), "covars_ must have variances above 0"),
    ],
)
def test_attributes_set_by_hand_are_checked(name: str, value: Any, message: str) -> None:
    model = two_state_model()
    setattr(model, name, np.asarray(value))
    with pytest.raises(ValueError, match=message):
        model.score([[0.0]])


def test_a_state_of_small_variance_is_fitted() -> None:
    """The standard deviation is a two-thousandth of the distance of the means."""
    noise = np.random.default_rng(0).normal(size=(300, 1))
    values = np.repeat([-100.0, 100.0] * 3, 50)[:, None] + 0.1 * noise
    model = GaussianHMM(2, random_state=0).fit(values)
    np.testing.assert_allclose(np.sqrt(model.covars_), 0.1, atol=0.05)


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
@pytest.mark.parametrize("outlier", [1e6, -1e12])
def test_an_outlier_does_not_change_the_other_states(kind: Any, outlier: float) -> None:
    """The outlier gets a state of its own; the other states are those without it."""
    values = np.repeat([0.0, 5.0] * 3, 50)[:, None] + np.random.default_rng(0).normal(size=(300, 1))
    values[10] = outlier
    model = GaussianHMM(3, kind, random_state=0).fit(values)
    np.testing.assert_allclose(sorted(model.means_[:, 0]), sorted([0.0, 4.9, outlier]), atol=0.1)
    own = abs(model.means_[:, 0]) < 10
    if kind != "tied":
        np.testing.assert_allclose(np.sqrt(model.covars_.ravel()[own]), 1, atol=0.1)
    assert model.log_likelihood_ == pytest.approx(model.score(values))
    assert GaussianHMM("auto", random_state=0, max_components=4).fit(values).n_components_ == 3


def test_selection_table_is_in_data_units() -> None:
    values = np.repeat([0.0, 6.0] * 3, 50)[:, None] + sample_points(300, features=1)
    values[::2] = np.nan
    one, other = (
        GaussianHMM("auto", max_components=2, random_state=0, n_init=2)
        .fit(unit * values)
        .selection_
        for unit in (1, 100)
    )
    difference = one["log_density"] - other["log_density"]
    np.testing.assert_allclose(difference, np.log(100))


def test_auto_selects_one_state_for_two_points() -> None:
    assert GaussianHMM("auto", random_state=0).fit([[0.0], [6.0]]).n_components_ == 1


def test_refitting_with_a_fixed_number_of_states_drops_the_selection_table() -> None:
    points = np.random.default_rng(0).normal(size=(60, 1))
    model = GaussianHMM("auto", max_components=2, n_init=1, random_state=0).fit(points)
    assert len(model.selection_) == 2
    assert not hasattr(model.set_params(n_components=2).fit(points), "selection_")
