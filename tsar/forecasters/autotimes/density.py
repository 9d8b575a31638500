"""Densities as forecasts: each step's outputs are the parameters of a Gaussian or Student's t."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor
from torch.distributions import StudentT
from torch.nn.functional import softplus


class Density(ABC):
    """A location-scale family; its outputs are location, log scale, and shape parameters."""

    n_outputs: ClassVar[int]

    @abstractmethod
    def log_prob(
        self, output: Float[Tensor, "*shape output"], value: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """Log density at values."""

    @abstractmethod
    def quantiles(
        self, output: Float[Tensor, "*shape output"], levels: Sequence[float]
    ) -> Float[Tensor, "*shape level"]:
        """Quantiles at levels in (0, 1)."""

    @abstractmethod
    def sample(
        self, output: Float[Tensor, "*shape output"], uniform: Float[Tensor, "*shape 2"]
    ) -> Float[Tensor, "*shape"]:
        """One sample per step, from two uniform numbers in (0, 1]."""


class Gaussian(Density):
    """The normal distribution.

    Examples
    --------
    >>> Gaussian().quantiles(torch.tensor([[1.0, 0.0]]), [0.5, 0.975])
    tensor([[1.0000, 2.9600]])
    """

    n_outputs = 2

    def log_prob(
        self, output: Float[Tensor, "*shape output"], value: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """Log density at values."""
        score = (value - output[..., 0]) * torch.exp(-output[..., 1])
        return -0.5 * score.square() - output[..., 1] - 0.5 * math.log(2 * math.pi)

    def quantiles(
        self, output: Float[Tensor, "*shape output"], levels: Sequence[float]
    ) -> Float[Tensor, "*shape level"]:
        """Quantiles at levels in (0, 1)."""
        scores = torch.special.ndtri(output.new_tensor(list(levels)))
        return output[..., :1] + output[..., 1:2].exp() * scores

    def sample(
        self, output: Float[Tensor, "*shape output"], uniform: Float[Tensor, "*shape 2"]
    ) -> Float[Tensor, "*shape"]:
        """One sample per step, from two uniform numbers in (0, 1].

        Source: Box & Muller 1958.
        """
        radius = (-2 * uniform[..., 0].log()).sqrt()
        return _scale(output, radius * torch.cos(2 * math.pi * uniform[..., 1]))


class Student(Density):
    """Student's t with more than two degrees of freedom: heavy tails and a finite variance."""

    n_outputs = 3

    def log_prob(
        self, output: Float[Tensor, "*shape output"], value: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """Log density at values."""
        df, location, scale = _degrees_of_freedom(output), output[..., 0], output[..., 1].exp()
        # Valid by construction, so that torch need not check the arguments.
        log_density: Tensor = StudentT(df, location, scale, validate_args=False).log_prob(value)
        return log_density

    def quantiles(
        self, output: Float[Tensor, "*shape output"], levels: Sequence[float]
    ) -> Float[Tensor, "*shape level"]:
        """Quantiles at levels in (0, 1)."""
        df = _degrees_of_freedom(output).detach().cpu().double().numpy()
        scores = torch.from_numpy(stdtrit(df[..., None], torch.tensor(list(levels)).numpy()))
        return output[..., :1] + output[..., 1:2].exp() * scores.to(output)

    def sample(
        self, output: Float[Tensor, "*shape output"], uniform: Float[Tensor, "*shape 2"]
    ) -> Float[Tensor, "*shape"]:
        """One sample per step, from two uniform numbers in (0, 1].

        Source: Bailey 1994 (Polar generation of random variates with the t-distribution).
        """
        df = _degrees_of_freedom(output)
        radius = (df * torch.expm1(-2 / df * uniform[..., 0].log())).sqrt()
        return _scale(output, radius * torch.cos(2 * math.pi * uniform[..., 1]))


def _scale(
    output: Float[Tensor, "*shape output"], score: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    return output[..., 0] + output[..., 1].exp() * score


def _degrees_of_freedom(output: Float[Tensor, "*shape output"]) -> Float[Tensor, "*shape"]:
    return 2.0 + softplus(output[..., 2])


DENSITIES: dict[str, Density] = {"gaussian": Gaussian(), "student_t": Student()}
