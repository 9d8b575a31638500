"""Intervals: split conformal calibration, and the levels that users ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from tsar.records import record

MARKS = ("-lo-", "-hi-", "-q-")  # between a model's name and the level of a column
MOST_SCORES = 2000  # scores kept a horizon step: the 99.9 % quantile is still inside


@record("calibration")
@dataclass(frozen=True)
class Calibration:
    """Absolute errors on held-back windows, sorted for each step of the horizon.

    Source: split conformal prediction (Vovk et al. 2005; Lei et al. 2018), a score a step. Windows
    of one series overlap and depend on each other, so that coverage is approximate.
    """

    scores: Float[Tensor, "horizon score"]

    @classmethod
    def of(cls, errors: Float[Tensor, "window horizon"]) -> "Calibration":
        """Calibration by the errors of windows; NaN where a target was missing."""
        ordered = errors.abs().T.sort(dim=1).values  # NaN stands last
        return cls(ordered)

    def half_width(self, coverage: float) -> Float[Tensor, " horizon"]:
        """Half the width of the interval at each step: the ceil((n + 1) coverage)-th score.

        Raises
        ------
        ValueError
            There are too few scores for that coverage.
        """
        counts = (~self.scores.isnan()).sum(dim=1)
        # In float64: float32 takes 0.05 of 1600 for more than 80.
        ranks = torch.ceil((counts + 1).double() * (coverage - 1e-9)).long()
        if bool((ranks > counts).any()):
            fewest = int(counts.min())
            most = 100 * fewest / (fewest + 1)
            raise ValueError(
                f"level must be at most {most:.3g} with {fewest} calibration window(s); got "
                f"{100 * coverage:g}. Hold back more: Training(validation=...)."
            )
        return self.scores.gather(1, (ranks - 1).clamp(min=0)[:, None])[:, 0]

    def quantiles(
        self, point: Float[Tensor, "window horizon"], levels: Sequence[float], lead: int = 0
    ) -> Float[Tensor, "window horizon level"]:
        """Quantiles around point forecasts, symmetric; the median is the forecast itself.

        Where the first `lead` steps make up for missing points, steps beyond the calibrated ones
        are as wide as the last of these.

        Raises
        ------
        ValueError
            The horizon is beyond the one that was calibrated.
        """
        horizon = point.shape[1]
        if horizon - lead > len(self.scores):
            raise ValueError(
                f"horizon must be at most {len(self.scores)} with intervals, which are calibrated "
                f"so far; got {horizon - lead}. Fit with a longer horizon, and hold back more: "
                "Training(validation=...)."
            )
        near = Calibration(self.scores[:horizon])
        shifts = torch.stack([near._shift(level) for level in levels], dim=-1)
        steps = torch.arange(horizon).clamp(max=len(shifts) - 1)
        return point[:, :, None] + shifts[steps].to(point)

    def _shift(self, level: float) -> Float[Tensor, " horizon"]:
        if level == 0.5:
            return self.scores.new_zeros(len(self.scores))
        sign = 1 if level > 0.5 else -1
        return sign * self.half_width(abs(2 * level - 1))


def gaussian_quantiles(
    point: Float[Tensor, "window horizon"],
    deviation: Float[Tensor, "window horizon"],
    levels: Sequence[float],
) -> Float[Tensor, "window horizon level"]:
    """Quantiles of normal forecasts."""
    scores = torch.special.ndtri(torch.tensor(list(levels), dtype=point.dtype, device=point.device))
    return point[:, :, None] + deviation[:, :, None] * scores


def student_quantiles(
    point: Float[Tensor, "window horizon"],
    deviation: Float[Tensor, "window horizon"],
    freedom: Float[Tensor, "#window #horizon"],
    levels: Sequence[float],
) -> Float[Tensor, "window horizon level"]:
    """Quantiles by Student's t: normal forecasts whose deviation was estimated.

    `freedom` is the number of residuals less that of coefficients; infinite: it is known.

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> student_quantiles(0 * one, one, 10 * one, [0.9]).round(decimals=3)
    tensor([[[1.3720]]], dtype=torch.float64)
    """
    different, place = freedom.unique(return_inverse=True)
    scores = stdtrit(different.clamp(min=1).cpu().numpy()[:, None], np.asarray(levels))
    return point[:, :, None] + deviation[:, :, None] * torch.from_numpy(scores).to(point)[place]


def pick_quantiles(
    output: Float[Tensor, "window horizon output"],
    fitted: Sequence[float],
    levels: Sequence[float],
    trained: int,
    lead: int = 0,
) -> Float[Tensor, "window horizon level"]:
    """Those of the fitted quantiles that were asked for, in rising order: they must not cross.

    Raises
    ------
    ValueError
        A level was not fitted, or the horizon behind the first `lead` steps is beyond the
        `trained` one.
    """
    if output.shape[1] - lead > trained:
        raise ValueError(
            f"horizon must be at most {trained} with intervals; got {output.shape[1] - lead}: "
            "quantiles were trained no further. Fit with a longer horizon; AutoTimes with a longer "
            "segment_length, or a density (loss='gaussian') that goes on."
        )
    known = [round(float(level), 10) for level in fitted]
    unknown = [level for level in levels if level not in known]
    if unknown:
        raise ValueError(
            f"quantile_levels must be among those fitted, {known}; got {unknown[0]}. "
            "Fit with it among quantile_levels."
        )
    rising = output[:, :, torch.tensor(known).argsort()].sort(dim=2).values
    return rising[:, :, [sorted(known).index(level) for level in levels]]


@dataclass(frozen=True)
class Levels:
    """The quantile levels that a forecast must give, and the columns that show them.

    `levels` are ascending and distinct; `columns` are (suffix, index into `levels`).
    """

    levels: tuple[float, ...]
    columns: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, quantile_levels: Any = None, level: Any = None) -> "Levels":
        """Levels of `quantile_levels` in (0, 1), and of `level` in percent, which is sugar.

        Each is a number or a sequence of them.

        Raises
        ------
        TypeError, ValueError
            A level is no number, or out of its range.

        Examples
        --------
        >>> Levels.of(level=80).columns
        (('-lo-80', 0), ('-hi-80', 1))
        """
        named: list[tuple[str, float]] = []
        for value in _numbers("level", level):
            _check(1 <= value < 100, "level", "percentages from 1 to below 100", value)
            named += [(f"-lo-{value:g}", 0.5 - value / 200), (f"-hi-{value:g}", 0.5 + value / 200)]
        for value in _numbers("quantile_levels", quantile_levels):
            _check(0 < value < 1, "quantile_levels", "between 0 and 1", value)
            named.append((f"-q-{value:g}", value))
        rounded = [(name, round(value, 10)) for name, value in named]
        levels = tuple(sorted({value for _, value in rounded}))
        return cls(levels, tuple((name, levels.index(value)) for name, value in rounded))


def _numbers(name: str, values: object) -> list[float]:
    if values is None:
        return []
    try:
        return torch.as_tensor(values, dtype=torch.float64).reshape(-1).tolist()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be numbers; got {values!r}. Give one or a sequence of them."
        ) from error


def _check(holds: bool, name: str, condition: str, value: float) -> None:
    if not holds:
        share = name == "level" and 0 < value < 1
        hint = "Use level for percentages, quantile_levels for shares."
        hint = f"Give {100 * value:g}, not {value:g}." if share else hint
        raise ValueError(f"{name} must be {condition}; got {value:g}. {hint}")
