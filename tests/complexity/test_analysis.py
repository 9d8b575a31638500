"""ComplexityAnalysis: what it measures, that nothing leaks, what it advises, what it refuses."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from theory.simulation import sample_model, sample_rows
from torch import Tensor

import tsar
from tsar import ComplexityAnalysis, Training
from tsar.complexity import Advice, FrozenFeatures, HiddenStates, Lags, RandomFeatures, Representation, Features
from tsar.complexity.inputs import standardize_series
from tsar.complexity.risk import RiskOptions, risk_curves
from tsar.complexity.per_series import autoregression_table
from tsar.complexity.sizes import check_memory, default_sizes
from tsar.complexity.filtered_states import FilteredStates
from tsar.complexity.splits import Rows, Split, split_points, following, split_rows
from tsar.data.batch import Context
from tsar.data.panel import Panel

Floats = NDArray[np.float64]


def autoregression(coefficients: Sequence[float], length: int = 600, seed: int = 0) -> Floats:
    noise = np.random.default_rng(seed).normal(size=length)
    for t in range(len(coefficients), length):
        noise[t] += sum(c * noise[t - k] for k, c in enumerate(coefficients, 1))
    return noise


def analysis(representation: Any = "lags", **options: Any) -> ComplexityAnalysis:
    given: dict[str, Any] = {"device": "cpu", "random_state": 0, "n_train": 200, "n_bootstrap": 40}
    return ComplexityAnalysis(representation, **(given | options))


def long(series: dict[str, Any]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(y)), "y": y})
        for name, y in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


SECOND = autoregression([0.3, 0.6])


# --- rows -------------------------------------------------------------------------------------


def test_stretches_follow_each_other_with_a_gap() -> None:
    panel = Panel.from_frame(long({"a": np.arange(100.0), "b": np.arange(60.0)}))
    response = future_values(panel, 3, segment=True)
    usable = torch.ones(160, dtype=torch.bool)
    split = split_rows(panel, response, usable, horizon=3, shares=(0.2, 0.3), n_train=None)
    first, last = split_points(panel.lengths, 0.2, 0.3)
    for row in range(2):
        train, validation, test = (
            part.positions[part.series == row] - panel.offsets[row] for part in split.measured
        )
        assert train.max() + 3 < first[row] <= validation.min()
        assert validation.max() + 3 < last[row] <= test.min()
        assert len(train) == first[row] - 3
    expected = split.train.positions[:, None] + torch.arange(1, 4)
    torch.testing.assert_close(split.train.response, panel.values[expected])
    few = split_rows(panel, response, usable, horizon=3, shares=(0.2, 0.3), n_train=20)
    assert len(few.train) == 20
    assert set(few.train.positions.tolist()) <= set(split.train.positions.tolist())
    assert few.train.series.unique().tolist() == [0, 1]


def test_a_response_ends_with_its_series() -> None:
    panel = Panel.from_frame(long({"a": [1.0, 2.0, np.nan, 4.0], "b": [5.0, 6.0]}))
    step = future_values(panel, 2, segment=False)[:, 0]
    np.testing.assert_array_equal(step, [np.nan, 4, np.nan, np.nan, np.nan, np.nan])
    segment = future_values(panel, 2, segment=True)
    np.testing.assert_array_equal(segment[4], [6, np.nan])


# --- representations --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ("relu", "fourier"))
def test_random_features_are_nested_and_causal(kind: Any) -> None:
    values = torch.from_numpy(autoregression([0.5], 60))
    panel, changed = Panel.from_tensor(values[None]), Panel.from_tensor(values[None].clone())
    changed.values[31:] = 99.0
    large = RandomFeatures(lags=5, activation=kind).freeze(panel, [3, 40], 0)
    small = RandomFeatures(lags=5, activation=kind).freeze(panel, [3], 0)
    places = torch.arange(4, 31)
    told = large.compute(panel, places, 40).values
    torch.testing.assert_close(small.compute(panel, places, 3).values, told[:, :3])
    torch.testing.assert_close(large.compute(changed, places, 40).values, told)
    assert large.usable(panel).tolist() == [False] * 4 + [True] * 56
    assert not torch.equal(large.compute(changed, torch.tensor([31]), 40).values, told[:1])


class FakeStates:
    """Soft assignments to quantiles of what was fitted."""

    seen: list[int]

    def __init__(self, states: int, seen: list[int]) -> None:
        self.states, self.seen = states, seen

    def fit(self, X: Floats, lengths: Any) -> "FakeStates":
        self.seen.append(len(X))
        self.centres = np.nanquantile(X, (np.arange(self.states) + 0.5) / self.states)
        return self

    def transform(self, X: Floats, lengths: Any) -> Floats:
        assert np.sum(lengths) == len(X)
        weight = np.exp(-4 * np.abs(np.nan_to_num(X) - self.centres))
        return weight / weight.sum(axis=1, keepdims=True)


def test_states_are_learned_from_the_training_points_alone() -> None:
    seen: list[int] = []
    states = FilteredStates(lambda size, seed: FakeStates(size, seen), most=6)
    found = analysis(states).fit(SECOND)
    assert set(seen) == {360}
    assert found.curves_["size"].unique().tolist() == [0, 1, 2, 3, 4, 6]
    risk = found.curves_[found.curves_["head"] == "ridgeless"]["test"]
    assert risk.iloc[-1] < 0.9 * found.summary_["null_risk"]


def test_hidden_markov_states_and_their_number() -> None:
    regime = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 15)
    series = 6.0 * regime + np.random.default_rng(1).normal(size=600)
    found = analysis("hmm", sizes=(1, 2)).fit(series)
    risks = found.curves_.set_index(["size", "head"])["test"]
    assert risks[2, "ridgeless"] < 0.4 * risks[1, "ridgeless"]
    assert found.per_series_["n_components"].tolist() == [2]
    assert found.recommend().size == 2


def test_linear_gaussian_states() -> None:
    series = autoregression([0.95], 500) + np.random.default_rng(9).normal(size=500)
    found = analysis("linear_gaussian", sizes=(1, 2)).fit(series)
    risks = found.curves_.set_index(["size", "head"])["test"]
    lagged = analysis("lags", sizes=(1,)).fit(series).curves_["test"].iloc[1]
    assert risks[1, "ridgeless"] < 0.95 * lagged  # a filter sees more than the last point


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    wave = np.sin(np.arange(500) * 2 * np.pi / 12)
    series = wave + 0.3 * np.random.default_rng(0).normal(size=500)
    shared: dict[str, Any] = {
        "horizon": 12,
        "random_state": 0,
        "device": "cpu",
        "training": Training(epochs=1, batch_size=64),
    }
    autotimes = tsar.AutoTimes(
        24, segment_length=12, backbone=None, layers=1, width=16, **shared
    ).fit(series[:300])
    spacetime = tsar.SpaceTime(24, state_size=6, width=8, **shared).fit(series[:300])
    return {"series": series, "AutoTimes": autotimes, "SpaceTime": spacetime}


@pytest.mark.parametrize("name", ("AutoTimes", "SpaceTime"))
def test_heads_on_the_hidden_states_of_a_network(networks: dict[str, Any], name: str) -> None:
    found = analysis(networks[name], horizon=3, task="next_segment").fit(networks["series"])
    assert found.summary_["representation"] == name
    curve = found.curves_[found.curves_["head"] == "ridgeless"].set_index("size")
    assert curve.index.max() == (16 if name == "AutoTimes" else 48)
    assert curve["test"].min() < 0.4 * found.summary_["null_risk"]


def test_a_network_forecasts_from_its_hidden_state(networks: dict[str, Any]) -> None:
    context = Context.of(torch.from_numpy(networks["series"][None, :24]).float())
    for name in ("AutoTimes", "SpaceTime"):
        module = networks[name].module_.eval()
        hidden, units = module.hidden(context)
        expected = module.forecast(context, 5)
        if name == "AutoTimes":
            told = module._points(hidden, units)[:, :5]
        else:
            state = hidden.unflatten(1, (8, -1))
            known = context.future[:, :5]
            told = units.denormalize(
                module.head(module.decoder.system(1).forecast(state, 5), known)
            )
        torch.testing.assert_close(told, expected)


def test_hidden_directions_are_those_of_most_variance(networks: dict[str, Any]) -> None:
    panel = Panel.from_tensor(torch.from_numpy(networks["series"][None, :300]))
    frozen = HiddenStates(networks["SpaceTime"]).freeze(panel, [4], 0)
    places = frozen.usable(panel).nonzero()[:, 0]
    assert places[0] == 23
    told = frozen.compute(panel, places, 4)
    spread = told.values.var(dim=0)
    assert bool((spread.diff() < 0).all())
    assert told.units is not None
    mean = panel.values.unfold(0, 24, 1).mean(dim=1)
    torch.testing.assert_close(told.units.level[:, 0], mean, rtol=1e-4, atol=1e-4)


class Squares(Representation):
    """One of the user's own."""

    def max_size(self, training: Panel) -> int:
        return 2

    def freeze(self, training: Panel, sizes: Sequence[int], seed: int) -> FrozenFeatures:
        class Squared(FrozenFeatures):
            def usable(self, panel: Panel) -> Tensor:
                return torch.ones_like(panel.values, dtype=torch.bool)

            def compute(self, panel: Panel, places: Tensor, size: int) -> Features:
                last = panel.values[places]
                return Features(torch.stack([last, last.square()], dim=1)[:, :size])

        return Squared()


def test_a_representation_of_ones_own() -> None:
    found = analysis(Squares()).fit(SECOND)
    assert found.curves_["size"].unique().tolist() == [0, 1, 2]
    assert found.summary_["representation"] == "Squares"


# --- curves -----------------------------------------------------------------------------------


def test_risks_are_those_of_heads_fitted_one_by_one() -> None:
    found = analysis(Lags(30), n_train=None, sizes=(1, 7, 30)).fit(SECOND)
    first = 360
    scaled = (SECOND - SECOND[:first].mean()) / SECOND[:first].std()
    rows = {"train": range(29, first - 1), "validation": range(first, 479), "test": range(480, 599)}
    for _, row in found.curves_.iterrows():
        size = int(row["size"])
        if not size:
            continue
        cut = {
            name: (
                np.stack([scaled[t - size + 1 : t + 1][::-1] for t in places]),
                scaled[[t + 1 for t in places]],
            )
            for name, places in rows.items()
        }
        head = LinearRegression() if row["head"] == "ridgeless" else Ridge(alpha=row["penalty"])
        head.fit(*cut["train"])
        for name, (features, response) in cut.items():
            error = ((head.predict(features) - response) ** 2).mean()
            assert row[name] == pytest.approx(error, rel=1e-6)
    assert found.summary_["n_train"] == len(rows["train"])


def test_the_peak_stands_where_features_are_as_many_as_rows() -> None:
    found = analysis("random", n_train=60).fit(SECOND)
    curve = found.curves_[found.curves_["head"] == "ridgeless"].set_index("ratio")
    assert 0.9 < curve["test"].idxmax() < 1.3
    assert curve["test"].max() > 3 * curve["test"].iloc[-1]
    assert curve["train"][curve.index > 1.5].max() < 1e-9
    assert curve["variance"].max() > 5 * curve["variance"].iloc[-1]
    ridge = found.curves_[found.curves_["head"] == "ridge"]
    assert ridge["test"].max() < 2 * found.summary_["null_risk"]
    assert found.recommend().peak_risk == pytest.approx(curve["test"].max())


def simulated(rows: int, size: int) -> tuple[Any, Split, Tensor]:
    """Features and responses of a model that is known, in three stretches."""
    generator = torch.Generator().manual_seed(0)
    model = sample_model(8, size, generator=generator)
    total = rows + 3000
    seen, after = sample_rows(model, total, 1, serial=True, generator=generator)
    whole = Rows(torch.arange(total), torch.zeros(total, dtype=torch.long), after[0])
    parts = torch.arange(total).split([rows, 1000, 2000, 0])
    return model, Split(*(whole.select(part) for part in parts)), seen[0]


def test_what_is_estimated_is_near_what_is_known() -> None:
    sizes = (4, 16, 60, 300)
    model, split, features = simulated(150, max(sizes))
    sized = [(size, features[:, :size]) for size in sizes]
    curves = risk_curves(sized, split, RiskOptions("ridgeless", 1, 100, False, 0))
    found = curves.table[curves.table["head"] == "ridgeless"].set_index("size")
    for size in sizes:
        shown = model.with_features(size)
        noise = float(shown.noise) / 8
        head = torch.linalg.pinv(features[:150, :size] - features[:150, :size].mean(dim=0))
        head = head @ (split.train.response - split.train.response.mean(dim=0))
        exact = float(shown.excess(head)) / 8
        row = found.loc[size]
        assert row["irreducible"] == pytest.approx(noise, rel=0.3)
        assert row["excess"] == pytest.approx(exact, rel=0.5)
        assert row["theory_excess"] == pytest.approx(exact, rel=0.5)
        assert row["test"] == pytest.approx(noise + exact, rel=0.15)


def unrelated(spare: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """400 features of a response of variance 1, of 100 training rows: both heads, by size."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(100 + 600 + 1000 + spare, 400, generator=generator).double()
    weights = torch.randn(400, 1, generator=generator).double() / 20
    noise = 0.1 * torch.randn(len(features), 1, generator=generator).double()
    rows = torch.arange(len(features))
    whole = Rows(rows, rows * 0, features @ weights + noise)
    split = Split(*(whole.select(part) for part in rows.split([100, 600, 1000, spare])))
    sized = [(size, features[:, :size]) for size in (40, 150, 400)]
    table = risk_curves(sized, split, RiskOptions("ridgeless", 1, 50, False, 0)).table
    plain, tuned = (table[table["head"] == head] for head in ("ridgeless", "ridge"))
    return plain.set_index("size"), tuned.set_index("size")


@pytest.mark.parametrize("spare", (900, 3000))
def test_the_bias_of_heads_that_interpolate_is_what_the_rows_do_not_show(spare: int) -> None:
    plain, tuned = unrelated(spare)
    for size in (40, 150, 400):
        row = plain.loc[size]
        bias = size / 400 * max(1 - 100 / size, 0)
        assert row["bias"] == pytest.approx(bias, rel=0.25, abs=1e-9)
        assert row["theory_bias"] == pytest.approx(bias, rel=0.5, abs=1e-9)
        assert row["excess"] + row["irreducible"] == pytest.approx(row["test"], rel=0.2)
    assert plain["irreducible"].to_numpy() == pytest.approx([0.91, 0.635, 0.01], rel=0.5)
    assert (tuned["bias"] > 0.01).all()


def test_what_no_rows_determine_is_not_told() -> None:
    found = analysis("random", n_train=None, sizes=(50, 150, 300)).fit(SECOND[:300])
    unknown = ["bias", "variance", "excess", "irreducible", "theory_bias", "theory_excess"]
    assert 150 < found.summary_[["n_train", "n_validation"]].sum() < 300
    curves = found.curves_[found.curves_["head"] == "ridgeless"].set_index("size")
    assert curves.loc[300, unknown].isna().all()
    assert curves.loc[[50, 150], unknown].notna().all(axis=None)
    assert curves[["test", "validation", "effective_sample_size"]].notna().all(axis=None)
    assert "told up to 150 features" in str(found.recommend())
    found.plot().canvas.draw()


def test_the_theory_knows_that_the_mean_is_estimated() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4000, 1, generator=generator).double()
    rows = torch.arange(4000)
    whole = Rows(rows, rows * 0, torch.randn(4000, 1, generator=generator).double())
    split = Split(*(whole.select(part) for part in rows.split([50, 1000, 1000, 1950])))
    table = risk_curves([(1, features)], split, RiskOptions("ridgeless", 1, 400, False, 0)).table
    row = table[table["head"] == "ridgeless"].iloc[0]
    noise = row["irreducible"]
    assert row["theory_variance"] == pytest.approx(noise * (1 / 50 + 1 / (49 - 1 - 1)), rel=1e-6)
    assert row["theory_excess"] == pytest.approx(row["variance"], rel=0.25)


def test_segments_are_averaged_and_real_responses_taken_as_they_are() -> None:
    single = [analysis(Lags(4), sizes=(4,), horizon=k).fit(SECOND) for k in (1, 2)]
    both = analysis(Lags(4), sizes=(4,), horizon=2, task="next_segment").fit(SECOND)
    mean = np.mean([one.curves_["test"].iloc[1] for one in single])
    assert both.curves_["test"].iloc[1] == pytest.approx(mean, rel=0.05)
    told = analysis(Lags(4), sizes=(4,)).fit(SECOND, np.r_[0.0, SECOND[:-1]])
    assert told.curves_["test"].iloc[1] < 1e-9  # the point before is one of the lags
    assert "order" not in told.per_series_


@pytest.mark.parametrize("head", ("ridgeless", "ridge", "logistic"))
def test_labels_are_told_from_features(head: Any) -> None:
    labels = np.where(SECOND > 0.5, "up", np.where(SECOND < -0.5, "down", "flat"))
    found = analysis(Lags(3), sizes=(1, 3), head=head).fit(SECOND, labels)
    assert found.classes_ == ["down", "flat", "up"]
    row = found.curves_[found.curves_["head"] == head].iloc[0]
    assert row["error_rate"] < (0.15 if head == "logistic" else 0.5)
    assert row["test"] < 0.8 * found.summary_["null_risk"]
    assert found.recommend().head == head
    assert np.isnan(row["excess"]) if head == "logistic" else row["excess"] > 0
    assert ("logistic" in str(found.recommend())) == (head == "logistic")


def test_a_seed_decides_all_and_frames_of_any_layout_say_the_same() -> None:
    first = analysis("random", n_train=50).fit(SECOND)
    again = clone(first).fit(pd.Series(SECOND))
    pd.testing.assert_frame_equal(first.curves_, again.curves_)
    frame = analysis("random", n_train=50).fit(long({"a": SECOND}).sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(first.curves_, frame.curves_)
    other = analysis("random", n_train=50, random_state=1).fit(SECOND)
    assert not first.curves_["test"].equals(other.curves_["test"])
    labels = pd.Series(SECOND > 0).sample(frac=1, random_state=0)
    shuffled = long({"a": SECOND}).loc[labels.index]
    by_row = analysis(sizes=(2,)).fit(shuffled, labels.to_numpy())
    plain = analysis(sizes=(2,)).fit(SECOND, SECOND > 0)
    pd.testing.assert_frame_equal(by_row.curves_, plain.curves_)


# --- series -----------------------------------------------------------------------------------


def test_orders_are_those_of_refits() -> None:
    series = {"short": autoregression([0.9], 200), "long": SECOND}
    source = standardize_series(Panel.from_frame(long(series)), (0.2, 0.2))
    most = 6
    table = autoregression_table(source.panel, (0.2, 0.2), most)
    for name, values in series.items():
        first = round(0.6 * len(values))
        scaled = (values - values[:first].mean()) / values[:first].std()
        row = table.loc[name]
        order = int(row["order"])

        def cut(places: range, order: int = order, scaled: Floats = scaled) -> Any:
            lags = [scaled[t - order + 1 : t + 1][::-1] for t in places]
            return np.stack(lags), scaled[[t + 1 for t in places]]

        head = LinearRegression().fit(*cut(range(most - 1, first - 1)))
        features, response = cut(range(round(0.8 * len(values)), len(values) - 1))
        error = ((head.predict(features) - response) ** 2).mean()
        assert row["risk"] == pytest.approx(error, rel=1e-4)
        assert row["r2"] == pytest.approx(1 - error / row["null_risk"], rel=1e-4)
        assert row["entropy_rate"] == pytest.approx(0.5 * np.log(2 * np.pi * np.e * error))
    assert table["order"].to_dict() == {"short": 3, "long": 2}


def test_the_mean_predicts_exactly_nothing() -> None:
    noise = np.random.default_rng(0).normal(size=(30, 400))
    table = autoregression_table(Panel.from_tensor(torch.from_numpy(noise)), (0.2, 0.2), 9)
    alone = table[table["order"] == 0]
    assert len(alone) > 5
    assert (alone["r2"] == 0).all()


def test_series_by_series_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = Panel.from_tensor(torch.from_numpy(np.stack([autoregression([0.7], 300)] * 5)))
    panel.values[300:] += torch.randn(1200, dtype=torch.float64)
    whole = autoregression_table(panel, (0.2, 0.2), 5)
    monkeypatch.setattr("tsar.complexity.per_series.MAX_ELEMENTS", 1)
    pd.testing.assert_frame_equal(autoregression_table(panel, (0.2, 0.2), 5), whole)


def test_panels_have_a_row_for_each_series() -> None:
    noise = np.random.default_rng(3).normal(size=600)
    frame = long(
        {
            "memory": SECOND,
            "noise": noise,
            "flat": np.full(600, 3.0),
            "gone": np.r_[np.full(590, np.nan), np.ones(10)],
            "brief": SECOND[:12],
        }
    )
    found = analysis().fit(frame)
    table = found.per_series_
    assert list(table.index) == ["brief", "flat", "gone", "memory", "noise"]
    assert table["excluded"].dropna().to_dict() == {
        "brief": "8 observed training points",
        "flat": "constant",
        "gone": "0 observed training points",
    }
    assert table.loc["memory", "order"] == 2
    assert table["order"].isna().sum() == 3
    assert table.loc["memory", "r2"] > 0.3
    assert abs(table.loc["noise", "r2"]) < 0.1
    assert found.summary_["excluded"] == 3
    alone = analysis().fit(frame[frame["unique_id"].isin(["memory", "noise"])])
    pd.testing.assert_frame_equal(found.curves_, alone.curves_)


def test_given_features_stay_with_their_points() -> None:
    frame = long({"a": np.full(600, 1.0), "b": SECOND})
    features = np.r_[np.zeros((600, 2)), np.c_[SECOND, np.r_[0, SECOND[:-1]]]]
    given = analysis(features, n_train=None).fit(frame)
    lags = analysis(Lags(2), n_train=None).fit(SECOND)
    columns = ["size", "head", "ratio"]
    assert given.curves_["size"].tolist() == lags.curves_["size"].tolist()
    assert given.curves_["test"].to_numpy() == pytest.approx(lags.curves_["test"], rel=0.02)
    assert set(columns) <= set(given.curves_)


# --- advice -----------------------------------------------------------------------------------


def test_the_order_of_an_autoregression_is_advised_and_can_be_used() -> None:
    advice = analysis(Lags(12), n_train=None).fit(autoregression([0.2, 0.2, 0.5], 3000)).recommend()
    assert (advice.size, advice.order, advice.state_size, advice.width) == (3, 3, 3, None)
    assert advice.share_best <= advice.share_better_than_mean == 1
    assert tsar.ARNet(advice.order).fit(SECOND).order_ == 3
    assert tsar.SpaceTime(state_size=advice.state_size).state_size == 3


def test_the_width_of_a_hidden_layer_comes_from_random_features() -> None:
    advice = analysis("random", n_train=100).fit(SECOND).recommend()
    assert advice.width == advice.size > 0
    assert advice.order is None
    assert tsar.AutoTimes(hidden=advice.width).hidden == advice.width


def test_advice_says_what_a_person_needs() -> None:
    found = analysis("random", n_train=80).fit(SECOND)
    advice, text = found.recommend(), str(found.recommend())
    assert text.startswith(f"Use {advice.size} features with least squares without a penalty.")
    assert advice.threshold_range == (40, 160)
    assert advice.size <= 40 or advice.size >= 160
    assert "Avoid 40 to 160 features without ridge: around p = n = 80" in text
    better = advice.ridge_validation_risk < advice.validation_risk
    cheap = "at most n/5 = 16, at least 5n = 400, or tune a ridge"
    other = "With a tuned ridge" if 16 < advice.size < 400 else cheap
    assert ("Better still, tune a ridge (head='ridge')" if better else other) in text
    assert f"worth {advice.effective_sample_size:,.0f} independent ones" in text
    assert "The sweet spot at size zero is a statement about excess risk" in text
    assert f"{advice.null_risk:.4g} at size zero and {advice.test_risk:.4g} here" in text
    row = found.curves_.set_index(["size", "head"]).loc[(advice.size, advice.head)]
    assert (advice.test_risk, advice.penalty) == (row["test"], row["penalty"])
    tuned = analysis("random", n_train=80, head="ridge").fit(SECOND).recommend()
    assert tuned.head == "ridge"
    assert str(tuned).splitlines()[0].endswith(f"with a ridge penalty of {tuned.penalty:.3g}.")
    assert set(asdict(advice)) >= {"size", "order", "width", "ridge_penalty"}


def test_noise_needs_no_features() -> None:
    advice = analysis().fit(np.random.default_rng(1).normal(size=800)).recommend()
    assert (advice.size, advice.head, advice.requested_head) == (0, "mean", "ridgeless")
    assert str(advice).startswith(
        "Use no lags, but the mean: no size without a penalty beats it by more than chance may give"
    )
    assert "sweet spot at size zero" in str(advice)
    assert "better than the mean" not in str(advice)
    # The least there is: without an order ARNet would take its default.
    assert (advice.order, advice.state_size) == (1, 1)
    assert tsar.ARNet(advice.order).fit(SECOND).order_ == 1
    width = analysis("random").fit(np.random.default_rng(1).normal(size=800)).recommend().width
    assert tsar.AutoTimes(hidden=width).hidden == 0
    ridge = analysis(head="ridge").fit(np.random.default_rng(1).normal(size=800)).recommend()
    assert str(ridge).startswith("Use no lags, but the mean: no size beats it by more than chance")


def test_sizes_in_the_zone_alone_leave_the_mean_and_the_ridge() -> None:
    advice = analysis("random", sizes=(60, 100, 150), n_train=100).fit(SECOND).recommend()
    assert (advice.size, advice.n_sizes) == (0, 0)
    assert str(advice).startswith(
        "Use no features, but the mean: every size that was measured lies between 50 and 200,"
    )
    assert "Better still, tune a ridge (head='ridge')" in str(advice)
    assert advice.ridge_test_risk < 0.8 * advice.null_risk
    assert "least risk on the validation rows" not in str(advice)


def test_a_ridge_that_is_much_better_is_told_beside_the_mean() -> None:
    """Many weak features, which only a penalty can use."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(900, 90))
    y = features @ generator.normal(size=90) / 6 + 2 * generator.normal(size=900)
    advice = analysis(features, sizes=(40,), n_train=80).fit(y, y).recommend()
    assert advice.size == 0 and advice.ridge_validation_risk < advice.validation_risk
    assert "Better still, tune a ridge (head='ridge')" in str(advice)


def advice(**change: Any) -> Advice:
    known = analysis("lags", sizes=(1, 2, 4)).fit(SECOND).recommend()
    return replace(known, **change)


def test_advice_does_not_contradict_itself() -> None:
    same = advice(validation=0.47991, ridge_validation=0.47989, n_rows=00, largest=1000, size=46)
    assert "Better still" not in str(same)
    assert "at most n/5" not in str(same)
    assert "With a tuned ridge" in str(same)
    assert "at most n/5 = 40" in str(replace(same, size=30))
    assert "Better still" in str(replace(same, ridge_validation=0.47))


# --- pictures ---------------------------------------------------------------------------------


def test_the_picture_shows_the_curves() -> None:
    found = analysis("random", n_train=60).fit(SECOND)
    total, excess = found.plot().axes
    lines = {line.get_label(): line for line in total.lines}
    curve = found.curves_[found.curves_["head"] == "ridgeless"]
    np.testing.assert_array_equal(lines["test, no penalty"].get_ydata(), curve["test"])
    np.testing.assert_array_equal(lines["test, no penalty"].get_xdata(), curve["size"])
    assert lines["the mean alone"].get_ydata()[0] == found.summary_["null_risk"]
    assert f"recommended: {found.recommend().size}" in lines
    assert total.get_xscale() == total.get_yscale() == "log"
    assert {60} <= {line.get_xdata()[0] for line in total.lines if len(line.get_xdata()) == 2}
    parts = {line.get_label(): line for line in excess.lines}
    np.testing.assert_array_equal(parts["excess"].get_ydata(), curve["excess"])
    assert {"variance", "theory"} <= set(parts)
    found.plot().canvas.draw()


def test_the_picture_is_that_of_the_head_that_was_asked_for() -> None:
    found = analysis("random", n_train=60, head="ridge").fit(SECOND)
    total, excess = found.plot().axes
    curve = found.curves_[found.curves_["head"] == "ridge"]
    lines = {line.get_label(): line for line in excess.lines}
    np.testing.assert_array_equal(lines["excess"].get_ydata(), curve["excess"])
    assert {"bias", "variance", "theory"} <= set(lines)
    assert "tuned ridge" in excess.get_ylabel()
    labels = [line.get_label() for line in total.lines]
    assert {"test, no penalty", "test, tuned ridge", "train, tuned ridge"} <= set(labels)


@pytest.mark.parametrize("head", ("ridgeless", "ridge"))
def test_no_line_leaves_the_picture_at_the_bottom(head: Any) -> None:
    for axes in analysis("random", n_train=60, head=head).fit(SECOND).plot().axes:
        low = axes.get_ylim()[0]
        for line in axes.lines:
            if line.get_transform() == axes.transData and len(line.get_xdata()) > 2:
                assert np.nanmin(line.get_ydata()) >= low, line.get_label()


def test_a_logistic_head_has_one_panel() -> None:
    found = analysis(Lags(3), sizes=(1, 3), head="logistic").fit(SECOND, SECOND > 0)
    (axes,) = found.plot().axes
    labels = [line.get_label() for line in axes.lines]
    assert {"test, logistic", "train, logistic"} <= set(labels)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("options", "message"),
    (
        ({"representation": "wings"}, "representation must be one of .*; got 'wings'"),
        ({"head": "tail"}, "ComplexityAnalysis.head must be one of"),
        ({"task": "sleep"}, "ComplexityAnalysis.task must be one of"),
        ({"horizon": 0}, "ComplexityAnalysis.horizon must be an integer"),
        ({"n_bootstrap": 1}, "ComplexityAnalysis.n_bootstrap must be"),
        ({"n_train": 3}, "n_train must be an integer of at least 10; got 3"),
        ({"test": 0.0}, "ComplexityAnalysis.test must be a fraction above 0"),
        ({"validation": 0.6, "test": 0.5}, "validation and test must leave a share to train on"),
        ({"sizes": ()}, "sizes must be integers of at least 1"),
        ({"sizes": (0, 3)}, "sizes must be integers of at least 1"),
        ({"sizes": (2, 99)}, "sizes must be at most 45, all that the representation has; got 99"),
        ({"head": "logistic"}, "head must be 'ridgeless' or 'ridge' without labels"),
        ({"representation": np.zeros((3, 2))}, r"a row for each of the 600 points .* \(3, 2\)"),
    ),
)
def test_options_that_can_not_be(options: dict[str, Any], message: str) -> None:
    given = {"representation": Lags(45)} | options
    with pytest.raises(ValueError, match=message):
        analysis(**given).fit(SECOND)


@pytest.mark.wrong_types
def test_other_things_are_no_representation() -> None:
    with pytest.raises(TypeError, match=r"representation must be one of .*; got 7"):
        analysis(7).fit(SECOND)


def test_sizes_beyond_memory_are_refused_in_bytes() -> None:
    with pytest.raises(ValueError, match=r"1,000,000,000 features of .* rows, which take [\d,]+ b"):
        analysis("random", sizes=(10, 10**9)).fit(SECOND)
    check_memory(100, 100)


def test_a_container_has_the_memory_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [tmp_path / name for name in ("memory.max", "not there", "limit_in_bytes")]
    monkeypatch.setattr("tsar.complexity.design.CGROUP_LIMITS", limits)
    limits[0].write_text("max\n")
    check_memory(1000, 100)
    limits[2].write_text("4000000\n")
    with pytest.raises(ValueError, match="which take 3,200,000 bytes where 2,000,000 may be used"):
        check_memory(1000, 100)


def test_series_that_say_nothing_are_refused_where_all_are() -> None:
    with pytest.raises(ValueError, match=r"a series that varies.* got constant for"):
        analysis().fit(np.ones(100))
    with pytest.raises(ValueError, match="got 0 observed training points for series 'a'"):
        analysis().fit(long({"a": np.r_[np.full(40, np.nan), SECOND[:10]]}))
    with pytest.raises(ValueError, match="got only NaN for series 'b'"):
        analysis().fit(long({"a": SECOND, "b": np.full(600, np.nan)}))
    with pytest.raises(
        ValueError, match="at least 10 training rows, 2 of validation and 2 of test"
    ):
        analysis(sizes=(1,), horizon=5).fit(SECOND[:24])


def test_missing_points_are_left_out() -> None:
    holed = SECOND.copy()
    holed[100:110] = np.nan
    whole, found = (analysis(Lags(4), n_train=None).fit(y) for y in (SECOND, holed))
    # Ten points lack, and with them ten windows, three that reach into them, and one response.
    assert whole.summary_["n_train"] - found.summary_["n_train"] == 10 + 3 + 1
    assert found.curves_["test"].notna().all()


def test_labels_must_be_known_from_the_training_rows() -> None:
    labels = np.where(SECOND > 0, "up", "down").astype(object)
    labels[-5:] = "late"
    with pytest.raises(ValueError, match="every label among the training rows; got 'late' only in"):
        analysis().fit(SECOND, labels)
    with pytest.raises(
        ValueError, match=r"at least two labels among the training rows; got \['up'"
    ):
        analysis().fit(SECOND, np.full(600, "up"))
    with pytest.raises(ValueError, match="a value for each of the 600 points of the frame; got 5"):
        analysis().fit(SECOND, labels[:5])
    labels[-5:] = None  # without a label a point does not count
    assert analysis(sizes=(1,)).fit(SECOND, labels).summary_["n_test"] == 115


def test_labels_that_can_not_be_read_say_so() -> None:
    with pytest.raises(ValueError, match="got 600 different integers, which are read as labe"):
        analysis().fit(SECOND, np.arange(600))
    with pytest.raises(ValueError, match="at most 100 different labels; got 600 different labels"):
        analysis().fit(SECOND, np.arange(600).astype(str))
    mixed = np.where(SECOND > 0, 1, 0).astype(object)
    mixed[3] = "up"
    with pytest.raises(ValueError, match="labels of one kind, to be sorted; got int and str"):
        analysis().fit(SECOND, mixed)
    with pytest.raises(ValueError, match="floats of y are read as real numbers: give labels as in"):
        analysis(head="logistic").fit(SECOND, (SECOND > 0).astype(float))


def test_labels_of_a_polars_frame() -> None:
    polars = pytest.importorskip("polars")
    frame, labels = long({"a": SECOND}).iloc[::-1], SECOND[::-1] > 0
    found = analysis(sizes=(1, 2)).fit(polars.from_pandas(frame), polars.Series(labels))
    expected = analysis(sizes=(1, 2)).fit(frame, labels)
    pd.testing.assert_frame_equal(found.curves_, expected.curves_)


def test_a_frame_that_may_not_be_written_is_a_representation() -> None:
    features = np.stack([SECOND, SECOND**2], axis=1)
    features.flags.writeable = False
    found = analysis(pd.DataFrame(features, copy=False), sizes=(1, 2)).fit(SECOND)
    assert found.curves_["test"].notna().all()


def test_networks_with_covariates_are_refused() -> None:
    model = tsar.SpaceTime(24, joint=True)
    with pytest.raises(ValueError, match="without covariates and with joint=False; got"):
        HiddenStates(model)


def test_before_fit_there_is_nothing_to_say() -> None:
    for ask in (ComplexityAnalysis.recommend, ComplexityAnalysis.plot):
        with pytest.raises(NotFittedError):
            ask(analysis())


def test_sizes_are_few_and_close_around_the_rows() -> None:
    sizes = default_sizes(500, None)
    assert sizes[0] == 1 and sizes[-1] == 2500 and len(sizes) < 35
    assert {250, 475, 500, 525, 1000} <= set(sizes)
    assert default_sizes(500, 1) == [1]


def test_rows_of_an_array_are_those_of_the_frame_in_any_order() -> None:
    series = np.asarray(SECOND)
    features = np.stack([series, np.concatenate([[0.0], series[:-1]])], axis=1)
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(len(series)), "y": series})
    order = np.random.default_rng(0).permutation(len(series))
    plain = analysis(features, sizes=[1, 2]).fit(frame).curves_["test"]
    shuffled = analysis(features[order], sizes=[1, 2]).fit(frame.iloc[order]).curves_["test"]
    np.testing.assert_allclose(shuffled, plain)
    array = analysis(features, sizes=[1, 2]).fit(series).curves_["test"]
    np.testing.assert_allclose(array, plain)


def test_no_series_is_told_a_size_in_the_zone_to_avoid() -> None:
    series = np.random.default_rng(0).normal(size=1500)
    for point in range(70, 1500):
        series[point] = 0.95 * series[point - 70] + 0.2 * series[point]
    found = analysis("lags", sizes=[1, 70], n_train=100).fit(series)
    assert found.recommend().size in (0, 1)
    assert set(found.per_series_["size"]) <= {0, 1}


def test_all_rows_and_sizes_of_its_own_fit_in_memory() -> None:
    walk = np.random.default_rng(0).normal(size=4000).cumsum()
    found = analysis("lags", n_train=None).fit(walk)
    assert found.curves_["size"].max() <= 3000
    assert default_sizes(10_000, None)[-1] <= 3000


def test_a_horizon_beyond_the_series_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="frame must give at least 10 training rows"):
        analysis("random", horizon=890).fit(np.arange(900.0))


def test_a_network_must_be_fitted() -> None:
    with pytest.raises(NotFittedError):
        analysis(tsar.SpaceTime()).fit(SECOND)


def test_the_largest_size_measured_is_called_that() -> None:
    season = 10 * np.sin(np.arange(600) * 2 * np.pi / 12)
    season[::12] += 10
    noisy = season + np.random.default_rng(0).normal(size=600)
    advice = analysis(Lags(9)).fit(noisy).recommend()
    assert advice.size == advice.max_size == 9
    assert "the largest that was measured: more may be better" in str(advice)
