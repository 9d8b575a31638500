"""SpaceTimeClassifier: scikit-learn's contract, what it learns, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from tsar import SpaceTimeClassifier, Training, load
from tsar.forecasters.spacetime.sequences import Sequences

TRAINING = Training(epochs=40, batch_size=16, learning_rate=1e-2, patience=20)


def small(**options: Any) -> SpaceTimeClassifier:
    given: dict[str, Any] = {
        "state_size": 8,
        "width": 16,
        "depth": 1,
        "training": TRAINING,
        "device": "cpu",
        "random_state": 0,
    }
    return SpaceTimeClassifier(**(given | options))


def waves(count: int = 40, length: int = 60, seed: int = 0) -> tuple[Any, Any]:
    """Waves of two frequencies in noise; the level says nothing."""
    generator = np.random.default_rng(seed)
    codes = np.arange(count) % 2
    phase, level = generator.uniform(0, 6, size=(2, count, 1))
    pace = np.where(codes == 0, 0.3, 0.6)[:, None]
    x = np.sin(pace * np.arange(length) + phase) + level
    return x + 0.3 * generator.normal(size=x.shape), np.array(["slow", "fast"])[codes]


@pytest.mark.wrong_types
@parametrize_with_checks(
    [small(dropout=0.0, training=Training(epochs=12, batch_size=16, learning_rate=2e-2))],
    expected_failed_checks=lambda _: {
        "check_methods_subset_invariance": "to 1e-7, which float32 holds on some processors only"
    },
    xfail_strict=False,
)
def test_scikit_learn_takes_it_for_a_classifier(estimator: Any, check: Any) -> None:
    check(estimator)


def test_frequencies_are_told_apart() -> None:
    model = small().fit(*waves())
    x, y = waves(seed=1)
    assert model.score(x, y) > 0.9
    chances = model.predict_proba(x)
    assert chances.shape == (40, 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert (model.predict(x) == model.classes_[chances.argmax(axis=1)]).all()
    assert model.history_["validation_loss"].iloc[-1] < model.history_["validation_loss"].iloc[0]


def test_channels_count_together() -> None:
    x, y = waves(120)
    other = np.random.default_rng(5).normal(size=x.shape)
    both = np.stack([other, x], axis=1)
    model = small().fit(both, y)
    assert model.score(both, y) > 0.9
    with pytest.raises(ValueError, match="expecting 2 features"):
        model.predict(both[:, :1])


def test_a_seed_decides_all_and_the_batch_size_nothing() -> None:
    x, y = waves()
    first = small().fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(small().fit(x, y).predict_proba(x), first)
    model = small().fit(x, y).set_params(batch_size=3)
    np.testing.assert_allclose(model.predict_proba(x), first, rtol=1e-5)


def test_rare_classes_may_count_more() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 30))
    y = np.r_[np.zeros(100, dtype=int), np.ones(20, dtype=int)]
    x[y == 1] += 0.3
    quick = Training(epochs=5, batch_size=16)
    found = {
        name: small(class_weight=weight, training=quick).fit(x, y).predict_proba(x)[:, 1].mean()
        for name, weight in (("none", None), ("balanced", "balanced"), ("dict", {0: 1.0, 1: 5.0}))
    }
    assert found["balanced"] > found["none"] + 0.1
    assert found["dict"] == pytest.approx(found["balanced"], abs=0.1)


@pytest.mark.parametrize(("scale", "level"), ((1.0, 1e8), (1e-50, 0.0), (1e40, 0.0)))
def test_the_units_of_a_sequence_do_not_matter(scale: float, level: float) -> None:
    x, y = waves()
    plain = small().fit(x, y).predict_proba(x)
    moved = small().fit(x * scale + level, y).predict_proba(x * scale + level)
    np.testing.assert_allclose(moved, plain, atol=1e-3)


def test_the_loss_of_all_is_that_of_its_batches() -> None:
    x, y = waves()
    model = small(class_weight={"slow": 9.0, "fast": 1.0}, training=Training(epochs=1)).fit(x, y)
    whole = Sequences(torch.from_numpy(x[:, None]).float(), torch.from_numpy((y == "slow") * 1))
    order = whole.codes.argsort()
    with torch.inference_mode():
        losses = [model.module_.loss(part) * part.count for part in whole.batch(order).batches(7)]
        together = model.module_.loss(whole)
    assert float(sum(losses) / len(whole)) == pytest.approx(float(together), rel=1e-5)


def test_raw_sequences_are_long() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 16_000))
    y = np.arange(8) % 2
    quick = Training(epochs=1, batch_size=4)
    assert small(training=quick, batch_size=4).fit(x, y).predict_proba(x).shape == (8, 2)


def test_a_part_of_each_class_is_held_back() -> None:
    codes = torch.tensor([0] * 10 + [1] * 5 + [2])
    whole = Sequences(torch.arange(16.0)[:, None, None], codes)
    rest, held = whole.parted(0.2)
    assert held.codes.tolist() == [0, 0, 1]
    assert sorted([*rest.values.flatten().tolist(), *held.values.flatten().tolist()]) == [
        float(k) for k in range(16)
    ]
    assert len(whole.parted(0.0)[1]) == 0


def test_it_is_saved_and_read_again(tmp_path: Path) -> None:
    x, y = waves()
    model = small(class_weight="balanced").fit(x, y)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))


def test_it_may_be_searched_over() -> None:
    search = GridSearchCV(small(), {"state_size": [2, 8]}, cv=2).fit(*waves())
    assert search.best_score_ > 0.7
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "words"),
    (
        ({"state_size": 0}, "state_size must be an integer"),
        ({"dropout": 1.0}, "dropout must be a fraction"),
        ({"class_weight": "heavy"}, "class_weight must be None, 'balanced' or a dict"),
        ({"class_weight": np.ones(2)}, "class_weight must be None, 'balanced' or a dict"),
        ({"class_weight": {"slow": -1.0}}, "class_weight must be positive and finite; got -1.0"),
        ({"class_weight": {"quick": 2.0}}, "class_weight must name classes of y; got 'quick'"),
        ({"training": Training(validation=5)}, "training.validation must be a fraction"),
    ),
    ids=str,
)
def test_options_that_make_no_sense(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**options).fit(*waves())


def test_input_that_makes_no_sense() -> None:
    x, y = waves()
    with pytest.raises(ValueError, match="at least two classes; got 1 class"):
        small().fit(x, np.full(40, "slow"))
    with pytest.raises(ValueError, match="must be an array"):
        small().fit(x[:, None, None], y)
    with pytest.raises(ValueError, match="NaN"):
        small().fit(np.where(x > 1, np.nan, x), y)
    with pytest.raises(NotFittedError):
        small().predict(x)
    fitted = small().fit(x, y)
    with pytest.raises(ValueError, match="features"):
        fitted.predict(x[:, :30])
    with pytest.raises(ValueError, match=r"1 channel\(s\) of 60 points, as in fit; got 1 of 30"):
        small().fit(x[:, None], y).predict(x[:, None, :30])
    with pytest.raises(ValueError, match="batch_size must be an integer"):
        fitted.set_params(batch_size=0).predict(x)


def test_a_fit_that_fails_leaves_nothing_of_the_one_before() -> None:
    x, y = waves()
    model = small(training=Training(epochs=1)).fit(x, y)
    with pytest.raises(ValueError, match="at least two classes"):
        model.fit(x[:, :30], np.full(40, "slow"))
    with pytest.raises(NotFittedError):
        model.predict(x)


def test_a_channel_of_its_own_axis_is_the_same_as_none() -> None:
    x, y = waves()
    quick = Training(epochs=1)
    plain = small(training=quick).fit(x, y)
    found = plain.predict_proba(x)
    np.testing.assert_array_equal(plain.predict_proba(x[:, None]), found)
    np.testing.assert_array_equal(small(training=quick).fit(x[:, None], y).predict_proba(x), found)
    both = small(training=quick).fit(np.stack([x, x], axis=1), y)
    with pytest.raises(ValueError, match=r"2 channel\(s\) of 60 points, as in fit; got 1 of 60"):
        both.predict(x)
    with pytest.raises(ValueError, match=r"1 channel\(s\) of 60 points, as in fit; got 2 of 60"):
        plain.predict(np.stack([x, x], axis=1))


def test_values_beyond_the_units_of_fit_are_refused() -> None:
    x, y = waves()
    model = small(training=Training(epochs=1)).fit(np.stack([x, x], axis=1), y)
    x[3, 5] = 1e50
    with pytest.raises(
        ValueError, match=r"X must be in the units of fit; got values in channel 1 of sequence 3"
    ):
        model.predict_proba(np.stack([x * 0, x], axis=1))


@pytest.mark.parametrize("length", (0, 60))
def test_sequences_without_a_point_are_refused(length: int) -> None:
    x = np.zeros((40, 0 if length else 1, length))
    with pytest.raises(ValueError, match="X must have a channel and a point at least; got shape"):
        small().fit(x, waves()[1])


@pytest.mark.wrong_types
@pytest.mark.parametrize("kind", (list, lambda rows: np.array(rows, dtype=object)))
def test_sequences_of_several_lengths_are_told_of(kind: Any) -> None:
    x, y = waves()
    rows = [row[: 50 + k % 3] for k, row in enumerate(x)]
    with pytest.raises(ValueError, match="X must hold sequences of one length; got 50 to 52"):
        small().fit(kind(rows), y)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    "absent", (None, float("nan"), pd.NA, pd.NaT), ids=("None", "nan", "NA", "NaT")
)
def test_each_sequence_has_a_label(absent: Any) -> None:
    x, y = waves()
    labels = y.astype(object)
    labels[[3, 5]] = absent
    message = r"y must name the class of every sequence; got none at row 3 \(2 missing in all\)"
    for given in (labels, list(labels), pd.Series(labels, dtype="string")):
        with pytest.raises(ValueError, match=message):
            small().fit(x, given)
