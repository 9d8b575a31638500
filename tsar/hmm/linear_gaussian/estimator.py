"""LinearGaussianHMM: a hidden Markov model whose states are numbers, not kinds."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.hmm.base import SHARED, BaseHMM
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
from tsar.hmm.observations import Block, Observations, Units
from tsar.validation import (
    FINITE,
    NONNEGATIVE,
    POSITIVE,
    Constraint,
    check_integer,
    one_of,
)


class LinearGaussianHMM(BaseHMM):
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
    verbose
        Above 0: show a progress bar if a fit takes longer than a second.

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
        Penalized log likelihood (that of the training data and the log density of the priors)
        before each iteration of the start that was kept (frame).
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
        n_init: int = 5,
        n_iter: int = 100,
        tol: float = 1e-2,
        min_covar: float = 1e-6,
        transition_prior: float = 0.0,
        transition_weight: float = 0.0,
        noise_prior: float = 1.0,
        noise_weight: float = 0.0,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
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
        self.verbose = verbose

    def _constraints(self) -> dict[str, Constraint]:
        return CONSTRAINTS

    def _capacity(self, observations: Observations) -> int:
        return int((~observations.values.isnan()).sum())

    def _units(self, observations: Observations) -> Units:
        return units(observations.values)

    def _learn(
        self, data: Observations, candidates: Sequence[int], seed: int
    ) -> tuple[Restarts, pd.DataFrame | None]:
        fit = partial(
            fit_restarts,
            priors=LinearPriors(
                self.transition_prior, self.transition_weight, self.noise_prior, self.noise_weight
            ),
            n_init=self.n_init,
            seed=seed,
            n_iter=self.n_iter,
            tol=self.tol,
            floor=self.min_covar,
            progress=self.verbose > 0,
        )
        if self.n_components != "auto":
            return fit(data, candidates[0]), None
        return select_states(data, candidates, self.criterion, fit)

    def _store(self, models: Restarts, data: Observations, units: Units) -> None:
        model = models.model
        keep_model(self, canonical(model, expect(data, model)), units)
        self.n_components_ = model.mean.shape[1]
        self._store_fit(models.found, models.best, models.scores, units)

    @property
    def n_parameters_(self) -> int:
        """Number of free parameters, less the ``n_components_ ** 2`` of a mixing of the states."""
        check_is_fitted(self)
        features, states = self.observation_matrix_.shape
        return free_parameters(states, features)

    @property
    def _n_features_out(self) -> int:
        return len(self.transition_matrix_)

    def _model(self) -> LinearGaussian:
        return read_model(self, self._device())

    def _log_likelihood(self, observations: Observations) -> float:
        return float(likelihood(observations, self._model()))

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
        reading, model = self._read_fitted(X, lengths), self._model()

        def of_block(block: Block) -> Tensor:
            return infer(filter_states(model, block.values, block.lengths), model)[0]

        return self._each_point(reading, model.mean.shape[1], width(model), of_block)

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
        observations, model = self._read_fitted(X, lengths).observations, self._model()
        features = observations.values.shape[1]
        mean = observations.values.new_empty(len(observations), horizon, features)
        covariance = mean.new_empty(*mean.shape, features)
        for block in observations.blocks(width(model)):
            filtered = filter_states(model, block.values, block.lengths)
            ahead = forecast_states(model, filtered.next_mean, filtered.next_covariance, horizon)
            mean[block.sequences] = ahead.means[0]
            covariance[block.sequences] = ahead.covariances[0]
        return Gaussian(mean.cpu().numpy(), covariance.cpu().numpy())

    def _sample(self, n_samples: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        generator = torch.Generator().manual_seed(seed)
        states, values = draw(self._model(), 1, n_samples, generator)
        return values[0, 0].cpu().numpy(), states[0, 0].cpu().numpy()


CONSTRAINTS: dict[str, Constraint] = {
    **SHARED,
    "criterion": one_of(LINEAR_CRITERIA),
    "min_covar": POSITIVE,
    "transition_prior": FINITE,
    "transition_weight": NONNEGATIVE,
    "noise_prior": POSITIVE,
    "noise_weight": NONNEGATIVE,
}
