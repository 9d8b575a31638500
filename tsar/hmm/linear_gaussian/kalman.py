"""Kalman filter and smoother of many models and sequences at once, in O(log time) steps.

    x[1] ~ N(mean, covariance)
    x[t] = transition x[t - 1] + N(0, transition_covariance)
    y[t] = observation x[t] + offset + N(0, observation_covariance)

The covariances do not depend on the observations, only on which are missing: they are computed
once for all sequences with the same gaps, and once for all steps at which they stand still.
"""

from dataclasses import dataclass
from functools import cached_property
from math import log, pi

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.linear_gaussian.gaps import Gaps
from tsar.hmm.linear_gaussian.scan import Elements, Kinds, Tree


@dataclass(frozen=True)
class LinearGaussian:
    """Linear-Gaussian state-space models, side by side.

    The observation covariances must be positive definite, the others may be singular.
    """

    transition: Float[Tensor, "model state state"]
    transition_covariance: Float[Tensor, "model state state"]
    observation: Float[Tensor, "model feature state"]
    offset: Float[Tensor, "model feature"]
    observation_covariance: Float[Tensor, "model feature feature"]
    mean: Float[Tensor, "model state"]
    covariance: Float[Tensor, "model state state"]


@dataclass(frozen=True)
class Moments:
    """Covariances of the steps, each that occurs once.

    Attributes
    ----------
    distinct
        The covariances.
    place
        Which of them is that of each step.
    """

    distinct: Float[Tensor, "model distinct row column"]
    place: Int[Tensor, "sequence time"]

    def expand(self) -> Float[Tensor, "model sequence time row column"]:
        """The covariance of every step."""
        return self.distinct[:, self.place]


@dataclass(frozen=True)
class Gains:
    """What the filter does at each kind of step: a pattern of gaps with a covariance before it."""

    before: Float[Tensor, "model kind state state"]
    after: Float[Tensor, "model kind state state"]
    ahead: Float[Tensor, "model kind state state"]
    gain: Float[Tensor, "model kind state feature"]
    closed: Float[Tensor, "model kind state state"]
    whiten: Float[Tensor, "model kind feature feature"]
    log_det: Float[Tensor, "model kind"]
    masks: Float[Tensor, "kind feature"]
    runs: Bool[Tensor, " kind"]


@dataclass(frozen=True)
class Filtered:
    """States given the observations up to each time.

    Attributes
    ----------
    means, covariances
        Of the state at each time, given the observations up to it.
    predicted, predicted_covariances
        Given those before it. The means have one time more: that behind the last. Behind the end
        of a sequence they stay at those of the first time behind it.
    next_covariance
        Of the state behind the end.
    log_likelihood
        Of each sequence.
    """

    means: Float[Tensor, "model sequence time state"]
    predicted: Float[Tensor, "model sequence time+1 state"]
    log_likelihood: Float[Tensor, "model sequence"]
    gains: Gains
    kinds: Kinds
    patterns: Int[Tensor, " sequence"]

    @cached_property
    def covariances(self) -> Moments:
        """Covariances of the filtered states."""
        return Moments(self.gains.after, self.kinds.rows[self.patterns])

    @cached_property
    def predicted_covariances(self) -> Moments:
        """Covariances of the states, given what was observed before."""
        return Moments(self.gains.before, self.kinds.rows[self.patterns])

    @property
    def next_mean(self) -> Float[Tensor, "model sequence state"]:
        """Mean of the state behind the end."""
        return self.predicted[:, :, -1]

    @property
    def next_covariance(self) -> Float[Tensor, "model sequence state state"]:
        """Covariance of the state behind the end."""
        return self.gains.ahead[:, self.kinds.rows[self.patterns, -1]]


@dataclass(frozen=True)
class Smoothed:
    """States given all observations.

    Attributes
    ----------
    means, covariances
        Of the state at each time.
    lagged
        Covariance of the state at the next time (rows) with that at each time (columns); the
        last of a sequence is with the state behind its end.
    """

    means: Float[Tensor, "model sequence time state"]
    covariances: Moments
    lagged: Moments


def filter_states(
    model: LinearGaussian,
    values: Float[Tensor, "sequence time feature"],
    lengths: Int[Tensor, " sequence"] | None = None,
) -> Filtered:
    """Infer the states from the observations up to each time, and the likelihood of all.

    Parameters
    ----------
    model
        Each model sees each sequence.
    values
        NaN where a feature is missing: it is marginalized, exactly.
    lengths
        Points of each sequence; None for all. What stands behind them does not count.

    References
    ----------
    S. Särkkä and Á. F. García-Fernández, Temporal Parallelization of Bayesian Smoothers, IEEE
    Transactions on Automatic Control 66 (2021): the covariances are combined by its equation (14).

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> level = LinearGaussian(one, one, one, one[0] * 0, one, one[0] * 0, one)
    >>> filter_states(level, torch.tensor([[[1.0], [torch.nan], [1.0]]])).means.flatten()
    tensor([0.5000, 0.5000, 0.8571])
    """
    gaps = Gaps.of(values, lengths)
    gains, kinds = _gains(model, gaps)
    patterns = gaps.patterns
    tree = Tree.over(kinds).select(patterns)
    steps = tree.levels[0]
    seen = gains.masks[steps.rows]
    known = torch.where(seen > 0, values - model.offset[:, None, None], 0)
    added = steps.multiply(model.transition[:, None] @ gains.gain, known)
    start = model.mean[:, None].expand(-1, len(values), -1)
    predicted = tree.run(gains.closed, added, start)
    expected = predicted[:, :, :-1] @ model.observation.mT[:, None]
    surprise = torch.where(seen > 0, known - expected, 0)
    means = predicted[:, :, :-1] + steps.multiply(gains.gain, surprise)
    power = steps.multiply(gains.whiten, surprise).double().square().sum((2, 3))
    volume = gains.log_det.double()[:, steps.rows].sum(2)
    likelihood = -(power + volume + log(2 * pi) * seen.double().sum((1, 2))) / 2
    return Filtered(means, predicted, likelihood, gains, kinds, patterns)


def _gains(model: LinearGaussian, gaps: Gaps) -> tuple[Gains, Kinds]:
    """What happens at each kind of step, and which kind each step is of."""
    masks = gaps.masks
    tree = Tree.over(gaps.kinds)
    elements = tree.ascend(_leaves(model, masks[:-1]), _neutral(model), _combine)
    origins = torch.zeros_like(gaps.kinds.rows[:, 0])
    states, ids = tree.descend(elements, _propagate, model.covariance[:, None], origins)
    pairs = gaps.kinds.join(ids)
    before, mask = states[:, pairs.second], masks[pairs.first]
    runs = pairs.first < gaps.kinds.count
    seen = mask[:, :, None] * model.observation[:, None]
    noise = _masked(model.observation_covariance, mask)
    cross = before @ seen.mT
    factor = torch.linalg.cholesky_ex(symmetric(seen @ cross + noise))[0]
    eye = torch.eye(noise.shape[-1]).to(factor).expand_as(factor)
    whiten = torch.linalg.solve_triangular(factor, eye, upper=False)
    gain = cross @ whiten.mT @ whiten
    rest = torch.eye(before.shape[-1]).to(gain) - gain @ seen
    after = symmetric(rest @ before @ rest.mT + gain @ noise @ gain.mT)  # Joseph's form
    transition = model.transition[:, None]
    still = torch.eye(before.shape[-1]).to(gain)
    ahead = symmetric(transition @ after @ transition.mT) + model.transition_covariance[:, None]
    going = runs[:, None, None]
    log_det = 2 * factor.diagonal(dim1=2, dim2=3).log().sum(2)
    gains = Gains(
        before,
        after,
        torch.where(going, ahead, before),
        gain,
        torch.where(going, transition @ rest, still),
        whiten,
        log_det,
        mask,
        runs,
    )
    return gains, pairs.kinds


def _masked(
    covariance: Float[Tensor, "model feature feature"], masks: Float[Tensor, "kind feature"]
) -> Float[Tensor, "model kind feature feature"]:
    """Covariances of what is observed; a missing feature has noise of its own, of variance 1."""
    both = masks[:, :, None] * masks[:, None, :]
    return covariance[:, None] * both + torch.diag_embed(1 - masks)


def _leaves(model: LinearGaussian, masks: Float[Tensor, "kind feature"]) -> Elements:
    """How a step takes the covariance before it to that before the next: by A, Q and J = C'C/R."""
    seen = masks[:, :, None] * model.observation[:, None]
    factor = torch.linalg.cholesky_ex(_masked(model.observation_covariance, masks))[0]
    half = torch.linalg.solve_triangular(factor, seen, upper=False)
    shape = (-1, len(masks), -1, -1)
    added = model.transition_covariance[:, None].expand(*shape)
    return model.transition[:, None].expand(*shape), added, half.mT @ half


def _neutral(model: LinearGaussian) -> Elements:
    zero = torch.zeros_like(model.transition)[:, None]
    return torch.eye(zero.shape[-1]).to(zero).expand_as(zero), zero, zero


def _combine(earlier: Elements, later: Elements) -> Elements:
    (a, c, j), (a_later, c_later, j_later) = earlier, later
    eye = torch.eye(a.shape[-1]).to(a)
    solved = torch.linalg.solve_ex(eye + c @ j_later, torch.cat([a, c], dim=-1))[0]
    moved, spread = solved.split(a.shape[-1], dim=-1)
    return (
        a_later @ moved,
        symmetric(a_later @ spread @ a_later.mT) + c_later,
        symmetric(a.mT @ j_later @ moved) + j,
    )


def _propagate(
    element: Elements, covariance: Float[Tensor, "model pair state state"]
) -> Float[Tensor, "model pair state state"]:
    a, c, j = element
    eye = torch.eye(a.shape[-1]).to(a)
    known = torch.linalg.solve_ex(eye + covariance @ j, covariance)[0]
    return symmetric(a @ known @ a.mT) + c


def symmetric(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The symmetric part."""
    return (matrix + matrix.mT) / 2


def smooth_states(model: LinearGaussian, filtered: Filtered) -> Smoothed:
    """Infer the states from all observations (Rauch, Tung and Striebel), with their lag-one part.

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> level = LinearGaussian(one, one, one, one[0] * 0, one, one[0] * 0, one)
    >>> found = filter_states(level, torch.tensor([[[1.0], [torch.nan], [1.0]]]))
    >>> smooth_states(level, found).means.flatten()
    tensor([0.5714, 0.7143, 0.8571])
    """
    gains, patterns = filtered.gains, filtered.patterns
    back, left = _backward(model, gains)
    tree = Tree.over(filtered.kinds.flip())
    last, origins = filtered.kinds.rows[:, -1].unique(return_inverse=True)
    zero = torch.zeros_like(model.transition)[:, None]
    neutral = (torch.eye(zero.shape[-1]).to(zero).expand_as(zero), zero)
    elements = tree.ascend((back, left), neutral, _combine_back)
    states, ids = tree.descend(elements, _step_back, gains.ahead[:, last], origins)
    pairs = tree.levels[0].join(ids)
    later, factor = states[:, pairs.second], back[:, pairs.first]
    smoothed = _step_back((factor, left[:, pairs.first]), later)
    place = pairs.kinds.rows.flip(1)[patterns]

    several = tree.select(patterns)
    predicted = filtered.predicted[:, :, 1:].flip(2)
    added = filtered.means.flip(2) - several.levels[0].multiply(back, predicted)
    path = several.run(back, added, filtered.next_mean)
    return Smoothed(
        path[:, :, 1:].flip(2), Moments(smoothed, place), Moments(later @ factor.mT, place)
    )


def _backward(model: LinearGaussian, gains: Gains) -> Elements:
    """Gain of the smoother at each kind of step, and the covariance that the future can't lower."""
    transition, noise = model.transition[:, None], model.transition_covariance[:, None]
    cross = transition @ gains.after
    scale = gains.ahead.diagonal(dim1=2, dim2=3).clamp(min=0).sqrt()
    scale = torch.where(scale > 0, scale, 1)
    unit = gains.ahead / (scale[..., :, None] * scale[..., None, :])
    eye = torch.eye(unit.shape[-1]).to(unit)
    # To rounding this changes nothing, but where the covariance is singular.
    factor = torch.linalg.cholesky_ex(unit + 8 * len(eye) * torch.finfo(unit.dtype).eps * eye)[0]
    solved = torch.cholesky_solve(cross / scale[..., None], factor)
    back = (solved / scale[..., None]).mT
    rest = eye - back @ transition
    left = symmetric(rest @ gains.after @ rest.mT + back @ noise @ back.mT)
    going = gains.runs[:, None, None]
    return torch.where(going, back, eye), torch.where(going, left, 0)


def _combine_back(first: Elements, second: Elements) -> Elements:
    (g, d), (g_second, d_second) = first, second
    return g_second @ g, symmetric(g_second @ d @ g_second.mT) + d_second


def _step_back(
    element: Elements, covariance: Float[Tensor, "model pair state state"]
) -> Float[Tensor, "model pair state state"]:
    g, d = element
    return symmetric(g @ covariance @ g.mT) + d
