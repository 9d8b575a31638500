"""The recommended size: how it is chosen, what its text says, and that it fits the forecasters."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from small_analysis import AR2, analysis, autoregression

import tsar
from tsar.complexity import Advice, Lags

NO_PENALTY = "with least squares without a penalty."


def white_noise() -> Any:
    return np.random.default_rng(1).normal(size=800)


def test_the_order_of_an_autoregression_is_recommended_and_can_be_used() -> None:
    series = autoregression([0.2, 0.2, 0.5], 3000)
    advice = analysis(Lags(12), n_train=None).fit(series).recommend()
    assert (advice.size, advice.order, advice.state_size, advice.hidden) == (3, 3, 3, None)
    assert advice.share_best <= advice.share_better_than_mean == 1
    assert tsar.ARNet(advice.order).fit(AR2).order_ == 3
    assert tsar.SpaceTime(state_size=advice.state_size).state_size == 3


def test_the_number_of_random_features_is_a_hidden_width() -> None:
    advice = analysis("random", n_train=100).fit(AR2).recommend()
    assert advice.hidden == (advice.size,)
    assert advice.size > 0
    assert advice.order is None
    assert tsar.AutoTimes(hidden=advice.hidden).hidden == advice.hidden


def test_the_text_agrees_with_the_record_and_the_curves() -> None:
    fitted = analysis("random", n_train=80).fit(AR2)
    advice, text = fitted.recommend(), str(fitted.recommend())
    assert text.startswith(f"Use {advice.size} features {NO_PENALTY}")
    assert advice.threshold_range == (40, 160)
    assert advice.size <= 40 or advice.size >= 160
    assert "Avoid 40 to 160 features without ridge: the variance peaks near the " in text
    assert "interpolation threshold p = n = 80" in text
    better = advice.ridge_validation_risk < advice.validation_risk
    cheap = "at most n/5 = 16, at least 5n = 400, or tune a ridge"
    other = "With a tuned ridge" if 16 < advice.size < 400 else cheap
    assert ("Better still, tune a ridge (head='ridge')" if better else other) in text
    assert f"worth {advice.effective_sample_size:,.0f} independent rows" in text
    assert "The minimum of the excess risk at size zero is trivial" in text
    assert f"{advice.null_risk:.4g} at size zero and {advice.test_risk:.4g} here" in text
    row = fitted.curves_.set_index(["size", "head"]).loc[(advice.size, advice.head)]
    assert (advice.test_risk, advice.penalty) == (row["test"], row["penalty"])
    assert set(asdict(advice)) >= {"size", "order", "hidden", "ridge_penalty"}


def test_a_ridge_is_recommended_with_its_penalty() -> None:
    advice = analysis("random", n_train=80, head="ridge").fit(AR2).recommend()
    assert advice.head == "ridge"
    assert str(advice).splitlines()[0].endswith(f"with a ridge penalty of {advice.penalty:.3g}.")


def test_the_mean_is_recommended_for_noise() -> None:
    advice = analysis().fit(white_noise()).recommend()
    assert (advice.size, advice.head, advice.requested_head) == (0, "mean", "ridgeless")
    assert str(advice).startswith(
        "Use no lags but the mean: no size without a penalty is better by more than one standard "
        "error"
    )
    assert "excess risk at size zero" in str(advice)
    assert "better than the mean in" not in str(advice)
    ridge = analysis(head="ridge").fit(white_noise()).recommend()
    assert str(ridge).startswith("Use no lags but the mean: no size is better by more than one")


def test_forecasters_take_the_order_and_hidden_layers_of_the_mean() -> None:
    advice = analysis().fit(white_noise()).recommend()
    # The least order: without one ARNet would take its default.
    assert (advice.order, advice.state_size) == (1, 1)
    assert tsar.ARNet(advice.order).fit(AR2).order_ == 1
    hidden = analysis("random").fit(white_noise()).recommend().hidden
    assert tsar.AutoTimes(hidden=hidden).hidden == ()


def test_only_sizes_near_the_threshold_leave_the_mean_and_the_ridge() -> None:
    advice = analysis("random", sizes=(60, 100, 150), n_train=100).fit(AR2).recommend()
    assert (advice.size, advice.n_sizes) == (0, 0)
    assert str(advice).startswith(
        "Use no features but the mean: all sizes measured are between 50 and 200,"
    )
    assert "Better still, tune a ridge (head='ridge')" in str(advice)
    assert advice.ridge_test_risk < 0.8 * advice.null_risk
    assert "least validation risk" not in str(advice)


def test_a_better_ridge_is_mentioned_with_the_mean() -> None:
    """Many weak features, which need a penalty."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(900, 90))
    y = features @ generator.normal(size=90) / 6 + 2 * generator.normal(size=900)
    advice = analysis(features, sizes=(40,), n_train=80).fit(y, y).recommend()
    assert advice.size == 0 and advice.ridge_validation_risk < advice.validation_risk
    assert "Better still, tune a ridge (head='ridge')" in str(advice)


def test_the_ridge_is_compared_by_the_printed_digits() -> None:
    advice: Advice = analysis("lags", sizes=(1, 2, 4)).fit(AR2).recommend()
    equal = replace(
        advice,
        validation_risk=0.47991,
        ridge_validation_risk=0.47989,
        n_train=200,
        max_size=1000,
        size=46,
    )
    assert "Better still" not in str(equal)
    assert "at most n/5" not in str(equal)
    assert "With a tuned ridge" in str(equal)
    assert "at most n/5 = 40" in str(replace(equal, size=30))
    assert "Better still" in str(replace(equal, ridge_validation_risk=0.47))


def test_no_series_gets_a_size_near_the_threshold() -> None:
    series = np.random.default_rng(0).normal(size=1500)
    for point in range(70, 1500):
        series[point] = 0.95 * series[point - 70] + 0.2 * series[point]
    fitted = analysis("lags", sizes=[1, 70], n_train=100).fit(series)
    assert fitted.recommend().size in (0, 1)
    assert set(fitted.per_series_["size"]) <= {0, 1}


def test_the_text_says_if_the_largest_size_is_recommended() -> None:
    season = 10 * np.sin(np.arange(600) * 2 * np.pi / 12)
    season[::12] += 10
    noisy = season + np.random.default_rng(0).normal(size=600)
    advice = analysis(Lags(9)).fit(noisy).recommend()
    assert advice.size == advice.max_size == 9
    assert "the largest size measured: a larger one may be better" in str(advice)
