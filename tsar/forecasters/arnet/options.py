"""Validation and defaults of ARNet's parameters."""

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, TypedDict

import torch
from jaxtyping import Int
from torch import Tensor

from tsar.autoregression import Design, Segments, Sparsity
from tsar.data.panel import Frequency
from tsar.validation import check_integer

MIN_ORDER, MAX_ORDER = 24, 800  # bounds of the default order
INTEGER_ORDER = 200  # default order where times are integers, which have no known season
INTEGER_MIN_POINTS = 500  # length of series from which on `INTEGER_ORDER` applies


class Penalties(TypedDict):
    """Penalties of the coefficients."""

    sparsity: Sparsity
    ridge: float | int


def check_options(model: Any, past: Sequence[str]) -> None:
    """Check each parameter of an `ARNet` with some past covariates, and their combinations."""
    check_integer("inference_batch_size", model.inference_batch_size)
    _check_one_of("strategy", model.strategy, ("recursive", "direct"))
    _check_one_of("scope", model.scope, ("local", "global"))
    _check_one_of("loss", model.loss, ("mse", "huber", "quantile"))
    _check_hidden(model.hidden)
    _check_penalties(model.sparsity, model.ridge)
    if model.loss == "quantile":
        _check_quantile_levels(model.quantile_levels)
    _check_one_of("pool", model.pool, (True, False))
    _check_one_of("combine", model.combine, ("auto", None))
    _check_one_of("bias_correction", model.bias_correction, ("auto", True, False))
    squares = model.loss == "mse" and not model.trains
    if model.bias_correction not in ("auto", False) and not (
        squares and model.strategy == "recursive"
    ):
        raise ValueError(
            "bias_correction must be 'auto' or False unless strategy='recursive', loss='mse' and "
            "hidden=(), where one equation in closed form is the whole model; got True. Leave it "
            "out."
        )
    if model.strategy == "recursive":
        _check_recursion(model.horizon, model.loss, past)


def corrects_bias(model: Any) -> bool:
    """Whether to correct bias: only of one equation that least squares fits."""
    option = model.bias_correction
    wanted = model.sparsity == "auto" if option == "auto" else bool(option)
    return wanted and model.strategy == "recursive" and model.loss == "mse" and not model.trains


def combines(model: Any, covariates: Sequence[str]) -> bool:
    """Whether to combine a recursive equation with others."""
    recursive = model.strategy == "recursive" and model.scope == "local"
    return recursive and _is_plain(model) and not covariates


def averages_maps(model: Any, covariates: Sequence[str]) -> bool:
    """Whether direct forecasts are means of ridge regressions on several contexts."""
    return model.strategy == "direct" and _is_plain(model) and not covariates


def _is_plain(model: Any) -> bool:
    """Whether nothing about the equation is given, so that it may be combined with others."""
    plain = model.order is None and model.sparsity == "auto" and model.bias_correction == "auto"
    squares = model.loss == "mse" and not model.trains
    return plain and squares and model.combine == "auto"


def _check_recursion(horizon: int, loss: str, past: Sequence[str]) -> None:
    """Check that one equation can be fed its own forecasts up to the horizon."""
    if horizon > 1 and past:
        raise ValueError(
            "strategy must be 'direct' with past covariates and more than one step, because their "
            f"future is unknown; got 'recursive' with horizon {horizon}. Set it."
        )
    if horizon > 1 and loss == "quantile":
        raise ValueError(
            "strategy must be 'direct' with loss='quantile' and more than one step; got "
            f"'recursive' with horizon {horizon}. Set it."
        )


def choose_orders(
    order: int | None, frequency: Frequency, n_targets: Int[Tensor, " series"], scope: str
) -> Int[Tensor, " group"]:
    """Order of each group: the given one, or `default_order` limited to a third of its points.

    That of one equation for all series is the median of theirs, so that no short one decides.
    """
    if order is not None:
        n_groups = len(n_targets) if scope == "local" else 1
        return torch.full((n_groups,), check_integer("order", order))
    default = [default_order(frequency, points) for points in n_targets.tolist()]
    orders = torch.minimum(n_targets.new_tensor(default), n_targets // 3).clamp(min=1)
    return orders if scope == "local" else orders.median()[None]


def default_order(frequency: Frequency, points: int) -> int:
    """One season and one lag, between `MIN_ORDER` and `MAX_ORDER`.

    Hourly and finer data: a week and a day, or two days where that exceeds `MAX_ORDER`, which
    bounds the time of a fit. Months and quarters: a year and one. Integers have no known season: in
    long series it is searched for among `INTEGER_ORDER` lags.
    """
    two_seasons = 2 * frequency.season_length
    if frequency.kind == "integer":
        return INTEGER_ORDER if points >= INTEGER_MIN_POINTS else MIN_ORDER
    if frequency.week_length:
        week_and_day = frequency.week_length + frequency.season_length
        order = week_and_day if week_and_day <= MAX_ORDER else min(two_seasons, MAX_ORDER)
        return max(order, MIN_ORDER)
    if frequency.kind == "month" and two_seasons > 2:
        return frequency.season_length + 1
    return min(max(frequency.season_length + 1, MIN_ORDER), MAX_ORDER)


def check_windows(
    segments: Segments,
    design: Design,
    orders: Int[Tensor, " group"],
    ids: Sequence[object],
    holds_back: bool,
    *,
    sparsity: Sparsity,
    ridge: float | int,
) -> None:
    """Check that every group has enough complete windows for its coefficients.

    `ids` are those of the series of the groups, empty where all series are one group.
    """
    n_windows = count_windows(segments, orders + design.horizon - 1)
    # AR-Net's penalty is in units of the noise, which needs residual degrees of freedom.
    penalized = ridge > 0 or sparsity == "auto"
    n_coef = orders * (1 + design.n_past) + design.n_future
    required = torch.full_like(n_coef, 2) if penalized else n_coef + 2
    short = (n_windows < required).nonzero()[:, 0]
    if not len(short):
        return
    row = int(short[0])
    order, needed = int(orders[row]), int(required[row])
    max_lag = order + design.horizon - 1
    remedies = ["scope='global'"] if ids else []
    remedies += [] if penalized else ["sparsity='auto'", "sparsity=None and a ridge"]
    remedies += ["a smaller Training(validation=...)"] if holds_back else []
    first = "Lower order" if order > 1 else "Give more points"
    first += ", drop the series" if ids and order == 1 else ""
    raise ValueError(
        f"series must have at least {needed + max_lag} points without a gap ({needed + max_lag} "
        f"samples; one gives 1 sample of {max_lag + 1} points, {needed} are needed) for "
        f"order={order}; got {int(n_windows[row])} complete windows for "
        f"{f'series {ids[row]!r}' if ids else 'all series'}. "
        f"{first}{', or set ' if remedies else ''}{' or '.join(remedies)}."
    )


def count_windows(
    segments: Segments, max_lag: int | Int[Tensor, " group"]
) -> Int[Tensor, " group"]:
    """Number of complete windows in each group, whose largest lags may differ."""
    if isinstance(max_lag, Tensor):
        max_lag = max_lag.to(segments.group.device)[segments.group]
    windows = (segments.lengths - max_lag).clamp(min=0)
    total = torch.zeros(segments.n_groups, dtype=torch.int64, device=windows.device)
    return total.index_add(0, segments.group, windows).cpu()


def _check_one_of(name: str, value: object, options: tuple[object, ...]) -> None:
    if value not in options:
        raise ValueError(f"{name} must be one of {list(options)}; got {value!r}. Choose one.")


def _check_hidden(hidden: object) -> None:
    if isinstance(hidden, (str, bytes)) or not isinstance(hidden, Sequence):
        raise TypeError(
            f"hidden must be the widths of layers, such as (32,); got {hidden!r}. Give a tuple."
        )
    for width in hidden:
        check_integer("hidden", width)


def _check_quantile_levels(levels: object) -> None:
    numbers = list(levels) if isinstance(levels, Iterable) else []
    inside = all(isinstance(level, Real) and 0 < float(level) < 1 for level in numbers)
    if not inside or 0.5 not in numbers:
        raise ValueError(
            f"quantile_levels must lie in (0, 1), 0.5 among them; got {levels!r}. Add it."
        )


def _check_penalties(sparsity: object, ridge: object) -> None:
    number = isinstance(sparsity, Real) and not isinstance(sparsity, bool)
    share = number and 0 < float(sparsity) <= 1  # type: ignore[arg-type]
    if not (sparsity is None or (isinstance(sparsity, str) and sparsity == "auto") or share):
        raise ValueError(
            f"sparsity must be None, 'auto' or a share in (0, 1]; got {sparsity!r}. Choose one."
        )
    if not isinstance(ridge, Real) or not 0 <= float(ridge) < float("inf"):
        raise ValueError(f"ridge must be at least 0 and finite; got {ridge!r}. Use 0 for none.")
    if ridge and sparsity is not None:
        raise ValueError(
            f"ridge must be 0 with a sparsity; got {ridge!r} and {sparsity!r}. Set sparsity=None."
        )
