"""SpaceTimeClassifier: scikit-learn's estimator checks, accuracy, options and errors."""

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
from tsar.forecasters.spacetime.classifier_module import LabeledSequences

TRAINING = Training(epochs=40, batch_size=16, learning_rate=1e-2, patience=20)


def small_classifier(**options: Any) -> SpaceTimeClassifier:
    defaults: dict[str, Any] = {
        "state_size": 8,
        "width": 16,
        "depth": 1,
        "training": TRAINING,
        "device": "cpu",
        "random_state": 0,
    }
    return SpaceTimeClassifier(**(defaults | options))


def sine_waves(count: int = 40, length: int = 60, seed: int = 0) -> tuple[Any, Any]:
    """Noisy sine waves of two frequencies, with random levels and phases."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    phase, level = generator.uniform(0, 6, size=(2, count, 1))
    frequency = np.where(labels == 0, 0.3, 0.6)[:, None]
    x = np.sin(frequency * np.arange(length) + phase) + level
    return x + 0.3 * generator.normal(size=x.shape), np.array(["slow", "fast"])[labels]


@pytest.mark.wrong_types
@parametrize_with_checks(
    [
        small_classifier(
            dropout=0.0, training=Training(epochs=12, batch_size=16, learning_rate=2e-2)
        )
    ],
    expected_failed_checks=lambda _: {
        "check_methods_subset_invariance": "needs 1e-7, which float32 has on some processors only"
    },
    xfail_strict=False,
)
def test_scikit_learn_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_frequencies_are_classified() -> None:
    model = small_classifier().fit(*sine_waves())
    x, y = sine_waves(seed=1)
    assert model.score(x, y) > 0.9
    probabilities = model.predict_proba(x)
    assert probabilities.shape == (40, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (model.predict(x) == model.classes_[probabilities.argmax(axis=1)]).all()
    assert model.history_["validation_loss"].iloc[-1] < model.history_["validation_loss"].iloc[0]


def test_several_channels_are_classified() -> None:
    x, y = sine_waves(120)
    other = np.random.default_rng(5).normal(size=x.shape)
    both = np.stack([other, x], axis=1)
    model = small_classifier().fit(both, y)
    assert model.score(both, y) > 0.9
    with pytest.raises(ValueError, match="expecting 2 features"):
        model.predict(both[:, :1])


def test_equal_seeds_and_any_batch_size_give_equal_probabilities() -> None:
    x, y = sine_waves()
    first = small_classifier().fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(small_classifier().fit(x, y).predict_proba(x), first)
    model = small_classifier().fit(x, y).set_params(inference_batch_size=3)
    np.testing.assert_allclose(model.predict_proba(x), first, rtol=1e-5)


def test_class_weights_raise_the_probability_of_a_rare_class() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 30))
    y = np.r_[np.zeros(100, dtype=int), np.ones(20, dtype=int)]
    x[y == 1] += 0.3
    quick = Training(epochs=5, batch_size=16)
    mean = {}
    for name, weight in (("none", None), ("balanced", "balanced"), ("dict", {0: 1.0, 1: 5.0})):
        model = small_classifier(class_weight=weight, training=quick).fit(x, y)
        mean[name] = model.predict_proba(x)[:, 1].mean()
    assert mean["balanced"] > mean["none"] + 0.1
    assert mean["dict"] == pytest.approx(mean["balanced"], abs=0.1)


@pytest.mark.parametrize(("scale", "level"), ((1.0, 1e8), (1e-50, 0.0), (1e40, 0.0)))
def test_units_do_not_affect_probabilities(scale: float, level: float) -> None:
    x, y = sine_waves()
    expected = small_classifier().fit(x, y).predict_proba(x)
    rescaled = small_classifier().fit(x * scale + level, y).predict_proba(x * scale + level)
    np.testing.assert_allclose(rescaled, expected, atol=1e-3)


def test_loss_is_the_mean_over_batches() -> None:
    x, y = sine_waves()
    model = small_classifier(
        class_weight={"slow": 9.0, "fast": 1.0}, training=Training(epochs=1)
    ).fit(x, y)
    labels = torch.from_numpy((y == "slow") * 1)
    sequences = LabeledSequences(torch.from_numpy(x[:, None]).float(), labels)
    order = labels.argsort()
    with torch.inference_mode():
        batches = sequences.batch(order).batches(7)
        losses = [model.module_.loss(batch) * batch.count for batch in batches]
        expected = model.module_.loss(sequences)
    assert float(sum(losses) / len(sequences)) == pytest.approx(float(expected), rel=1e-5)


def test_long_sequences() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 16_000))
    y = np.arange(8) % 2
    quick = Training(epochs=1, batch_size=4)
    model = small_classifier(training=quick, inference_batch_size=4).fit(x, y)
    assert model.predict_proba(x).shape == (8, 2)


def test_split_holds_back_a_fraction_of_each_class() -> None:
    labels = torch.tensor([0] * 10 + [1] * 5 + [2])
    sequences = LabeledSequences(torch.arange(16.0)[:, None, None], labels)
    training, validation = sequences.split(0.2)
    assert validation.labels.tolist() == [0, 0, 1]
    assert sorted([*training.values.flatten().tolist(), *validation.values.flatten().tolist()]) == [
        float(k) for k in range(16)
    ]
    assert len(sequences.split(0.0)[1]) == 0


def test_saved_model_gives_equal_probabilities(tmp_path: Path) -> None:
    x, y = sine_waves()
    model = small_classifier(class_weight="balanced").fit(x, y)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    np.testing.assert_array_equal(loaded.predict_proba(x), model.predict_proba(x))
    parameters = loaded.module_.parameters()
    assert loaded.n_parameters_ == sum(parameter.numel() for parameter in parameters)


def test_grid_search() -> None:
    search = GridSearchCV(small_classifier(), {"state_size": [2, 8]}, cv=2).fit(*sine_waves())
    assert search.best_score_ > 0.7
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
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
def test_invalid_option_raises(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_classifier(**options).fit(*sine_waves())


def test_invalid_input_raises() -> None:
    x, y = sine_waves()
    with pytest.raises(ValueError, match="at least two classes; got 1 class"):
        small_classifier().fit(x, np.full(40, "slow"))
    with pytest.raises(ValueError, match="must be an array"):
        small_classifier().fit(x[:, None, None], y)
    with pytest.raises(ValueError, match="NaN"):
        small_classifier().fit(np.where(x > 1, np.nan, x), y)
    with pytest.raises(NotFittedError):
        small_classifier().predict(x)
    fitted = small_classifier().fit(x, y)
    with pytest.raises(ValueError, match="features"):
        fitted.predict(x[:, :30])
    with pytest.raises(ValueError, match=r"1 channel\(s\) of 60 points, as in fit; got 1 of 30"):
        small_classifier().fit(x[:, None], y).predict(x[:, None, :30])
    with pytest.raises(ValueError, match="inference_batch_size must be an integer"):
        fitted.set_params(inference_batch_size=0).predict(x)


def test_failed_fit_removes_the_attributes_of_an_earlier_fit() -> None:
    x, y = sine_waves()
    model = small_classifier(training=Training(epochs=1)).fit(x, y)
    with pytest.raises(ValueError, match="at least two classes"):
        model.fit(x[:, :30], np.full(40, "slow"))
    with pytest.raises(NotFittedError):
        model.predict(x)


def test_one_channel_with_and_without_an_axis_are_equal() -> None:
    x, y = sine_waves()
    quick = Training(epochs=1)
    model = small_classifier(training=quick).fit(x, y)
    expected = model.predict_proba(x)
    np.testing.assert_array_equal(model.predict_proba(x[:, None]), expected)
    with_axis = small_classifier(training=quick).fit(x[:, None], y)
    np.testing.assert_array_equal(with_axis.predict_proba(x), expected)
    both = small_classifier(training=quick).fit(np.stack([x, x], axis=1), y)
    with pytest.raises(ValueError, match=r"2 channel\(s\) of 60 points, as in fit; got 1 of 60"):
        both.predict(x)
    with pytest.raises(ValueError, match=r"1 channel\(s\) of 60 points, as in fit; got 2 of 60"):
        model.predict(np.stack([x, x], axis=1))


def test_values_that_overflow_after_standardization_raise() -> None:
    x, y = sine_waves()
    model = small_classifier(training=Training(epochs=1)).fit(np.stack([x, x], axis=1), y)
    x[3, 5] = 1e50
    with pytest.raises(
        ValueError, match=r"X must be in the units of fit; got values in channel 1 of sequence 3"
    ):
        model.predict_proba(np.stack([x * 0, x], axis=1))


@pytest.mark.parametrize("length", (0, 60))
def test_empty_sequences_raise(length: int) -> None:
    x = np.zeros((40, 0 if length else 1, length))
    with pytest.raises(ValueError, match="X must have a channel and a point at least; got shape"):
        small_classifier().fit(x, sine_waves()[1])


@pytest.mark.wrong_types
@pytest.mark.parametrize("kind", (list, lambda rows: np.array(rows, dtype=object)))
def test_sequences_of_different_lengths_raise(kind: Any) -> None:
    x, y = sine_waves()
    rows = [row[: 50 + k % 3] for k, row in enumerate(x)]
    with pytest.raises(ValueError, match="X must hold sequences of one length; got 50 to 52"):
        small_classifier().fit(kind(rows), y)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    "missing", (None, float("nan"), pd.NA, pd.NaT), ids=("None", "nan", "NA", "NaT")
)
def test_missing_labels_raise(missing: Any) -> None:
    x, y = sine_waves()
    labels = y.astype(object)
    labels[[3, 5]] = missing
    message = r"y must name the class of every sequence; got none at row 3 \(2 missing in all\)"
    for container in (labels, list(labels), pd.Series(labels, dtype="string")):
        with pytest.raises(ValueError, match=message):
            small_classifier().fit(x, container)
