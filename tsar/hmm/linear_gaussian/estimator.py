"""LinearGaussianHMM: a hidden Markov model whose states are numbers, not kinds."""

from collections.abc import Callable
from functools import partial
from math import log
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.hmm.discrete.selection import candidate_states, in_units
from tsar.hmm.linear_gaussian.attributes import Gaussian, keep_model, read_model
from tsar.hmm.linear_gaussian.em import canonical, likelihood
from tsar.hmm.linear_gaussian.expected import expect, width
from tsar.hmm.linear_gaussian.forecasting import draw, forecast_states
from tsar.hmm.linear_gaussian.kalman import Filtered, LinearGaussian, filter_states, smooth_states
from tsar.hmm.linear_gaussian.priors import LinearPriors
from tsar.hmm.linear_gaussian.selection import (
    LINEAR_CRITERIA,
    LinearCriterion,
    Restarts,
    fit_restarts,
    free_parameters,
    select_states,
)
from tsar.hmm.linear_gaussian.start import units
from tsar.hmm.observations import Observations, Reading, check_labels, read_observations
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed
from tsar.saving import Savable
from tsar.validation import (
    FINITE,
    NONNEGATIVE,
    POSITIVE,
    Constraint,
    check_integer,
    check_parameters,
    integer,
    one_of,
)


class LinearGaussianHMM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Savable):
    """A linear-Gaussian state-space model, fitted by expectation-maximization.

    The state is a vector that moves linearly, and the features are seen through noise::

        x[1] ~ N(initial_mean, initial_covariance)
        x[t] = transition_matrix @ x[t - 1] + N(0, transition_covariance)
        y[t] = observation_matrix @ x[t] + observation_offset + N(0, observation_covariance)

    The noise of a feature is its own: `observation_covariance_` is diagonal. All restarts are
    fitted at once; missing values are marginalized; rows are times, in order.

    Parameters
    ----------
    n_components
        Numbers that a state consists of; ``"auto"``: chosen among 1 to `max_components`.
    max_components, criterion
        With ``"auto"``, the most; and ``"heldout"``, ``"bic"`` or ``"aic"``, see `GaussianHMM`.
    n_init
        Starts; the result of the highest objective is kept. The first is a realization of the
        autocovariances, the others are drawn, in turn near it and anywhere.
    n_iter
        Steps of expectation-maximization, at most.
    tol
        A start is done where a step gains less of the objective than this, over all sequences.
    min_covar
        Least variance of the noise of a feature, in shares of the feature's variance, and of a
        state's innovations and of its start, in shares of about its own: keeps them from collapse.
    transition_prior, transition_weight
        A prior of the transition, given as how many further transitions would say the same: those
        of states of variance 1 to `transition_prior` times the state (0: nothing lasts, 1: a random
        walk) and an innovation of variance 1.
    noise_prior, noise_weight
        Another of the noise of each feature: the variance of further residuals, as a share of the
        feature's own, and how many.
    device, random_state
        ``"auto"``, ``"cpu"``, ...; seed of the drawn starts.

    Attributes
    ----------
    transition_matrix_, transition_covariance_
        Shape (state, state).
    observation_matrix_, observation_offset_, observation_covariance_
        Shapes (feature, state), (feature,), (feature, feature), in units of the data.
    initial_mean_, initial_covariance_
        Shapes (state,), (state, state). Any invertible mixing of the states is the same model;
        this one is written so that over the training data the states are uncorrelated, of mean
        square 1, with uncorrelated innovations, the slowest state first.
    log_likelihood_
        Log likelihood of the training data.
    log_likelihoods_
        That of every start.
    converged_, n_iter_
        Whether the start that was kept gained less than `tol` in the end; its steps.
    history_
        Objective before each step, log likelihood and log prior, NaN behind the last: (start,
        step).
    n_components_, n_parameters_
        Numbers of a state; free parameters: those above, less the ``n_components_ ** 2`` of a
        mixing.
    selection_
        What was measured of every number of states with ``"auto"`` (frame).
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Shumway & Stoffer 1982, "An approach to time series smoothing and forecasting using the EM
    algorithm", Journal of Time Series Analysis 3; Ghahramani & Hinton 1996, "Parameter estimation
    for linear dynamical systems", CRG-TR-96-2.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar.hmm import LinearGaussianHMM
    >>> time = np.arange(200)
    >>> noise = np.random.default_rng(0).normal(size=(200, 2))
    >>> wave = np.stack([np.sin(0.3 * time), np.cos(0.3 * time)], axis=1) + 0.1 * noise
    >>> model = LinearGaussianHMM(2, random_state=0).fit(wave)
    >>> model.forecast(wave, 2).mean.round(1)[0, :, 0], np.sin([60.0, 60.3]).round(1)
    (array([-0.3, -0.6]), array([-0.3, -0.6]))
    """

    def __init__(
        self,
        n_components: int | Literal["auto"] = 1,
        *,
        max_components: int = 8,
        criterion: LinearCriterion = "heldout",
        n_init: int = 4,
        n_iter: int = 100,
        tol: float = 1e-2,
        min_covar: float = 1e-6,
        transition_prior: float = 0.0,
        transition_weight: float = 0.0,
        noise_prior: float = 1.0,
        noise_weight: float = 0.0,
        device: str = "auto",
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.max_components = max_components
        self.criterion = criterion
        self.n_init = n_init
        self.n_iter = n_iter
        self.tol = tol
        self.min_covar = min_covar
        self.transition_prior = transition_prior
        self.transition_weight = transition_weight
        self.noise_prior = noise_prior
        self.noise_weight = noise_weight
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, lengths: Any = None) -> "LinearGaussianHMM":
        """Learn from sequences.

        Parameters
        ----------
        X
            Array or frame of shape (point, feature), NaN where missing; a long frame with an id, a
            time and a target (a sequence for each series); or a `Panel`. A sequence of an array in
            which nothing was observed is skipped; a series of a frame must have an observation.
        y
            Ignored; there for scikit-learn's pipelines.
        lengths
            Points of each sequence of an array, in order; None for one sequence.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter, the lengths or the observations are not as they must be.
        """
        check_parameters("LinearGaussianHMM", self, CONSTRAINTS)
        candidates = candidate_states(self.n_components, self.max_components)
        read = self._read(X, lengths, reset=True)
        check_labels(y, len(read.values))
        seen = int((~read.values.isnan()).sum())
        if min(candidates) > seen:
            raise ValueError(
                f"n_components must be at most the number of observed values, {seen}; got "
                f"{min(candidates)}. Take fewer states or more points."
            )
        level, scale, shift = units(read.values)
        data = Observations((read.values - level) / scale, read.offsets).observed()
        restarts = self._search(data, [k for k in candidates if k <= seen], shift)
        model = restarts.model
        keep_model(self, canonical(model, expect(data, model)), level, scale)
        self._report(restarts, shift)
        return self

    def _search(self, data: Observations, candidates: list[int], shift: float) -> Restarts:
        fitted = partial(
            fit_restarts,
            priors=LinearPriors(
                self.transition_prior, self.transition_weight, self.noise_prior, self.noise_weight
            ),
            n_init=self.n_init,
            seed=resolve_seed(self.random_state),
            n_iter=self.n_iter,
            tol=self.tol,
            floor=self.min_covar,
        )
        if self.n_components != "auto":
            return fitted(data, candidates[0])
        restarts, table = select_states(data, candidates, self.criterion, fitted)
        self.selection_ = in_units(table, -shift, int(data.seen.sum()))
        return restarts

    def _report(self, restarts: Restarts, shift: float) -> None:
        found, best = restarts.found, restarts.best
        self.log_likelihoods_ = restarts.scores.cpu().numpy() - shift
        self.log_likelihood_ = float(self.log_likelihoods_[best])
        self.history_ = found.history.cpu().numpy() - shift
        self.n_iter_ = int(found.iterations[best])
        self.converged_ = bool(found.converged[best])
        self.n_components_ = found.parameters.mean.shape[1]
        self.n_parameters_ = free_parameters(self.n_components_, self.n_features_in_)

    @property
    def _n_features_out(self) -> int:
        return len(self.transition_matrix_)

    def _read(self, X: Any, lengths: Any, *, reset: bool) -> Observations:
        return self._reading(X, lengths, reset=reset).observations

    def _reading(self, X: Any, lengths: Any, *, reset: bool = False) -> Reading:
        if not reset:
            check_is_fitted(self)
        device = resolve_device(self.device)
        return read_observations(self, X, lengths, reset=reset, device=device)

    def _model(self) -> LinearGaussian:
        return read_model(self, resolve_device(self.device))

    def score(self, X: Any, y: Any = None, *, lengths: Any = None) -> float:
        """Log likelihood of all observations together, as hmmlearn's score; not a mean.

        Parameters are as for `fit`. A sequence without any observation adds 0.
        """
        observations = self._read(X, lengths, reset=False)
        check_labels(y, len(observations.values))
        return float(likelihood(observations, self._model()))

    def aic(self, X: Any, *, lengths: Any = None) -> float:
        """Akaike's criterion of some observations, the lower the better."""
        return 2 * self.n_parameters_ - 2 * self.score(X, lengths=lengths)

    def bic(self, X: Any, *, lengths: Any = None) -> float:
        """Schwarz's criterion, the lower the better; a point counts if a feature is observed."""
        observations = self._read(X, lengths, reset=False)
        points = int((~observations.values.isnan()).any(1).sum())
        return log(points) * self.n_parameters_ - 2 * self.score(X, lengths=lengths)

    def transform(self, X: Any, *, lengths: Any = None) -> NDArray[np.float64]:
        """Mean of the state at each point, given the observations up to it: (point, state).

        Nothing of what comes later is used, so the states may serve as features of a forecast.
        Every sequence begins with ``initial_mean_``: the first rows of new data do not know of
        those before, see `GaussianHMM.filter_proba`.

        Parameters
        ----------
        X, lengths
            As for `fit`.

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the observations are not as they must be.
        """
        return self._states(X, lengths, lambda filtered, _: filtered.means)

    def fit_transform(self, X: Any, y: Any = None, *, lengths: Any = None) -> NDArray[np.float64]:
        """Fit, then give the states of the same observations: see `fit` and `transform`."""
        found: NDArray[np.float64] = self.fit(X, y, lengths=lengths).transform(X, lengths=lengths)
        return found

    def smooth(self, X: Any, *, lengths: Any = None) -> NDArray[np.float64]:
        """Mean of the state at each point, given all observations of the sequence: (point, state).

        It looks ahead: as a feature of a forecast it would tell what it can't know. Parameters are
        as for `transform`.
        """
        return self._states(
            X, lengths, lambda filtered, model: smooth_states(model, filtered).means
        )

    def _states(
        self, X: Any, lengths: Any, infer: Callable[[Filtered, LinearGaussian], Tensor]
    ) -> NDArray[np.float64]:
        reading, model = self._reading(X, lengths), self._model()
        observations = reading.observations
        states = observations.values.new_empty(len(observations.values), model.mean.shape[1])
        for block in observations.blocks(width(model)):
            filtered = filter_states(model, block.values, block.lengths)
            rows, found = block.flatten(infer(filtered, model)[0])
            states[rows] = found
        return reading.restore(states)

    def forecast(self, X: Any, horizon: int = 1, *, lengths: Any = None) -> Gaussian:
        """Mean and covariance of the next observations of each sequence.

        Parameters
        ----------
        X, lengths
            As for `fit`.
        horizon
            Points to forecast, at least 1.

        Returns
        -------
        A pair: `mean` of shape (sequence, horizon, feature), and `covariance` of shape (sequence,
        horizon, feature, feature), that of each time, noise included.

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the observations or the horizon are not as they must be.
        """
        check_integer("horizon", horizon)
        observations, model = self._read(X, lengths, reset=False), self._model()
        features = observations.values.shape[1]
        mean = observations.values.new_empty(len(observations), horizon, features)
        covariance = mean.new_empty(*mean.shape, features)
        for block in observations.blocks(width(model)):
            filtered = filter_states(model, block.values, block.lengths)
            ahead = forecast_states(model, filtered.next_mean, filtered.next_covariance, horizon)
            mean[block.sequences] = ahead.means[0]
            covariance[block.sequences] = ahead.covariances[0]
        return Gaussian(mean.cpu().numpy(), covariance.cpu().numpy())

    def sample(
        self, n_samples: int = 1, random_state: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw a sequence: its observations (point, feature), and its states (point, state).

        Parameters
        ----------
        n_samples
            Points to draw, at least 1.
        random_state
            Seed; None for that of the estimator.
        """
        check_is_fitted(self)
        check_integer("n_samples", n_samples)
        seed = resolve_seed(self.random_state if random_state is None else random_state)
        generator = torch.Generator().manual_seed(seed)
        states, values = draw(self._model(), 1, n_samples, generator)
        return values[0, 0].cpu().numpy(), states[0, 0].cpu().numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


CONSTRAINTS: dict[str, Constraint] = {
    "max_components": integer(1),
    "criterion": one_of(LINEAR_CRITERIA),
    "n_init": integer(1),
    "n_iter": integer(1),
    "tol": NONNEGATIVE,
    "min_covar": POSITIVE,
    "transition_prior": FINITE,
    "transition_weight": NONNEGATIVE,
    "noise_prior": POSITIVE,
    "noise_weight": NONNEGATIVE,
}
