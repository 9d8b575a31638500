"""What a metric is: a loss a point, an average over the observed points, and a last step."""

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
    """A score of forecasts, as a recipe that one pass over the points can average by any grouping.

    Points whose target is NaN, and points whose scale is NaN, are left out. A NaN forecast of an
    observed point makes its score NaN: a forecast that failed is never hidden. Where nothing is
    observed the score is NaN.

    Parameters
    ----------
    name
        The name in ``METRICS`` and in tables.
    pointwise
        The loss of every point, from the target and the inputs named in `needs`.
    needs
        The inputs besides the target: ``forecast``; ``quantiles`` (a last axis of quantiles) and
        ``quantile_levels``; ``lower``, ``upper`` and ``level``; ``scale`` (see `seasonal_scale`);
        ``squared_scale`` (see `seasonal_squared_scale`). Scales broadcast against the target.
    finish
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
    needs: tuple[str, ...] = ("forecast",)
    finish: Callable[[Tensor], Tensor] = _identity
    relative: bool = False

    def __call__(self, target: Float[Tensor, "*shape"], **inputs: Input) -> Float[Tensor, ""]:
        """Score all points together.

        Parameters
        ----------
        target
            What happened; NaN where it is not known.
        **inputs
            The inputs named in ``needs``.

        Raises
        ------
        ValueError
            If an input is missing, unknown or of another shape than the target.
        """
        loss, weight = self._losses_and_weights(target, inputs)
        return self.finish(loss.sum() / weight.sum())

    def by_group(
        self,
        group: Int[Tensor, "..."],
        n_groups: int,
        target: Float[Tensor, "*shape"],
        **inputs: Input,
    ) -> Float[Tensor, " group"]:
        """Score the points of each group together: a series, a step ahead, a cutoff.

        Parameters
        ----------
        group
            The group of every point, from 0 to ``n_groups - 1``; broadcast against the target.
        n_groups
            How many groups there are. A group without a point scores NaN.
        target, **inputs
            As in a call.
        """
        loss, weight = self._losses_and_weights(target, inputs)
        index = group.expand(target.shape).reshape(-1)
        total = loss.new_zeros(n_groups).index_add(0, index, loss.reshape(-1))
        divisor = weight.new_zeros(n_groups).index_add(0, index, weight.reshape(-1))
        return self.finish(total / divisor)

    def _losses_and_weights(
        self, target: Tensor, inputs: dict[str, Input]
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of every point and what their sum is divided by; 0 where unobserved.

        Unobserved targets and scales become 1 before the loss, not after: the gradient of a NaN
        that is masked afterwards is still NaN.
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
        if set(inputs) != set(self.needs):
            raise ValueError(
                f"inputs of {self.name} must be {', '.join(self.needs)}; "
                f"got {', '.join(inputs) or 'none'}. Pass each of them by name."
            )
        for name in ("forecast", "lower", "upper"):
            _check_shape(name, inputs.get(name), tuple(target.shape))
        levels = inputs.get("quantile_levels")
        if isinstance(levels, Tensor):
            _check_shape("quantiles", inputs["quantiles"], (*target.shape, *levels.shape))


def _check_shape(name: str, value: Input | None, shape: tuple[int, ...]) -> None:
    # Broadcasting (8,) against (8, 1) would score 64 pairs and say nothing.
    if isinstance(value, Tensor) and tuple(value.shape) != shape:
        raise ValueError(
            f"{name} must have the shape {shape} that belongs to the target; "
            f"got {tuple(value.shape)}. Reshape it so that its points stand beside the target's."
        )
