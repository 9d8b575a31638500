"""Metric: a pointwise loss, its average over observed points, and a final transformation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Input = Tensor | int | float


def _identity(mean: Tensor) -> Tensor:
    return mean


@dataclass(frozen=True)
class Metric:
    """A forecast metric that can be averaged over all points or over groups of points.

    Points with a NaN target or a NaN scale are ignored. A NaN forecast of an observed point makes
    the metric NaN, so that failed forecasts are visible. Without observed points it is NaN.

    Parameters
    ----------
    name
        Name in ``METRICS`` and in tables.
    pointwise
        Function of the target and the `required` inputs that returns the loss of every point.
    required
        Inputs besides the target: ``forecast``; ``quantiles`` (a last axis of quantiles) and
        ``quantile_levels``; ``lower``, ``upper`` and ``level``; ``scale`` (see `seasonal_scale`);
        ``squared_scale`` (see `seasonal_squared_scale`). Scales broadcast against the target.
    transform
        Applied to the mean loss, such as the root of a mean square.
    relative
        Whether the mean loss is divided by the mean absolute target of the same points.

    Examples
    --------
    >>> import torch
    >>> from tsar.metrics import Metric
    >>> target = torch.tensor([[1.0, 2.0], [3.0, float("nan")]])
    >>> metric = Metric("mae", lambda target, forecast: (target - forecast).abs())
    >>> metric(target, forecast=torch.zeros(2, 2))
    tensor(2.)
    >>> metric.by_group(torch.tensor([[0], [1]]), 2, target, forecast=torch.zeros(2, 2))
    tensor([1.5000, 3.0000])
    """

    name: str
    pointwise: Callable[..., Tensor]
    required: tuple[str, ...] = ("forecast",)
    transform: Callable[[Tensor], Tensor] = _identity
    relative: bool = False

    def __call__(self, target: Float[Tensor, "*shape"], **inputs: Input) -> Float[Tensor, ""]:
        """Compute the metric over all points.

        Parameters
        ----------
        target
            Observed values; NaN where missing.
        **inputs
            The inputs named in ``required``.

        Raises
        ------
        ValueError
            If an input is missing, unknown or of another shape than the target.
        """
        loss, weight = self._losses_and_weights(target, inputs)
        return self.transform(loss.sum() / weight.sum())

    def by_group(
        self,
        group: Int[Tensor, "..."],
        n_groups: int,
        target: Float[Tensor, "*shape"],
        **inputs: Input,
    ) -> Float[Tensor, " group"]:
        """Compute the metric of each group of points, such as a series, horizon step or cutoff.

        Parameters
        ----------
        group
            Group of every point, from 0 to ``n_groups - 1``; broadcast against the target.
        n_groups
            Number of groups. The metric of a group without points is NaN.
        target, **inputs
            As in a call.
        """
        loss, weight = self._losses_and_weights(target, inputs)
        index = group.expand(target.shape).reshape(-1)
        total = loss.new_zeros(n_groups).index_add(0, index, loss.reshape(-1))
        divisor = weight.new_zeros(n_groups).index_add(0, index, weight.reshape(-1))
        return self.transform(total / divisor)

    def _losses_and_weights(
        self, target: Tensor, inputs: dict[str, Input]
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the weight of every point; both 0 where it is ignored.

        Ignored targets and scales are replaced by 1 before the loss is computed, because the
        gradient of a NaN that is masked afterwards is still NaN.
        """
        self._check(target, inputs)
        observed = ~target.isnan()
        for name in {"scale", "squared_scale"} & inputs.keys():
            scale = torch.as_tensor(inputs[name])
            observed = observed & ~scale.isnan()
            inputs = {**inputs, name: scale.where(~scale.isnan(), 1.0)}
        target = target.where(observed, 1.0)
        loss = self.pointwise(target, **inputs).where(observed, 0.0)
        weight = target.abs() if self.relative else torch.ones_like(loss)
        return loss, weight.where(observed, 0.0)

    def _check(self, target: Tensor, inputs: dict[str, Input]) -> None:
        if set(inputs) != set(self.required):
            raise ValueError(
                f"inputs of {self.name} must be {', '.join(self.required)}; "
                f"got {', '.join(inputs) or 'none'}. Pass each of them by name."
            )
        for name in ("forecast", "lower", "upper"):
            _check_shape(name, inputs.get(name), tuple(target.shape))
        levels = inputs.get("quantile_levels")
        if isinstance(levels, Tensor):
            _check_shape("quantiles", inputs["quantiles"], (*target.shape, *levels.shape))


def _check_shape(name: str, value: Input | None, shape: tuple[int, ...]) -> None:
    # Broadcasting (8,) against (8, 1) would silently compare 64 pairs.
    if isinstance(value, Tensor) and tuple(value.shape) != shape:
        raise ValueError(
            f"{name} must have the shape {shape}, as the target has; "
            f"got {tuple(value.shape)}. Reshape it."
        )
