"""Estimators of hidden Markov models: against hmmlearn, and as scikit-learn wants them."""

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
MOVE = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.02, 0.08, 0.9]])


def truth(features: int = 2) -> hmm.GaussianHMM:
    model = hmm.GaussianHMM(3, "diag")
    model.startprob_, model.transmat_ = np.array([1.0, 0.0, 0.0]), MOVE
    model.means_, model.covars_ = MEANS[:, :features], np.full((3, features), 0.5)
    return model


def points(length: int = 600, features: int = 2, seed: int = 0) -> Floats:
    return np.asarray(truth(features).sample(length, random_state=seed)[0])


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)


# --- expectation-maximization -----------------------------------------------------------------


def batch(*arrays: Floats) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array(array, dtype=float))[None] for array in arrays]


def steps(emission: Emission[P], start: P, seen: Floats, count: int, cut: int = 0) -> P:
    """Steps from a start; with a cut, two sequences."""
    borders = torch.tensor([0, cut, len(seen)] if cut else [0, len(seen)])
    data = SequenceGroups(
        Observations(torch.from_numpy(seen), borders), torch.zeros(len(borders) - 1).long()
    )
    rules = EMOptions(n_iter=count, tol=-np.inf)
    return fit(emission, data, start, torch.tensor([0]), rules).parameters


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
def test_steps_are_those_of_hmmlearn(kind: str) -> None:
    seen = points()
    spread = {"diag": np.ones((3, 2)), "full": np.tile(np.eye(2), (3, 1, 1)), "tied": np.eye(2)}
    prior = 1e-2 if kind == "diag" else 0.0  # hmmlearn adds a number to all of a matrix
    peer = hmm.GaussianHMM(3, kind, init_params="", n_iter=5, tol=-np.inf, covars_prior=prior)
    peer.startprob_, peer.transmat_ = np.full(3, 1 / 3), np.full((3, 3), 1 / 3)
    peer.means_, peer.covars_ = MEANS + 0.3, spread[kind]
    emission = (
        DiagonalGaussian(covars_prior=prior, min_covar=1e-12)
        if kind == "diag"
        else FullGaussian(covars_prior=prior, min_covar=1e-12, tied=kind == "tied")
    )
    wide = np.tile(np.eye(2), (3, 1, 1)) if kind == "tied" else spread[kind]
    start = GaussianParameters(*batch(peer.startprob_, peer.transmat_, peer.means_, wide))
    found = steps(emission, start, seen, 5, cut=250)
    peer.fit(seen, [250, 350])
    np.testing.assert_allclose(found.startprob[0], peer.startprob_, atol=1e-10)
    np.testing.assert_allclose(found.transmat[0], peer.transmat_, atol=1e-10)
    np.testing.assert_allclose(found.means[0], peer.means_, atol=1e-10)
    known = peer.covars_
    mine = found.covars[0].numpy()
    np.testing.assert_allclose(
        np.stack([np.diag(row) for row in mine]) if kind == "diag" else mine, known, atol=1e-10
    )


def test_steps_of_symbols_are_those_of_hmmlearn() -> None:
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 4, size=(400, 1))
    shown = rng.dirichlet(np.ones(4), size=3)
    peer = hmm.CategoricalHMM(3, init_params="", n_iter=5, tol=-np.inf)
    peer.startprob_, peer.transmat_, peer.emissionprob_ = np.full(3, 1 / 3), MOVE, shown
    parameters = CategoricalParameters(*batch(peer.startprob_, peer.transmat_, shown))
    found = steps(Categorical(4), parameters, seen.astype(float), 5)
    peer.fit(seen)
    np.testing.assert_allclose(found.transmat[0], peer.transmat_, atol=1e-10)
    np.testing.assert_allclose(found.emissionprob[0], peer.emissionprob_, atol=1e-10)


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
@pytest.mark.parametrize("missing", [False, True])
def test_the_objective_never_falls(kind: Any, missing: bool) -> None:
    seen = points(300)
    if missing:
        seen[np.random.default_rng(1).random(seen.shape) < 0.2] = np.nan
        seen[40:45] = np.nan
    model = GaussianHMM(3, kind, n_init=3, tol=0.0, n_iter=40, random_state=0).fit(seen)
    assert model.history_["log_likelihood"].diff().min() > -1e-8
    assert model.log_likelihood_ == pytest.approx(model.score(seen))


def test_full_covariances_with_missing_features_are_found() -> None:
    """EM of one state is EM of a Gaussian: the likelihood of the observed parts has no slope."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(200, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    seen[:60, 1] = np.nan
    model = GaussianHMM(1, "full", covars_prior=0.0, tol=1e-12, n_iter=500, n_init=1).fit(seen)
    best = model.score(seen)
    for change in (1e-3, -1e-3):
        model.covars_[0, 0, 1] += change
        model.covars_[0, 1, 0] += change
        assert model.score(seen) < best
        model.covars_[0, 0, 1] -= change
        model.covars_[0, 1, 0] -= change
        model.means_[0, 1] += change
        assert model.score(seen) < best
        model.means_[0, 1] -= change


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
def test_the_fit_is_no_worse_than_hmmlearn_and_the_truth(kind: Any) -> None:
    seen = points(800)
    model = GaussianHMM(3, kind, covars_prior=0.0, random_state=0).fit(seen)
    peer = hmm.GaussianHMM(3, kind, n_iter=100, covars_prior=0.0, random_state=0).fit(seen)
    assert model.score(seen) > truth().score(seen)
    assert model.score(seen) > peer.score(seen) - 0.1
    np.testing.assert_allclose(model.means_[:, 0], sorted(MEANS[:, 0]), atol=0.2)
    assert list(model.means_[:, 0]) == sorted(model.means_[:, 0])


# --- what a model says ------------------------------------------------------------------------


def copied(model: hmm.GaussianHMM, kind: Any) -> GaussianHMM:
    mine = GaussianHMM(3, kind)
    mine.startprob_, mine.transmat_ = model.startprob_, model.transmat_
    mine.means_ = model.means_
    mine.covars_ = model._covars_
    mine.n_features_in_ = 2
    return mine


def test_a_known_model_says_what_hmmlearn_says() -> None:
    peer = truth()
    model = copied(peer, "diag")
    seen, lengths = points(90), [50, 30, 10]
    assert model.score(seen, lengths=lengths) == pytest.approx(peer.score(seen, lengths))
    np.testing.assert_allclose(
        model.predict_proba(seen, lengths=lengths), peer.predict_proba(seen, lengths), atol=1e-9
    )
    np.testing.assert_array_equal(model.predict(seen, lengths=lengths), peer.predict(seen, lengths))
    assert model.decode(seen, lengths=lengths)[0] == pytest.approx(peer.decode(seen, lengths)[0])
    assert model.aic(seen) == pytest.approx(peer.aic(seen))
    assert model.bic(seen) == pytest.approx(peer.bic(seen))
    np.testing.assert_allclose(
        model.get_stationary_distribution(), peer.get_stationary_distribution()
    )


def test_features_see_nothing_ahead() -> None:
    seen = np.random.default_rng(0).normal(size=(80, 1))
    model = GaussianHMM(3, random_state=0, n_init=2).fit(seen)
    before = model.transform(seen)
    changed = seen.copy()
    changed[50:] = 0.0
    np.testing.assert_allclose(model.transform(changed)[:50], before[:50], rtol=1e-12)
    assert abs(model.predict_proba(changed)[49] - model.predict_proba(seen)[49]).max() > 1e-6
    np.testing.assert_allclose(before[-1], model.predict_proba(seen)[-1])
    np.testing.assert_allclose(before.sum(axis=1), 1)


def test_samples_look_like_the_model() -> None:
    model = copied(truth(), "diag")
    seen, states = model.sample(20_000, random_state=0)
    for state in range(3):
        np.testing.assert_allclose(seen[states == state].mean(axis=0), MEANS[state], atol=0.06)
        np.testing.assert_allclose(seen[states == state].var(axis=0), 0.5, atol=0.05)
    again = model.sample(20_000, random_state=0)[0]
    np.testing.assert_array_equal(seen, again)
    assert model.score(seen) == pytest.approx(truth().score(seen))


def test_a_missing_point_says_nothing() -> None:
    model = copied(truth(), "diag")
    seen = points(30)
    seen[10] = np.nan
    moved = model.filter_proba(seen)[9] @ MOVE
    np.testing.assert_allclose(model.filter_proba(seen)[10], moved)
    seen[11, 0] = np.nan
    assert np.isfinite(model.score(seen))
    assert np.isfinite(model.predict_proba(seen)).all()


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_a_missing_feature_is_integrated_out(kind: Any) -> None:
    rng = np.random.default_rng(2)
    model = GaussianHMM(2, kind, random_state=0, n_init=2).fit(rng.normal(size=(100, 3)))
    seen = rng.normal(size=(1, 3))
    seen[0, 1] = np.nan
    covars = np.broadcast_to(model.covars_, (2, 3, 3))
    keep = [0, 2]
    density = 0.0
    for state in range(2):
        part = covars[state][np.ix_(keep, keep)]
        gap = seen[0, keep] - model.means_[state, keep]
        scale = 1 / np.sqrt(np.linalg.det(2 * np.pi * part))
        share = np.exp(-0.5 * gap @ np.linalg.solve(part, gap)) * scale
        density += model.startprob_[state] * share
    assert model.score(seen) == pytest.approx(np.log(density))


# --- restarts and their order -----------------------------------------------------------------


def test_a_seed_gives_the_same_model() -> None:
    seen = points(200)
    first, again = (GaussianHMM(4, random_state=3, n_init=4).fit(seen) for _ in range(2))
    np.testing.assert_array_equal(first.means_, again.means_)
    np.testing.assert_array_equal(first.transmat_, again.transmat_)


def test_the_best_start_is_kept() -> None:
    model = GaussianHMM(6, random_state=0, n_init=8).fit(points(150))
    assert model.log_likelihoods_.shape == (8,)
    assert model.log_likelihood_ == pytest.approx(model.log_likelihoods_.max())
    assert model.log_likelihoods_.std() > 0  # the starts differ


def test_units_do_not_matter() -> None:
    seen = points(300)
    one = GaussianHMM(3, random_state=0, n_init=2).fit(seen)
    other = GaussianHMM(3, random_state=0, n_init=2).fit(seen * 1e-6 + 5e3)
    np.testing.assert_allclose(other.means_, one.means_ * 1e-6 + 5e3, rtol=1e-9)
    np.testing.assert_allclose(other.covars_, one.covars_ * 1e-12, rtol=1e-3)
    assert other.log_likelihood_ - one.log_likelihood_ == pytest.approx(600 * np.log(1e6), rel=1e-6)


def test_the_order_of_sequences_does_not_matter() -> None:
    seen = points(300)
    one = GaussianHMM(2, random_state=0, n_init=2).fit(seen, lengths=[100, 200])
    turned = GaussianHMM(2, random_state=0, n_init=2).fit(
        np.concatenate([seen[100:], seen[:100]]), lengths=[200, 100]
    )
    np.testing.assert_allclose(one.means_, turned.means_, atol=1e-2)
    assert one.log_likelihood_ == pytest.approx(turned.log_likelihood_, rel=1e-5)


def test_a_point_that_is_impossible_in_a_state_stays_so() -> None:
    """A zero that was given is kept; one that was not given is never reached for good."""
    model = GaussianHMM(3, random_state=0, n_init=2).fit(points(300))
    assert (model.transmat_ > 0).all()
    np.testing.assert_allclose(model.transmat_.sum(axis=1), 1)


# --- how many states --------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["heldout", "bic", "icl", "aic"])
def test_the_number_of_states_is_found(criterion: Any) -> None:
    seen = points(1500, features=1, seed=5)
    model = GaussianHMM(
        "auto", criterion=criterion, max_components=5, n_init=4, random_state=0
    ).fit(seen)
    assert model.n_components_ == 3 or (criterion == "aic" and model.n_components_ > 3)
    table = model.selection_
    assert list(table["n_components"]) == [1, 2, 3, 4, 5]
    assert table.loc[table["chosen"], "n_components"].tolist() == [model.n_components_]
    if criterion in ("bic", "aic"):
        chosen = table.loc[table["chosen"], criterion].item()
        assert chosen == pytest.approx(getattr(model, criterion)(seen), rel=1e-9)
    if criterion != "heldout":
        told = table.loc[table["chosen"], "log_likelihood"].item()
        assert told == pytest.approx(model.log_likelihood_)


@pytest.mark.parametrize("gone", [slice(1200, None), slice(None, 1200)])
def test_a_choice_holds_back_observed_points(gone: slice) -> None:
    seen = points(1500, features=1, seed=5)
    seen[gone] = np.nan
    model = GaussianHMM("auto", max_components=3, n_init=4, random_state=0).fit(seen)
    assert model.n_components_ == 3
    assert (model.selection_["log_density"] != 0).all()


def test_of_one_point_nothing_can_be_held_back() -> None:
    with pytest.warns(
        UserWarning, match="must have two observed points of each series, to hold one out"
    ):
        model = GaussianHMM("auto", max_components=3, random_state=0).fit([[np.nan], [2.0]])
    assert model.n_components_ == 1
    assert model.selection_["log_density"].isna().all()


# --- frames, pipelines, scikit-learn ----------------------------------------------------------


def test_a_long_frame_is_a_sequence_for_each_series_in_any_order() -> None:
    seen = points(60, features=1)
    frame = pd.DataFrame(
        {"unique_id": ["b"] * 40 + ["a"] * 20, "ds": [*range(40), *range(20)], "y": seen[:, 0]}
    )
    model = GaussianHMM(2, random_state=0, n_init=2)
    plain = model.fit(seen, lengths=[40, 20]).filter_proba(seen, lengths=[40, 20])
    framed = model.filter_proba(frame)
    np.testing.assert_allclose(framed, plain)
    shuffled = frame.sample(frac=1, random_state=0)
    np.testing.assert_allclose(model.filter_proba(shuffled), plain[shuffled.index])
    panel = Panel.from_frame(frame)
    assert model.score(panel) == pytest.approx(model.score(seen, lengths=[40, 20]))


def test_a_pipeline_takes_states_for_features() -> None:
    seen = points(200)
    y = seen[:, 0] + 1.0
    pipeline = make_pipeline(GaussianHMM(3, random_state=0, n_init=2), LinearRegression())
    assert pipeline.fit(seen, y).score(seen, y) > 0.8
    model = GaussianHMM(3, random_state=0, n_init=2).set_output(transform="pandas")
    named = model.fit_transform(pd.DataFrame(seen, columns=["a", "b"]))
    assert list(named.columns) == ["gaussianhmm0", "gaussianhmm1", "gaussianhmm2"]


@pytest.mark.wrong_types
@parametrize_with_checks(
    [GaussianHMM(random_state=0, n_init=2), GaussianHMM(1, "full", random_state=0, n_init=1)]
)
def test_scikit_learn_agrees(estimator: Any, check: Any) -> None:
    check(estimator)


# --- what is wrong ----------------------------------------------------------------------------


def test_symbols_that_were_not_seen_are_refused() -> None:
    model = CategoricalHMM(2, random_state=0).fit([[0], [1], [0], [2], [1]])
    with pytest.raises(ValueError, match=r"X must hold symbols below 3.* got 7, first in row 1"):
        model.score([[0], [7]])
    with pytest.raises(ValueError, match="X must hold symbols, integers from 0"):
        model.score([[0.5]])
    roomy = CategoricalHMM(2, n_features=8, random_state=0).fit([[0], [1], [0], [2], [1]])
    assert np.isfinite(roomy.score([[0], [7]]))  # possible, if hardly


def test_symbols_are_numbered_from_zero() -> None:
    with pytest.raises(ValueError, match="OrdinalEncoder"):
        CategoricalHMM().fit([[10**7], [1], [2]])


@pytest.mark.parametrize("lengths", [[3, 3], [10, -1], [0, 9], [4.5, 4.5], 9])
def test_lengths_must_add_up(lengths: Any) -> None:
    with pytest.raises(ValueError, match="lengths must"):
        GaussianHMM().fit(points(9), lengths=lengths)


@pytest.mark.parametrize("given", [[4, 5], np.zeros(3)])
@pytest.mark.parametrize("kind", [GaussianHMM, LinearGaussianHMM])
def test_lengths_are_given_by_name(kind: Any, given: Any) -> None:
    seen = points(9)
    with pytest.raises(ValueError, match=r"by name: fit\(X, lengths"):
        kind().fit(seen, given)
    with pytest.raises(ValueError, match=r"by name: fit\(X, lengths"):
        kind().fit_transform(seen, given)
    model = kind(1, n_init=1).fit(seen, np.zeros(9), lengths=[4, 5])
    with pytest.raises(ValueError, match=r"by name: fit\(X, lengths"):
        model.score(seen, given)
    assert model.score(seen, np.zeros(9), lengths=[4, 5]) == model.score(seen, lengths=[4, 5])


@pytest.mark.parametrize("kind", [GaussianHMM, CategoricalHMM, LinearGaussianHMM])
def test_frames_that_need_columns_say_how_to_pass_them(kind: Any) -> None:
    way = r"tsar.data.panel.Panel.from_frame\(frame, Columns\(...\)\) as X"
    frame = pd.DataFrame({"store": "a", "day": pd.date_range("2024", periods=20), "sales": 1.0})
    frame["sales"] = np.arange(20.0) % 3
    for part in (frame, frame[["day", "sales"]]):
        with pytest.raises(ValueError, match=f"columns unique_id, ds, y; got what .*{way}"):
            kind().fit(part)
    usual = frame.rename(columns={"store": "unique_id", "day": "ds", "sales": "y"}).drop(index=4)
    with pytest.raises(ValueError, match=rf"1 missing row\(s\).* To pass Columns, give {way}"):
        kind().fit(usual)
    columns = Columns(id="store", time="day", target="sales", fill_gaps=True)
    panel = Panel.from_frame(frame.drop(index=4), columns)
    assert np.isfinite(kind(1, n_init=1).fit(panel).score(panel))


def test_text_must_be_encoded() -> None:
    with pytest.raises(ValueError, match=r"could not convert string.*OrdinalEncoder"):
        CategoricalHMM().fit([["sun"], ["rain"]])


def test_more_states_than_points_are_refused() -> None:
    with pytest.raises(ValueError, match="n_components must be at most"):
        GaussianHMM(10).fit(points(9))


def test_a_constant_series_and_few_distinct_points_are_fitted() -> None:
    for seen in (np.full((50, 1), 3.0), np.repeat([[1.0], [2.0]], 25, axis=0)):
        model = GaussianHMM(4, random_state=0, n_init=3).fit(seen)
        for learned in (model.startprob_, model.transmat_, model.means_, model.covars_):
            assert np.isfinite(learned).all()
        assert (model.covars_ > 0).all()
        assert np.isfinite(model.score(seen))


def test_a_covariance_does_not_collapse() -> None:
    seen = points(100)
    seen[::10] = seen[0]  # a point that a state could have for itself
    for kind in ("diag", "full", "tied"):
        model = GaussianHMM(
            6, kind, covars_prior=0.0, min_covar=1e-3, random_state=0, n_init=5
        ).fit(seen)
        if kind == "diag":
            least = (model.covars_ / seen.var(axis=0)).min()
        else:
            scaled = model.covars_ / np.sqrt(np.outer(seen.var(axis=0), seen.var(axis=0)))
            least = np.linalg.eigvalsh(scaled).min()
        assert least >= 1e-3 * (1 - 1e-9)


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
def test_features_that_are_never_seen_together_are_taken(kind: Any) -> None:
    """Two sensors that take turns, each at three levels."""
    rng = np.random.default_rng(4)
    state = np.repeat([0, 1, 2] * 10, 20)
    seen = np.stack([5.0 * state, -3.0 * state], 1) + rng.normal(size=(600, 2))
    seen[::2, 0] = np.nan
    seen[1::2, 1] = np.nan
    model = GaussianHMM(3, kind, random_state=0, n_init=3).fit(seen)
    np.testing.assert_allclose(model.means_, [[0, 0], [5, -3], [10, -6]], atol=0.3)
    assert (model.predict(seen) == state).mean() > 0.99
    with pytest.raises(ValueError, match="n_components must be at most"):
        GaussianHMM(3).fit(seen[:2])


def test_units_may_be_very_large_or_small() -> None:
    seen = points(200)
    model = GaussianHMM(2, random_state=0, n_init=2).fit(seen)
    for unit in (1e-130, 1e130):
        other = GaussianHMM(2, random_state=0, n_init=2).fit(seen * unit)
        np.testing.assert_allclose(other.means_ / unit, model.means_, rtol=1e-6)
        np.testing.assert_array_equal(other.predict(seen * unit), model.predict(seen))
    for unit in (1e-200, 1e200):
        with pytest.raises(ValueError, match="variances are finite numbers above 0"):
            GaussianHMM(2).fit(seen * unit)


def test_one_candidate_is_a_selection_too() -> None:
    model = GaussianHMM("auto", max_components=1, random_state=0).fit(points(60))
    assert model.selection_["chosen"].tolist() == [True]


def test_a_fit_that_breaks_down_has_not_converged() -> None:
    shapes = ((3, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1))
    start = GaussianParameters(*(torch.ones(shape) for shape in shapes))
    gains = iter([[1.0, 1.0, 1.0], [2.0, torch.nan, 0.5], [2.0]])

    def step(
        parameters: GaussianParameters, active: Any
    ) -> tuple[GaussianParameters, torch.Tensor]:
        return parameters, torch.tensor(next(gains))[: len(active)]

    found = run_em(start, step, n_iter=5, tol=0.1)
    assert found.converged.tolist() == [True, False, False]
    assert found.n_iter.tolist() == [3, 2, 2]


def test_one_series_of_nothing_is_skipped() -> None:
    seen = points(60)
    alone = GaussianHMM(2, random_state=0, n_init=2).fit(seen)
    seen = np.concatenate([seen, np.full((10, 2), np.nan)])
    both = GaussianHMM(2, random_state=0, n_init=2).fit(seen, lengths=[60, 10])
    np.testing.assert_allclose(alone.means_, both.means_, atol=1e-6)
    assert np.isfinite(both.predict_proba(seen, lengths=[60, 10])).all()
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
def test_parameters_must_be_right(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        GaussianHMM().set_params(**change).fit(points(30))


def test_what_is_not_fitted_says_so() -> None:
    for ask in ("score", "predict", "transform", "filter_proba", "bic"):
        with pytest.raises(NotFittedError):
            getattr(GaussianHMM(), ask)(points(9))


def by_hand() -> GaussianHMM:
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = np.array([1.0, 0.0]), np.array([[0.9, 0.1], [0.1, 0.9]])
    model.means_, model.covars_ = np.array([[0.0], [100.0]]), np.ones((2, 1))
    model.n_features_in_ = 1
    return model


def test_a_start_that_is_impossible_is_not_forgiven() -> None:
    """The first points are unlikely by thousands of nats in the only state that they may be in."""
    model, seen = by_hand(), [[100.0], [100.0], [0.0]]
    peer = hmm.GaussianHMM(2, "diag")
    peer.startprob_, peer.transmat_ = model.startprob_, model.transmat_
    peer.means_, peer.covars_ = model.means_, model.covars_
    assert model.score(seen) == pytest.approx(peer.score(seen))
    assert model.decode(seen)[0] <= model.score(seen)


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
def test_what_is_set_by_hand_is_checked(name: str, value: Any, message: str) -> None:
    model = by_hand()
    setattr(model, name, np.asarray(value))
    with pytest.raises(ValueError, match=message):
        model.score([[0.0]])


def test_a_regime_may_be_narrow() -> None:
    """A thousandth of what the levels are apart."""
    noise = np.random.default_rng(0).normal(size=(300, 1))
    seen = np.repeat([-100.0, 100.0] * 3, 50)[:, None] + 0.1 * noise
    model = GaussianHMM(2, random_state=0).fit(seen)
    np.testing.assert_allclose(np.sqrt(model.covars_), 0.1, atol=0.05)


@pytest.mark.parametrize("kind", ["diag", "full", "tied"])
@pytest.mark.parametrize("wild", [1e6, -1e12])
def test_one_wild_value_leaves_the_regimes(kind: Any, wild: float) -> None:
    """It takes a state for itself; the others are what they are without it."""
    seen = np.repeat([0.0, 5.0] * 3, 50)[:, None] + np.random.default_rng(0).normal(size=(300, 1))
    seen[10] = wild
    model = GaussianHMM(3, kind, random_state=0).fit(seen)
    np.testing.assert_allclose(sorted(model.means_[:, 0]), sorted([0.0, 4.9, wild]), atol=0.1)
    own = abs(model.means_[:, 0]) < 10
    if kind != "tied":
        np.testing.assert_allclose(np.sqrt(model.covars_.ravel()[own]), 1, atol=0.1)
    assert model.log_likelihood_ == pytest.approx(model.score(seen))
    assert GaussianHMM("auto", random_state=0, max_components=4).fit(seen).n_components_ == 3


def test_the_table_of_a_choice_is_in_the_units_of_the_points() -> None:
    seen = np.repeat([0.0, 6.0] * 3, 50)[:, None] + points(300, features=1)
    seen[::2] = np.nan
    one, other = (
        GaussianHMM("auto", max_components=2, random_state=0, n_init=2).fit(unit * seen).selection_
        for unit in (1, 100)
    )
    difference = one["log_density"] - other["log_density"]
    np.testing.assert_allclose(difference, np.log(100))


def test_of_two_points_nothing_is_told() -> None:
    assert GaussianHMM("auto", random_state=0).fit([[0.0], [6.0]]).n_components_ == 1
