"""Prediction intervals: split conformal calibration, parametric quantiles, requested levels."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from tsar.records import record
from tsar.validation import ParameterError

LEVEL_MARKERS = ("-lo-", "-hi-", "-q-")  # between a model's name and the level in a column name
MAX_SCORES = 2000  # scores kept for each horizon step: enough for the 99.9 % quantile
VALIDATION = {"training.validation": "Training(validation=...)"}  # Python source, for errors


@record("calibration")
@dataclass(frozen=True)
class Calibration:
    """Absolute errors on validation windows, sorted for each horizon step.

    Source: split conformal prediction (Vovk et al. 2005; Lei et al. 2018), with the scores of each
    step apart. Windows of one series overlap and are dependent, so coverage is approximate.

    Attributes
    ----------
    scores
        Absolute errors, sorted; NaN last.
    in_sample
        Whether they are of windows that were trained on, because none was held back.
    """

    scores: Float[Tensor, "horizon score"]
    in_sample: bool = False

    @classmethod
    def from_errors(
        cls, errors: Float[Tensor, "window horizon"], *, in_sample: bool = False
    ) -> "Calibration":
        """Calibration from the errors of windows; NaN where the target is missing."""
        return cls(errors.abs().T.sort(dim=1).values, in_sample)  # NaN is sorted last

    def half_width(self, coverage: float) -> Float[Tensor, " horizon"]:
        """Half the interval width at each step: the ceil((n + 1) coverage)-th smallest score.

        Where that exceeds the n scores, as many as there are tell the deviation of normal errors,
        whose prediction interval by Student's t it is then, but no less than the largest score.
        """
        counts = (~self.scores.isnan()).sum(dim=1)
        # In float64: in float32, 0.05 of 1600 is more than 80.
        ranks = torch.ceil((counts + 1).double() * (coverage - 1e-9)).long()
        if not bool((counts > 0).any()):
            raise ParameterError(
                "level",
                "be None without a window that was held back or trained on",
                f"{100 * coverage:g}",
                "Give more points, or a shorter context or horizon.",
            )
        index = torch.minimum(ranks, counts).sub(1).clamp(min=0)[:, None]
        width = self.scores.gather(1, index)[:, 0]
        few = (ranks > counts) & (counts > 0)
        width = torch.where(few, torch.maximum(width, self._student_width(coverage)), width)
        known = (counts > 0).nonzero()[:, 0]  # a step without a score has the width of the nearest
        nearest = (torch.arange(len(counts))[:, None] - known).abs().argmin(dim=1)
        return width[known[nearest]]

    def _student_width(self, coverage: float) -> Float[Tensor, " horizon"]:
        """Half width of a prediction interval of normal errors around zero."""
        counts = (~self.scores.isnan()).sum(dim=1).clamp(min=1)
        deviation = self.scores.square().nansum(dim=1).div(counts).sqrt()
        factor = stdtrit(counts.cpu().numpy(), (1 + coverage) / 2)
        return deviation * torch.from_numpy(factor).to(deviation) * (1 + 1 / counts).sqrt()

    def _warn_of_few(self, levels: Sequence[float]) -> None:
        """Warn of intervals that rest on too few windows, or on those of training."""
        count = int((~self.scores.isnan()).sum(dim=1).min())
        coverage = max((abs(2 * level - 1) for level in levels), default=0.0)
        if self.in_sample:
            warnings.warn(
                f"intervals rest on the errors of {count} window(s) that were trained on, raised "
                "for that: nothing could be held back. Give more points, or a shorter horizon.",
                stacklevel=2,
            )
        elif (count + 1) * (coverage - 1e-9) > count:
            warnings.warn(
                f"intervals of {100 * coverage:.3g} % rest on {count} held-back window(s): they "
                "are rough, and wide by Student's t. Hold back more: Training(validation=...).",
                stacklevel=2,
            )

    def quantiles(
        self, point: Float[Tensor, "window horizon"], levels: Sequence[float], gap: int = 0
    ) -> Float[Tensor, "window horizon level"]:
        """Quantiles around point forecasts, symmetric; the median is the point forecast.

        The first `gap` steps only fill the gap up to the forecast horizon. Steps beyond the
        calibrated ones have the width of the last calibrated step.
        """
        horizon = point.shape[1]
        if horizon - gap > len(self.scores):
            raise ParameterError(
                "horizon",
                f"be at most {len(self.scores)} with intervals, the calibrated horizon",
                str(horizon - gap),
                "Fit with a longer horizon, and hold back more: {training.validation}.",
                VALIDATION,
            )
        used = Calibration(self.scores[:horizon], self.in_sample)
        used._warn_of_few(levels)
        shifts = torch.stack([used._shift(level) for level in levels], dim=-1)
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
    """Quantiles of normal forecasts with mean `point` and a known standard deviation."""
    scores = torch.special.ndtri(torch.tensor(list(levels), dtype=point.dtype, device=point.device))
    return point[:, :, None] + deviation[:, :, None] * scores


def student_quantiles(
    point: Float[Tensor, "window horizon"],
    deviation: Float[Tensor, "window horizon"],
    df_resid: Float[Tensor, "#window #horizon"],
    levels: Sequence[float],
) -> Float[Tensor, "window horizon level"]:
    """Quantiles of Student's t: normal forecasts whose standard deviation was estimated.

    `df_resid` is the number of residuals minus that of coefficients; infinite if it is known.

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> student_quantiles(0 * one, one, 10 * one, [0.9]).round(decimals=3)
    tensor([[[1.3720]]], dtype=torch.float64)
    """
    unique, index = df_resid.unique(return_inverse=True)
    scores = stdtrit(unique.clamp(min=1).cpu().numpy()[:, None], np.asarray(levels))
    return point[:, :, None] + deviation[:, :, None] * torch.from_numpy(scores).to(point)[index]


def select_quantiles(
    output: Float[Tensor, "window horizon output"],
    fitted: Sequence[float],
    levels: Sequence[float],
    trained: int,
    gap: int = 0,
) -> Float[Tensor, "window horizon level"]:
    """Fitted quantiles at the requested levels, sorted so that they do not cross.

    `output` holds forecasts of all `fitted` levels. The horizon of the training loss is `trained`;
    the first `gap` steps do not count towards it.
    """
    if output.shape[1] - gap > trained:
        raise ParameterError(
            "horizon",
            f"be at most {trained} with intervals",
            f"{output.shape[1] - gap}: quantiles were trained up to that horizon",
            "Fit with a longer horizon; AutoTimes with a longer segment_length, or with a density "
            "(loss='gaussian'), which has no limit.",
        )
    known = [round(float(level), 10) for level in fitted]
    unknown = [level for level in levels if level not in known]
    if unknown:
        raise ParameterError(
            "quantile_levels",
            f"be among those fitted, {known}",
            str(unknown[0]),
            "Fit with it among quantile_levels.",
        )
    ascending = output[:, :, torch.tensor(known).argsort()].sort(dim=2).values
    return ascending[:, :, [sorted(known).index(level) for level in levels]]


@dataclass(frozen=True)
class Levels:
    """The quantile levels of a forecast, and the columns that show them.

    `levels` are ascending and distinct; `columns` are (suffix, index into `levels`).
    """

    levels: tuple[float, ...]
    columns: tuple[tuple[str, int], ...]

    @classmethod
    def parse(cls, quantile_levels: Any = None, level: Any = None) -> "Levels":
        """Levels from `quantile_levels` in (0, 1), and from `level`, coverages in percent.

        Each is a number or a sequence of numbers.

        Raises
        ------
        TypeError, ValueError
            A level is no number, or out of its range.

        Examples
        --------
        >>> Levels.parse(level=80).columns
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
    if holds:
        return
    remedy = "Use {level} for percentages, {quantile_levels} for fractions."
    if name == "level" and 0 < value < 1:
        remedy = f"Give {100 * value:g}, not {value:g}."
    raise ParameterError(name, f"be {condition}", f"{value:g}", remedy)
