"""In-context prompts: each strategy on small series, and the search against a loop."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tsar.data.panel import Columns, Panel
from tsar.data.segments import rolling_std
from tsar.forecasters.autotimes import neighbors
from tsar.forecasters.autotimes.prompts import Prompts, Strategy, find_prompts, prepend_prompts

NAN = math.nan
STRATEGIES: tuple[Strategy, ...] = ("first", "last", "phase", "nearest", "auto")


def hourly(series: dict[str, list[float]], starts: dict[str, int] | None = None) -> Panel:
    """Panel of series at hours, the season 24; `starts` are hours since 2024 began."""
    starts = starts or {}
    frames = []
    for name, values in series.items():
        begin = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=starts.get(name, 0))
        times = pd.date_range(begin, periods=len(values), freq="h")
        frames.append(pd.DataFrame({"unique_id": name, "ds": times, "y": values}))
    return Panel.from_frame(pd.concat(frames), Columns(freq="h"))


def counting(lengths: dict[str, int]) -> Panel:
    """Series whose values are all different: 1000 times the row, plus the position."""
    rows = {
        name: [1000.0 * row + k for k in range(length)]
        for row, (name, length) in enumerate(lengths.items())
    }
    return hourly(rows)


def arrays(*series: list[float]) -> Panel:
    return Panel.from_tensor(torch.tensor(series, dtype=torch.float64))


def rows_of(panel: Panel) -> list[np.ndarray]:
    return [part.numpy() for part in panel.values.split(panel.lengths.tolist())]


def prompts_of(panel: Panel, pool: Panel, context: int, length: int, strategy: Strategy) -> Prompts:
    return find_prompts(
        panel, pool, context_length=context, prompt_length=length, strategy=strategy
    )


# --- prompts from the same series -------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "firsts"),
    (
        ("first", (0, 0)),
        ("last", (200 - 30 - 20, 100 - 30 - 20)),
        ("phase", (200 - 48 - 20, 100 - 48 - 20)),
        ("auto", (200 - 48 - 20, 100 - 48 - 20)),
    ),
)
def test_strategies_select_their_points(strategy: Strategy, firsts: tuple[int, int]) -> None:
    panel = counting({"a": 200, "b": 100})
    prompts = prompts_of(panel, panel, 30, 20, strategy)
    assert prompts.series.tolist() == [0, 1]
    assert prompts.first.tolist() == list(firsts)
    expected = [[1000.0 * row + first + k for k in range(20)] for row, first in enumerate(firsts)]
    assert prompts.values.tolist() == expected


@pytest.mark.parametrize("context", (1, 5, 23, 24, 25, 48, 61))
@pytest.mark.parametrize("length", (2, 24, 31))
def test_phase_prompt_is_the_newest_that_ends_in_the_phase_of_the_context(
    context: int, length: int
) -> None:
    panel = counting({"a": 211, "b": 150})
    prompts = prompts_of(panel, panel, context, length, "phase")
    ends = prompts.first + length
    assert ((panel.lengths - ends) % 24 == 0).all()
    assert (ends <= panel.lengths - context).all()
    assert (ends + 24 > panel.lengths - context).all()  # the newest such end


def test_without_a_season_phase_equals_last() -> None:
    panel = arrays([float(k) for k in range(20)])
    phase, last = (prompts_of(panel, panel, 5, 4, name) for name in ("phase", "last"))
    assert phase.first.tolist() == last.first.tolist() == [11]


def test_auto_falls_back_from_phase_to_last_to_none() -> None:
    panel = counting({"a phase": 68, "b last": 67, "c just": 50, "d short": 49, "e one": 1})
    prompts = prompts_of(panel, panel, 30, 20, "auto")
    assert prompts.first.tolist() == [0, 17, 0, -1, -1]
    assert prompts.series.tolist() == [0, 1, 2, -1, -1]
    assert prompts.values.isnan().any(dim=1).tolist() == [False, False, False, True, True]
    assert prompts.values[3:].isnan().all()


def test_first_prompt_begins_at_the_first_observed_point() -> None:
    values = [NAN] * 10 + [float(k) for k in range(10, 60)]
    values[15] = NAN
    panel = hourly({"a": values, "b": [0.0, 1.0] * 30})
    prompts = prompts_of(panel, panel, 20, 8, "first")
    assert prompts.first.tolist() == [10, 0]
    np.testing.assert_array_equal(prompts.values[0], values[10:18])  # a gap within stays
    assert prompts_of(panel, panel, 20, 30, "auto").first.tolist() == [10, 60 - 24 - 30]
    assert prompts_of(panel, panel, 20, 31, "auto").first.tolist() == [-1, 60 - 24 - 31]


def test_pool_and_panel_are_aligned_by_time() -> None:
    full = counting({"a": 200, "b": 150})
    for strategy in ("first", "last", "phase", "auto"):
        expected = prompts_of(full, full, 30, 20, strategy)
        for left_out, n_last in ((30, 30), (10, 30), (20, 90), (0, 50)):  # adjacent or overlapping
            near = prompts_of(full.tail(n_last), full.without_last(left_out), 30, 20, strategy)
            assert torch.equal(near.first, expected.first)
            assert torch.equal(near.values, expected.values)


def test_gap_between_pool_and_panel() -> None:
    full = counting({"a": 200, "b": 150})
    older, newer = full.without_last(77), full.tail(30)
    assert prompts_of(newer, older, 30, 20, "last").first.tolist() == [123 - 20, 73 - 20]
    assert prompts_of(newer, older, 30, 20, "phase").first.tolist() == [
        200 - 96 - 20,
        150 - 96 - 20,
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_prompts_end_before_the_context(strategy: Strategy) -> None:
    generator = np.random.default_rng(0)
    full = hourly({name: generator.normal(size=200).tolist() for name in "abc"})
    past = full.without_last(50)  # the pool holds later points
    prompts = prompts_of(past, full, 30, 20, strategy)
    assert (prompts.first[prompts.series == torch.arange(3)] + 20 <= 150 - 30).all()
    if strategy != "nearest":
        assert torch.equal(prompts.values, prompts_of(past, past, 30, 20, strategy).values)


def test_pool_of_arrays_precedes_the_panel() -> None:
    pool, panel = arrays([float(k) for k in range(30)]), arrays([float(k) for k in range(30, 40)])
    assert prompts_of(panel, pool, 10, 4, "last").first.tolist() == [26]
    assert prompts_of(panel, pool, 10, 4, "first").first.tolist() == [0]


def test_pool_may_be_the_panel_in_other_units() -> None:
    panel = arrays([float(k) for k in range(30)])
    scaled = replace(panel, values=panel.values / 2)
    assert prompts_of(panel, scaled, 10, 4, "last").first.tolist() == [16]


# --- nearest neighbours -----------------------------------------------------------------------


def normalized(values: np.ndarray) -> np.ndarray:
    centred = values - values[0]
    deviation = centred.std()
    return (centred - centred.mean()) / (deviation if deviation > 1e-12 else 1.0)


def last_points(context: np.ndarray, span: int) -> np.ndarray:
    """Last points of a context with its gaps filled, 0 where nothing is observed."""
    filled = pd.Series(context).ffill().bfill().fillna(0.0).to_numpy()[-span:]
    return np.pad(filled, (span - len(filled), 0), mode="edge")


def distances(
    context: np.ndarray, series: list[np.ndarray], length: int, span: int
) -> dict[tuple[int, int], float]:
    """Distance of every subsequence without gaps, by a loop."""
    query = normalized(last_points(context, span))
    return {
        (row, k): float(np.linalg.norm(normalized(values[k : k + span]) - query))
        for row, values in enumerate(series)
        for k in range(len(values) - length + 1)
        if not np.isnan(values[k : k + length]).any()
    }


def check_nearest(panel: Panel, pool: Panel, context: int, length: int) -> Prompts:
    prompts, span = prompts_of(panel, pool, context, length, "nearest"), min(context, length // 2)
    pool_series = rows_of(pool)
    own = pool.labels.ids.get_indexer(panel.labels.ids)
    for row, values in enumerate(rows_of(panel)):
        every = distances(values[-context:], pool_series, length, span)
        limit = len(values) - context if pool is panel else math.inf
        allowed = {k: d for k, d in every.items() if k[0] != own[row] or k[1] + length <= limit}
        chosen = (int(prompts.series[row]), int(prompts.first[row]))
        assert chosen in allowed
        assert allowed[chosen] ** 2 <= min(allowed.values()) ** 2 + 1e-8 * span
        check_units(
            prompts.values[row].numpy(), pool_series, chosen, own[row], values[-context:], span
        )
    return prompts


def check_units(
    values: np.ndarray,
    pool_series: list[np.ndarray],
    chosen: tuple[int, int],
    own: int,
    context: np.ndarray,
    span: int,
) -> None:
    expected = pool_series[chosen[0]][chosen[1] : chosen[1] + len(values)]
    if chosen[0] == own:
        np.testing.assert_array_equal(values, expected)
        return
    query = last_points(context, span)
    compared = expected[:span]
    std = [x.std() if np.ptp(x) > 0 else 1.0 for x in (compared, query)]
    expected = (expected - compared.mean()) / std[0] * std[1] + query.mean()
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


def walks(seed: int, lengths: tuple[int, ...], missing: float = 0.0) -> dict[str, list[float]]:
    generator = np.random.default_rng(seed)
    series = {}
    for row, length in enumerate(lengths):
        values = generator.normal(size=length).cumsum() * 10.0 ** (row - 2) + 100.0 * row
        values[generator.random(length) < missing] = NAN
        values[generator.integers(length)] = 1.0
        series["sdkeb"[row]] = values.tolist()
    return series


@pytest.mark.parametrize(
    ("context", "length"), ((5, 8), (30, 20), (3, 40), (60, 41), (1, 2), (4, 2))
)
@pytest.mark.parametrize("missing", (0.0, 0.03))
def test_nearest_matches_a_loop_over_subsequences(
    context: int, length: int, missing: float
) -> None:
    panel = hourly(walks(length, (150, 70, 300, 99), missing))
    check_nearest(panel, panel, context, length)


def test_nearest_in_another_pool_matches_a_loop() -> None:
    pool = hourly(walks(0, (200, 30, 300, 12)))
    panel = hourly(walks(1, (40, 25)), {"s": 500, "d": 900})
    check_nearest(panel, pool, 20, 24)
    others = hourly({"x": walks(2, (40,))["s"], "y": [1.0, NAN, 5.0]})
    check_nearest(others, pool, 20, 24)


def test_nearest_does_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = hourly(walks(5, (400, 300, 500, 250, 330), 0.01))
    expected = check_nearest(panel, panel, 20, 30)
    monkeypatch.setattr(neighbors, "MIN_BLOCK", 150)
    for elements in (1, 150, 500):
        monkeypatch.setattr(neighbors, "CACHE_ELEMENTS", elements)
        chunked = prompts_of(panel, panel, 20, 30, "nearest")
        assert torch.equal(chunked.series, expected.series)
        assert torch.equal(chunked.first, expected.first)


def test_scaled_copy_is_found_and_rescaled() -> None:
    generator = np.random.default_rng(3)
    shape, tail = generator.normal(size=10), generator.normal(size=6)
    noise = generator.normal(size=50)
    other = np.concatenate([noise, 1e6 + 1e3 * shape, 1e6 + 1e3 * tail, noise])
    panel = hourly({"a": [*noise, *shape], "b": other.tolist()})
    prompts = prompts_of(
        panel, panel, 12, 16, "nearest"
    )  # the last 8 points of the shape, and what followed
    assert (prompts.series[0], prompts.first[0]) == (1, 52)
    np.testing.assert_allclose(prompts.values[0], [*shape[2:], *tail, *noise[:2] / 1e3 - 1e3])


@pytest.mark.parametrize("level", (0.1, 1e6 / 3, -1e9))
def test_nearest_with_constant_contexts_and_subsequences(level: float) -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=60).tolist()
    flat = [level] * 40
    panel = hourly({"a": noise + flat + noise, "b": noise[::-1] + [level] * 20})
    prompts = check_nearest(panel, panel, 12, 16)
    assert (prompts.series[1], prompts.values[1, :8].std()) == (0, 0.0)
    assert prompts.values[1, 0] == pytest.approx(level)
    check_nearest(hourly({"c": [level] * 20}), panel, 12, 16)
    check_nearest(hourly({"c": [NAN] * 12 + [level] + [NAN] * 7}), panel, 12, 16)
    check_nearest(hourly({"c": [level] + [NAN] * 19}), panel, 12, 16)  # nothing in the context


def test_nearest_with_small_shapes_on_a_steep_slope() -> None:
    generator = np.random.default_rng(1)
    values = np.exp(np.linspace(-8, 8, 400)) + 1e-5 * generator.normal(size=400)
    panel = hourly({"a": values.tolist(), "b": values[::-1].tolist()})
    for context in (8, 30):
        check_nearest(panel, panel, context, 24)


def test_ties_prefer_the_same_series_then_the_newest() -> None:
    wave = [math.sin(math.pi * k / 6) for k in range(120)]
    panel = hourly({"z": [5 + 2 * x for x in wave], "a": wave, "m": [-x for x in wave]})
    prompts = prompts_of(panel, panel, 24, 24, "nearest")
    assert prompts.series.tolist() == [0, 1, 2]
    # 120 - 24 points precede the context; the prompt ends there, whole periods before its end.
    assert prompts.first.tolist() == [72, 72, 72]


@pytest.mark.parametrize(("context", "length"), ((18, 36), (24, 24), (24, 48), (30, 36), (17, 36)))
def test_season_continues_from_nearest_prompt_to_context(context: int, length: int) -> None:
    months = pd.date_range("2000-01-01", periods=160, freq="MS")
    wave = np.sin(2 * np.pi * np.arange(160) / 12) + 0.3 * np.cos(np.pi * np.arange(160) / 3)
    panel = Panel.from_frame(pd.DataFrame({"a": wave, "b": 100 + 30 * np.roll(wave, 5)}, months))
    nearest = prompts_of(panel, panel, context, length, "nearest")
    for row in rows_of(prepend_prompts(panel, nearest, context)):
        np.testing.assert_allclose(row[12:], row[:-12], atol=1e-9)


def test_nearest_with_gaps_in_the_context() -> None:
    values = walks(7, (300,))["s"]
    pool = hourly({"p": values})
    context = [NAN, NAN, *values[100:104], NAN, *values[105:110], NAN]
    check_nearest(hourly({"q": context}), pool, 13, 26)
    check_nearest(hourly({"q": context[3:]}), pool, 13, 26)  # shorter than a context


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_prompts_do_not_depend_on_the_order_of_the_series(strategy: Strategy) -> None:
    lengths = (150, 120, 300, 99, 110)
    panel = hourly({**walks(11, lengths), "copy": walks(11, lengths)["s"]})
    order = np.array([4, 0, 5, 3, 1, 2])
    permuted = panel.select(order)
    one, other = (prompts_of(x, x, 30, 20, strategy) for x in (panel, permuted))
    assert torch.equal(torch.as_tensor(order)[other.series], one.series[order])
    assert torch.equal(other.first, one.first[order])
    torch.testing.assert_close(other.values, one.values[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("span", (1, 2, 3, 7, 16, 50))
def test_rolling_std_is_exact(span: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(200, generator=generator, dtype=torch.float64) * 1e-3 + 1e6
    values[60:130] = 0.1
    windows = rolling_std(values, span)
    expected = values.unfold(0, span, 1).std(dim=1, correction=0)
    torch.testing.assert_close(windows, expected, rtol=1e-6, atol=1e-9)
    assert (windows[60 : 130 - span + 1] == 0).all()
    assert len(rolling_std(values[: span - 1], span)) == 0


# --- the panel of prompts and contexts --------------------------------------------------------


def check_ends(panel: Panel, result: Panel) -> None:
    assert result.end_ordinals().tolist() == panel.end_ordinals().tolist()
    assert result.future_times(3).equals(panel.future_times(3))
    assert result.labels.ids.equals(panel.labels.ids)


def test_prepend_prompts() -> None:
    panel = counting({"a": 100, "b": 70, "short": 10})
    prompts = prompts_of(panel, panel, 30, 20, "auto")
    result = prepend_prompts(panel, prompts, 30)
    check_ends(panel, result)
    assert result.lengths.tolist() == [50, 50, 50]
    values = result.values.view(3, 50)
    np.testing.assert_array_equal(values[:, :20], prompts.values)
    assert values[:2, 20:].tolist() == [
        [70.0 + k for k in range(30)],
        [1040.0 + k for k in range(30)],
    ]
    assert values[2, :40].isnan().all()
    assert values[2, 40:].tolist() == [2000.0 + k for k in range(10)]


def test_prepend_prompts_keeps_month_ends() -> None:
    index = pd.date_range("2020-01-31", periods=40, freq="ME")
    panel = Panel.from_frame(pd.Series(np.arange(40.0), index=index))
    prompts = prompts_of(panel, panel, 6, 12, "phase")
    assert prompts.first.tolist() == [40 - 12 - 12]
    check_ends(panel, prepend_prompts(panel, prompts, 6))


def test_prompts_with_covariates_raise() -> None:
    panel = counting({"a": 100})
    prompts = prompts_of(panel, panel, 30, 20, "last")
    for name in ("past", "future"):
        with pytest.raises(ValueError, match=r"^prompts must be None with covariates"):
            prepend_prompts(replace(panel, **{name: panel.values[:, None]}), prompts, 30)


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "length", "points"),
    (("first", 21, 20), ("last", 21, 20), ("phase", 3, 2), ("nearest", 21, None)),
)
def test_too_short_series_raises(strategy: Strategy, length: int, points: int | None) -> None:
    panel = counting({"brief": 50, "long": 500} if points else {"brief": 50})
    got = rf"got {points} for" if points else "got none for"
    with pytest.raises(
        ValueError, match=rf"^prompts must find {length} points .*{got} series 'brief'"
    ):
        prompts_of(panel, panel, 30, length, strategy)


def test_pool_of_too_short_series_raises() -> None:
    panel = counting({"a": 20})
    with pytest.raises(ValueError, match="got none for series 'a'"):
        prompts_of(panel, counting({"x": 10, "y": 10}), 5, 12, "nearest")
    with pytest.raises(ValueError, match="got none for series 'a'"):
        prompts_of(panel, counting({"x": 10}), 5, 12, "nearest")


@pytest.mark.parametrize("strategy", ("first", "last", "phase"))
def test_series_missing_from_the_pool_raises(strategy: Strategy) -> None:
    panel, pool = counting({"a": 100, "new": 100}), counting({"a": 100})
    with pytest.raises(ValueError, match=r"^prompts must find each series in the pool.*'new'"):
        prompts_of(panel, pool, 30, 20, strategy)
    assert prompts_of(panel, pool, 30, 20, "auto").series.tolist() == [0, -1]


def test_pool_of_another_frequency_raises() -> None:
    days = pd.Series(np.arange(99.0), index=pd.date_range("2024-01-01", periods=99, freq="D"))
    with pytest.raises(ValueError, match=r"^prompts must have the frequency 'h'.*got 'D'"):
        prompts_of(counting({"a": 99}), Panel.from_frame(days), 5, 4, "nearest")


@pytest.mark.parametrize(
    ("context", "length", "message"),
    (
        (5, 1, "prompt_length must be an integer of at least 2; got 1"),
        (0, 4, "context_length must be an integer of at least 1; got 0"),
    ),
)
def test_invalid_lengths_raise(context: int, length: int, message: str) -> None:
    panel = counting({"a": 99})
    with pytest.raises(ValueError, match=message):
        prompts_of(panel, panel, context, length, "last")


@pytest.mark.wrong_types
def test_arguments_of_wrong_types_raise() -> None:
    panel = counting({"a": 99})
    with pytest.raises(ValueError, match=r"^prompts must be one of \['auto', .*got 'best'"):
        prompts_of(panel, panel, 5, 4, "best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^prompt_length must be an integer"):
        prompts_of(panel, panel, 5, 4.5, "last")  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gpu_matches_cpu(strategy: Strategy) -> None:
    panel = hourly(walks(5, (400, 300, 500, 250, 330), 0.01))

    def on(device: str) -> tuple[Tensor, ...]:
        moved = panel.to(device)
        prompts = prompts_of(moved, panel, 20, 30, strategy)
        assert prompts.values.device.type == device
        result = prepend_prompts(moved, prompts, 20)
        return prompts.series.cpu(), prompts.first.cpu(), result.values.cpu()

    for one, other in zip(on("cpu"), on("cuda"), strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


def test_prompts_keep_their_times() -> None:
    frame = pd.DataFrame({"unique_id": ["b"] * 9 + ["a"] * 7, "ds": [*range(9), *range(4, 11)]})
    frame["y"] = np.random.default_rng(0).normal(size=len(frame))
    panel = Panel.from_frame(frame)
    for strategy in ("first", "last", "nearest", "auto"):
        found = find_prompts(panel, panel, context_length=3, prompt_length=2, strategy=strategy)
        for row in range(len(panel)):
            source = int(found.series[row])
            name, begin = panel.labels.ids[source], int(found.start[row])
            expected = frame[(frame.unique_id == name) & (frame.ds >= begin)].y.to_numpy()[:2]
            if source == row:  # those of another series are in other units
                np.testing.assert_allclose(found.values[row], expected)
        joined = prepend_prompts(panel, found, 3)
        assert joined.time_shift is not None
        at, by = joined.time_shift
        assert (at - 2 - by == found.start).all()
        swapped = joined.select(np.array([1, 0]))
        assert swapped.time_shift is not None
        assert torch.equal(swapped.time_shift, joined.time_shift.flip(1))
        longer = joined.extend(joined.future.new_empty(2, 4, 0)).pad(3, 0).tail(8)
        assert torch.equal(longer.time_shift, joined.time_shift)
