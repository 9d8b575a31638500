"""Kalman filter and smoother for batches of models and sequences, by a parallel scan over time.

    x[1] ~ N(initial_state, initial_state_cov)
    x[t] = transition x[t - 1] + N(0, state_cov)
    y[t] = design x[t] + obs_intercept + N(0, obs_cov)

The names are those of statsmodels. Covariances depend on the observations only by which of them are
missing. They are computed once for all sequences with the same missing-data pattern, and once for
all time steps in steady state: the distinct time steps are called elements, as in a scan.
"""

from dataclasses import dataclass
from math import log, pi

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.linear_gaussian.linalg import solve_positive, symmetric
from tsar.hmm.linear_gaussian.missing import MissingPatterns
from tsar.hmm.linear_gaussian.scan import ElementIds, Elements, ScanTree


@dataclass(frozen=True)
class StateSpaceModel:
    """A batch of linear-Gaussian state-space models.

    `obs_cov` must be positive definite, the other covariances may be singular.
    """

    transition: Float[Tensor, "model state state"]
    state_cov: Float[Tensor, "model state state"]
    design: Float[Tensor, "model feature state"]
    obs_intercept: Float[Tensor, "model feature"]
    obs_cov: Float[Tensor, "model feature feature"]
    initial_state: Float[Tensor, "model state"]
    initial_state_cov: Float[Tensor, "model state state"]


@dataclass(frozen=True)
class UniqueCovariances:
    """Covariances of the time steps, each distinct one stored once.

    Attributes
    ----------
    unique
        The distinct covariances.
    index
        Which of them is that of each time step.
    """

    unique: Float[Tensor, "model unique row column"]
    index: Int[Tensor, "sequence time"]


@dataclass(frozen=True)
class FilterElements:
    """Covariances and gains of the filter at its distinct time steps.

    An element is a set of observed features with a predicted covariance.

    Attributes
    ----------
    predicted_state_cov, filtered_state_cov, next_state_cov
        Covariance of the state before and after the update, and of the next state.
    kalman_gain
        Gain by which the forecast error updates the state.
    closed_loop
        Transition from the predicted state to the next one: ``transition (I - gain design)``.
    whitening
        Inverse Cholesky factor of the covariance of the forecast error.
    forecast_error_logdet
        Log determinant of that covariance.
    observed
        1 where a feature is observed, else 0.
    in_sequence
        False for the elements after the end of a sequence.
    """

    predicted_state_cov: Float[Tensor, "model element state state"]
    filtered_state_cov: Float[Tensor, "model element state state"]
    next_state_cov: Float[Tensor, "model element state state"]
    kalman_gain: Float[Tensor, "model element state feature"]
    closed_loop: Float[Tensor, "model element state state"]
    whitening: Float[Tensor, "model element feature feature"]
    forecast_error_logdet: Float[Tensor, "model element"]
    observed: Float[Tensor, "element feature"]
    in_sequence: Bool[Tensor, " element"]


@dataclass(frozen=True)
class FilterResults:
    """States given the observations up to each time.

    Attributes
    ----------
    filtered_state
        Mean of the state given the observations up to its time.
    predicted_state
        Mean of the state given the observations before its time; one time step more, that after
        the last. After the end of a sequence it stays at the first time after it.
    llf_obs
        Log density of each observation given those before it; 0 where nothing is observed.
    elements, ids, pattern
        Distinct time steps, those of each missing-data pattern, and the pattern of each sequence.
    """

    filtered_state: Float[Tensor, "model sequence time state"]
    predicted_state: Float[Tensor, "model sequence time+1 state"]
    llf_obs: Float[Tensor, "model sequence time"]
    elements: FilterElements
    ids: ElementIds
    pattern: Int[Tensor, " sequence"]

    @property
    def llf(self) -> Float[Tensor, "model sequence"]:
        """Log likelihood of each sequence."""
        return self.llf_obs.sum(2)

    @property
    def next_state(self) -> Float[Tensor, "model sequence state"]:
        """Mean of the state after the end of each sequence."""
        return self.predicted_state[:, :, -1]

    @property
    def next_state_cov(self) -> Float[Tensor, "model sequence state state"]:
        """Covariance of the state after the end of each sequence."""
        return self.elements.next_state_cov[:, self.ids.ids[self.pattern, -1]]


@dataclass(frozen=True)
class SmootherResults:
    """States given all observations.

    Attributes
    ----------
    smoothed_state, smoothed_state_cov
        Mean and covariance of the state at each time.
    smoothed_state_autocov
        Covariance of the next state (rows) with the state at each time (columns); at the last time
        of a sequence, with the state after its end.
    """

    smoothed_state: Float[Tensor, "model sequence time state"]
    smoothed_state_cov: UniqueCovariances
    smoothed_state_autocov: UniqueCovariances


def kalman_filter(
    model: StateSpaceModel,
    values: Float[Tensor, "sequence time feature"],
    lengths: Int[Tensor, " sequence"] | None = None,
) -> FilterResults:
    """Filter every sequence by every model.

    Parameters
    ----------
    values
        Observations, NaN where a feature is missing: it is marginalized, exactly.
    lengths
        Number of points of each sequence; None for all. Values after the end are ignored.

    References
    ----------
    Särkkä & García-Fernández 2021, "Temporal Parallelization of Bayesian Smoothers", IEEE
    Transactions on Automatic Control 66: covariances are composed by its equation (14).

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> level = StateSpaceModel(one, one, one, one[0] * 0, one, one[0] * 0, one)
    >>> kalman_filter(level, torch.tensor([[[1.0], [torch.nan], [1.0]]])).filtered_state.flatten()
    tensor([0.5000, 0.5000, 0.8571])
    """
    missing = MissingPatterns.of(values, lengths)
    elements, ids = _filter_elements(model, missing)
    tree = ScanTree.of(ids).select(missing.pattern)
    steps = tree.levels[0]
    observed = elements.observed[steps.ids] > 0
    centered = torch.where(observed, values - model.obs_intercept[:, None, None], 0)
    inputs = steps.matvec(model.transition[:, None] @ elements.kalman_gain, centered)
    initial = model.initial_state[:, None].expand(-1, len(values), -1)
    predicted = tree.linear_recurrence(elements.closed_loop, inputs, initial)
    forecast = predicted[:, :, :-1] @ model.design.mT[:, None]
    error = torch.where(observed, centered - forecast, 0)
    filtered = predicted[:, :, :-1] + steps.matvec(elements.kalman_gain, error)
    squares = steps.matvec(elements.whitening, error).double().square().sum(3)
    logdet = elements.forecast_error_logdet.double()[:, steps.ids]
    llf_obs = -(squares + logdet + log(2 * pi) * observed.double().sum(2)) / 2
    return FilterResults(filtered, predicted, llf_obs, elements, ids, missing.pattern)


def _filter_elements(
    model: StateSpaceModel, missing: MissingPatterns
) -> tuple[FilterElements, ElementIds]:
    """Distinct time steps of the filter, and those of each missing-data pattern."""
    tree = ScanTree.of(missing.elements)
    nodes = tree.up_sweep(_leaves(model, missing.observed[:-1]), _identity(model), _compose)
    initial_ids = torch.zeros_like(missing.elements.ids[:, 0])
    covariances, ids = tree.down_sweep(
        nodes, _propagate, model.initial_state_cov[:, None], initial_ids
    )
    pairs = missing.elements.pair(ids)
    predicted_cov, observed = covariances[:, pairs.second], missing.observed[pairs.first]
    in_sequence = pairs.first < missing.elements.count
    design = observed[:, :, None] * model.design[:, None]
    obs_cov = _observed_cov(model.obs_cov, observed)
    cross = predicted_cov @ design.mT
    factor = torch.linalg.cholesky_ex(symmetric(design @ cross + obs_cov))[0]
    feature_eye = torch.eye(obs_cov.shape[-1]).to(factor).expand_as(factor)
    whitening = torch.linalg.solve_triangular(factor, feature_eye, upper=False)
    gain = cross @ whitening.mT @ whitening
    state_eye = torch.eye(predicted_cov.shape[-1]).to(gain)
    update = state_eye - gain @ design
    # Joseph's form: positive semidefinite in spite of rounding.
    filtered_cov = symmetric(update @ predicted_cov @ update.mT + gain @ obs_cov @ gain.mT)
    transition = model.transition[:, None]
    next_cov = symmetric(transition @ filtered_cov @ transition.mT) + model.state_cov[:, None]
    inside = in_sequence[:, None, None]
    elements = FilterElements(
        predicted_cov,
        filtered_cov,
        torch.where(inside, next_cov, predicted_cov),
        gain,
        torch.where(inside, transition @ update, state_eye),
        whitening,
        2 * factor.diagonal(dim1=2, dim2=3).log().sum(2),
        observed,
        in_sequence,
    )
    return elements, pairs.ids


def _observed_cov(
    obs_cov: Float[Tensor, "model feature feature"], observed: Float[Tensor, "element feature"]
) -> Float[Tensor, "model element feature feature"]:
    """Covariance of the observed features; a missing one has independent noise of variance 1."""
    both = observed[:, :, None] * observed[:, None, :]
    return obs_cov[:, None] * both + torch.diag_embed(1 - observed)


def _leaves(model: StateSpaceModel, observed: Float[Tensor, "element feature"]) -> Elements:
    """Maps from the predicted covariance of one time step to that of the next: (A, C, J).

    A is the transition, C the state covariance, J = design' obs_cov^-1 design the information.
    """
    design = observed[:, :, None] * model.design[:, None]
    factor = torch.linalg.cholesky_ex(_observed_cov(model.obs_cov, observed))[0]
    whitened = torch.linalg.solve_triangular(factor, design, upper=False)
    shape = (-1, len(observed), -1, -1)
    state_cov = model.state_cov[:, None].expand(*shape)
    return model.transition[:, None].expand(*shape), state_cov, whitened.mT @ whitened


def _identity(model: StateSpaceModel) -> Elements:
    zero = torch.zeros_like(model.transition)[:, None]
    return torch.eye(zero.shape[-1]).to(zero).expand_as(zero), zero, zero


def _compose(earlier: Elements, later: Elements) -> Elements:
    (a, c, j), (a_later, c_later, j_later) = earlier, later
    eye = torch.eye(a.shape[-1]).to(a)
    solution = torch.linalg.solve_ex(eye + c @ j_later, torch.cat([a, c], dim=-1))[0]
    solved_a, solved_c = solution.split(a.shape[-1], dim=-1)
    return (
        a_later @ solved_a,
        symmetric(a_later @ solved_c @ a_later.mT) + c_later,
        symmetric(a.mT @ j_later @ solved_a) + j,
    )


def _propagate(
    element: Elements, covariance: Float[Tensor, "model pair state state"]
) -> Float[Tensor, "model pair state state"]:
    a, c, j = element
    eye = torch.eye(a.shape[-1]).to(a)
    updated = torch.linalg.solve_ex(eye + covariance @ j, covariance)[0]
    return symmetric(a @ updated @ a.mT) + c


def kalman_smoother(model: StateSpaceModel, results: FilterResults) -> SmootherResults:
    """Smooth the filtered states (Rauch, Tung & Striebel 1965), with their lag-one covariances.

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> level = StateSpaceModel(one, one, one, one[0] * 0, one, one[0] * 0, one)
    >>> results = kalman_filter(level, torch.tensor([[[1.0], [torch.nan], [1.0]]]))
    >>> kalman_smoother(level, results).smoothed_state.flatten()
    tensor([0.5714, 0.7143, 0.8571])
    """
    elements, pattern = results.elements, results.pattern
    gain, residual_cov = _smoother_elements(model, elements)
    tree = ScanTree.of(results.ids.flip())
    last, initial_ids = results.ids.ids[:, -1].unique(return_inverse=True)
    zero = torch.zeros_like(model.transition)[:, None]
    identity = (torch.eye(zero.shape[-1]).to(zero).expand_as(zero), zero)
    nodes = tree.up_sweep((gain, residual_cov), identity, _compose_backward)
    covariances, ids = tree.down_sweep(
        nodes, _propagate_backward, elements.next_state_cov[:, last], initial_ids
    )
    pairs = tree.levels[0].pair(ids)
    next_cov, pair_gain = covariances[:, pairs.second], gain[:, pairs.first]
    smoothed_cov = _propagate_backward((pair_gain, residual_cov[:, pairs.first]), next_cov)
    index = pairs.ids.ids.flip(1)[pattern]

    tree = tree.select(pattern)
    next_predicted = results.predicted_state[:, :, 1:].flip(2)
    inputs = results.filtered_state.flip(2) - tree.levels[0].matvec(gain, next_predicted)
    path = tree.linear_recurrence(gain, inputs, results.next_state)
    return SmootherResults(
        path[:, :, 1:].flip(2),
        UniqueCovariances(smoothed_cov, index),
        UniqueCovariances(next_cov @ pair_gain.mT, index),
    )


def _smoother_elements(model: StateSpaceModel, elements: FilterElements) -> Elements:
    """Gain of the smoother, and the covariance of the state given the next state."""
    transition, state_cov = model.transition[:, None], model.state_cov[:, None]
    cross = transition @ elements.filtered_state_cov
    gain = solve_positive(elements.next_state_cov, cross).mT
    eye = torch.eye(gain.shape[-1]).to(gain)
    rest = eye - gain @ transition
    residual_cov = symmetric(
        rest @ elements.filtered_state_cov @ rest.mT + gain @ state_cov @ gain.mT
    )
    inside = elements.in_sequence[:, None, None]
    return torch.where(inside, gain, eye), torch.where(inside, residual_cov, 0)


def _compose_backward(first: Elements, second: Elements) -> Elements:
    (g, d), (g_second, d_second) = first, second
    return g_second @ g, symmetric(g_second @ d @ g_second.mT) + d_second


def _propagate_backward(
    element: Elements, covariance: Float[Tensor, "model pair state state"]
) -> Float[Tensor, "model pair state state"]:
    g, d = element
    return symmetric(g @ covariance @ g.mT) + d
