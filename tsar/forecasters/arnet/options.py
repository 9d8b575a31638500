"""The options of ARNet: which values and which combinations make sense."""

from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TypedDict

import torch
from jaxtyping import Int
from torch import Tensor

from tsar.autoregression import Runs, Sparsity, Terms
from tsar.data.panel import Frequency
from tsar.data.panel.frequency import DAY
from tsar.validation import check_integer

# Parameters that `check_options` looks at.
CHECKED = (
    *("strategy", "scope", "loss", "hidden", "sparsity", "ridge", "quantile_levels"),
    "bias_correction",
)

# Contexts that are seen where points are missing: what a wrong guess at their start leaves is
# handed on from gap to gap three times at least, each time by a few coefficients alone.
BRIDGE = 4

LEAST, UNKNOWN, MOST = 24, 200, 800  # lags, where nobody says how many
MANY = 500  # points that it is not too much for to look back that far


class Penalties(TypedDict):
    """What keeps coefficients small, or away."""

    sparsity: Sparsity
    ridge: float | int


def check_options(
    *,
    strategy: object,
    scope: object,
    loss: object,
    hidden: object,
    sparsity: object,
    ridge: object,
    quantile_levels: object,
    bias_correction: object,
) -> None:
    """Check each option by itself, and those of the penalties together."""
    _one_of("strategy", strategy, ("recursive", "direct"))
    _one_of("scope", scope, ("local", "global"))
    _one_of("loss", loss, ("mse", "huber", "quantile"))
    _check_hidden(hidden)
    _check_sparsity(sparsity, ridge)
    if loss == "quantile":
        _check_levels(quantile_levels)
    _one_of("bias_correction", bias_correction, ("auto", True, False))
    if bias_correction not in ("auto", False) and (strategy == "direct" or loss != "mse" or hidden):
        raise ValueError(
            "bias_correction must be 'auto' or False but with strategy='recursive', loss='mse' and "
            "no hidden layer, where one equation in closed form is all; got True. Leave it out."
        )


def corrects(asked: object, sparsity: object, strategy: str, held: bool) -> bool:
    """Whether bias is corrected: of one equation in closed form, from which nothing is trained."""
    wanted = sparsity == "auto" if asked == "auto" else bool(asked)
    return wanted and strategy == "recursive" and not held


def check_recursion(horizon: int, loss: str, past: Sequence[str]) -> None:
    """Whether one equation can be fed its own forecasts up to the horizon."""
    if horizon > 1 and past:
        raise ValueError(
            f"strategy must be 'direct' with past covariates beyond one step, whose future "
            f"nobody knows; got 'recursive' with horizon {horizon}. Set it."
        )
    if horizon > 1 and loss == "quantile":
        raise ValueError(
            f"strategy must be 'direct' with loss='quantile' beyond one step; got 'recursive' "
            f"with horizon {horizon}. Set it."
        )


def choose_order(asked: int | None, frequency: Frequency, targets: Int[Tensor, " series"]) -> int:
    """The order asked for, or what `usual_order` says, as far as the shortest series allows."""
    if asked is not None:
        return check_integer("context_length", asked)
    shortest = int(targets.min())
    return max(1, min(usual_order(frequency, shortest), shortest // 3))


def usual_order(frequency: Frequency, points: int) -> int:
    """Two seasons; of hours and their parts a week and a day, where that is at most `MOST` points.

    At most `MOST` in any case, for a fit takes time; at least `LEAST`, but of months and quarters.
    Integers don't say what a season is: of many points it is looked for among `UNKNOWN` lags.
    """
    two = 2 * frequency.season_length
    if frequency.kind == "integer":
        return UNKNOWN if points >= MANY else LEAST
    if frequency.kind == "tick" and frequency.season_length * frequency.step == DAY:
        week = 4 * two
        return max(week if week <= MOST else min(two, MOST), LEAST)
    if frequency.kind == "month" and two > 2:
        return two
    return min(max(two, LEAST), MOST)


def plain_sparsity(sparsity: object) -> Sparsity:
    """The sparsity as the closed form takes it: a share of 1 leaves nothing out."""
    if sparsity is None or sparsity == 1:
        return None
    return "auto" if sparsity == "auto" else float(sparsity)  # type: ignore[arg-type]


def check_windows(
    runs: Runs,
    terms: Terms,
    names: Sequence[object],
    held: bool,
    *,
    sparsity: Sparsity,
    ridge: float | int,
) -> None:
    """Whether every group has the complete windows that its unknowns need.

    Parameters
    ----------
    names
        Id of the series that each group is; empty where all series are one group.
    held
        Whether newer points were held back.
    """
    count = complete_windows(runs, terms)
    # AR-Net's penalty is in units of the noise, which least squares must be able to tell.
    penalized = ridge > 0 or sparsity == "auto"
    need = 2 if penalized else terms.lags * (1 + terms.past) + terms.future + 2
    if not bool((count < need).any()):
        return
    row = int((count < need).nonzero()[0, 0])
    others = ["scope='global'"] if names else []
    others += [] if penalized else ["sparsity='auto'", "sparsity=None and a ridge"]
    others += ["a smaller Training(validation=...)"] if held else []
    first = "Lower context_length" if terms.lags > 1 else "Give more points"
    first += ", drop the series" if names and terms.lags == 1 else ""
    points = need + terms.max_lag
    raise ValueError(
        f"series must have at least {points} points without a gap ({points} samples; one "
        f"gives 1 sample of {terms.max_lag + 1} points, {need} are needed) for "
        f"context_length={terms.lags}; got {int(count[row])} complete windows for "
        f"{f'series {names[row]!r}' if names else 'all series'}. "
        f"{first}{', or set ' if others else ''}{' or '.join(others)}."
    )


def complete_windows(runs: Runs, terms: Terms) -> Int[Tensor, " group"]:
    """Windows without a gap in each group."""
    windows = (runs.lengths - terms.max_lag).clamp(min=0)
    count = torch.zeros(runs.n_groups, dtype=torch.int64, device=windows.device)
    return count.index_add(0, runs.group, windows).cpu()


def _one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {list(known)}; got {value!r}. Choose one.")


def _check_hidden(hidden: object) -> None:
    if isinstance(hidden, (str, bytes)) or not isinstance(hidden, Sequence):
        raise TypeError(
            f"hidden must be the widths of layers, such as (32,); got {hidden!r}. Give a tuple."
        )
    for width in hidden:
        check_integer("hidden", width)


def _check_levels(levels: object) -> None:
    numbers = list(levels) if isinstance(levels, Iterable) else []
    inside = all(isinstance(level, Real) and 0 < float(level) < 1 for level in numbers)
    if not inside or 0.5 not in numbers:
        raise ValueError(
            f"quantile_levels must lie in (0, 1), 0.5 among them; got {levels!r}. Add it."
        )


def _check_sparsity(sparsity: object, ridge: object) -> None:
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
