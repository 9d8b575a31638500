"""Frames, labels and arrays that the analysis reads, and those that it refuses."""

import numpy as np
import pandas as pd
import pytest
from small_analysis import AR2, analysis, long_frame

from tsar.complexity import Lags


def test_constant_short_and_missing_series_are_refused_if_there_is_no_other() -> None:
    with pytest.raises(ValueError, match=r"a series that is not constant .* got constant for"):
        analysis().fit(np.ones(100))
    with pytest.raises(ValueError, match="got 0 observed training points for series 'a'"):
        analysis().fit(long_frame({"a": np.r_[np.full(40, np.nan), AR2[:10]]}))
    with pytest.raises(ValueError, match="got only NaN for series 'b'"):
        analysis().fit(long_frame({"a": AR2, "b": np.full(600, np.nan)}))


def test_rows_with_missing_points_are_left_out() -> None:
    with_gap = AR2.copy()
    with_gap[100:110] = np.nan
    complete, fitted = (analysis(Lags(4), n_train=None).fit(y) for y in (AR2, with_gap))
    # Ten windows end in the gap, three reach into it, and one has its response in it.
    assert complete.summary_["n_train"] - fitted.summary_["n_train"] == 10 + 3 + 1
    assert fitted.curves_["test"].notna().all()


# --- labels -----------------------------------------------------------------------------------


def test_all_labels_must_be_among_the_training_rows() -> None:
    labels = np.where(AR2 > 0, "up", "down").astype(object)
    labels[-5:] = "late"
    with pytest.raises(ValueError, match="every label among the training rows; got 'late' only in"):
        analysis().fit(AR2, labels)
    with pytest.raises(
        ValueError, match=r"at least two labels among the training rows; got \['up'"
    ):
        analysis().fit(AR2, np.full(600, "up"))
    with pytest.raises(ValueError, match="a value for each of the 600 points of the frame; got 5"):
        analysis().fit(AR2, labels[:5])


def test_points_without_a_label_are_left_out() -> None:
    labels = np.where(AR2 > 0, "up", "down").astype(object)
    labels[-5:] = None
    assert analysis(sizes=(1,)).fit(AR2, labels).summary_["n_test"] == 115


def test_many_or_mixed_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="got 600 different integers, which are read as labe"):
        analysis().fit(AR2, np.arange(600))
    with pytest.raises(ValueError, match="at most 100 different labels; got 600 different labels"):
        analysis().fit(AR2, np.arange(600).astype(str))
    mixed = np.where(AR2 > 0, 1, 0).astype(object)
    mixed[3] = "up"
    with pytest.raises(ValueError, match="labels of one type, to be sorted; got int and str"):
        analysis().fit(AR2, mixed)
    with pytest.raises(ValueError, match="floats of y are read as real numbers: give labels as in"):
        analysis(head="logistic").fit(AR2, (AR2 > 0).astype(float))


def test_labels_of_a_polars_frame() -> None:
    polars = pytest.importorskip("polars")
    frame, labels = long_frame({"a": AR2}).iloc[::-1], AR2[::-1] > 0
    fitted = analysis(sizes=(1, 2)).fit(polars.from_pandas(frame), polars.Series(labels))
    expected = analysis(sizes=(1, 2)).fit(frame, labels)
    pd.testing.assert_frame_equal(fitted.curves_, expected.curves_)


def test_labels_follow_the_rows_of_a_long_frame() -> None:
    labels = pd.Series(AR2 > 0).sample(frac=1, random_state=0)
    shuffled = long_frame({"a": AR2}).loc[labels.index]
    fitted = analysis(sizes=(2,)).fit(shuffled, labels.to_numpy())
    expected = analysis(sizes=(2,)).fit(AR2, AR2 > 0)
    pd.testing.assert_frame_equal(fitted.curves_, expected.curves_)


# --- arrays -----------------------------------------------------------------------------------


def test_a_read_only_frame_is_a_representation() -> None:
    features = np.stack([AR2, AR2**2], axis=1)
    features.flags.writeable = False
    fitted = analysis(pd.DataFrame(features, copy=False), sizes=(1, 2)).fit(AR2)
    assert fitted.curves_["test"].notna().all()


def test_features_follow_the_rows_of_a_long_frame() -> None:
    features = np.stack([AR2, np.r_[0.0, AR2[:-1]]], axis=1)
    frame = long_frame({"a": AR2})
    order = np.random.default_rng(0).permutation(len(AR2))
    sorted_rows = analysis(features, sizes=[1, 2]).fit(frame).curves_["test"]
    shuffled = analysis(features[order], sizes=[1, 2]).fit(frame.iloc[order]).curves_["test"]
    np.testing.assert_allclose(shuffled, sorted_rows)
    array = analysis(features, sizes=[1, 2]).fit(AR2).curves_["test"]
    np.testing.assert_allclose(array, sorted_rows)
