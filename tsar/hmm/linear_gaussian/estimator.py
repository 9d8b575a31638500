"""LinearGaussianHMM: a linear-Gaussian state-space model (Kalman filter), fitted by EM."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.hmm.base import SHARED, BaseHMM
from tsar.hmm.linear_gaussian.em import FittedModels, canonical_form, fit_restarts, log_likelihoods
from tsar.hmm.linear_gaussian.forecasting import forecast, simulate
from tsar.hmm.linear_gaussian.initialization import standardization
from tsar.hmm.linear_gaussian.kalman import (
    FilterResults,
    StateSpaceModel,
    kalman_filter,
    kalman_smoother,
)
from tsar.hmm.linear_gaussian.priors import Priors
from tsar.hmm.linear_gaussian.selection import (
    CRITERIA,
    Criterion,
    n_parameters,
    select_n_components,
)
from tsar.hmm.linear_gaussian.sufficient_statistics import elements_per_point, expect
from tsar.hmm.observations import Block, Observations
from tsar.hmm.standardization import Standardization
from tsar.validation import FINITE, NONNEGATIVE, POSITIVE, Constraint, check_integer, one_of

Floats = NDArray[np.float64]


class GaussianForecast(NamedTuple):
    """Normal distribution of future observations.

    Attributes
    ----------
    mean
        Shape (sequence, horizon, feature).
    covariance
        Covariance of the features at each time: (sequence, horizon, feature, feature).
    """

    mean: Floats
    covariance: Floats


class LinearGaussianHMM(BaseHMM):
    """Linear-Gaussian state-space model, a hidden Markov model with continuous states, by EM.

    The state is a vector with linear dynamics, and the features are observed with noise::

        x[1] ~ N(initial_state, initial_state_cov)
        x[t] = transition @ x[t - 1] + N(0, state_cov)
        y[t] = design @ x[t] + obs_intercept + N(0, obs_cov)

    The noise of the features is independent: `obs_cov_` is diagonal. All starts are fitted in one
    batch; missing values are marginalized; rows are times, in order.

    Parameters
    ----------
    n_components
        Dimension of the state; ``"auto"``: chosen among 1 to `max_components` by `criterion`.
    max_components
        Largest dimension with ``"auto"``.
    criterion
        ``"heldout"``, ``"bic"`` or ``"aic"``, see `GaussianHMM`.
    n_init
        Number of starts; the one with the highest objective is kept. The first is a stochastic
        realization of the autocovariances; the others are in turn random perturbations of it, and
        random models.
    n_iter
        EMResult number of EM iterations.
    tol
        EM stops when the objective, the penalized log likelihood of all sequences, gains less.
    min_covar
        Minimum variance of a feature's noise, as a fraction of the feature's variance, and minimum
        eigenvalue of the covariances of the states, whose variance is about 1. It prevents a
        degenerate fit.
    transition_prior, transition_weight
        Prior of the transition and the state covariance, equivalent to `transition_weight`
        additional transitions from states of variance 1 to `transition_prior` times the state
        (0: white noise, 1: a random walk) with an innovation of variance 1.
    obs_cov_prior, obs_cov_weight
        Prior of each feature's noise variance, equivalent to `obs_cov_weight` additional residuals
        with a variance of `obs_cov_prior`, as a fraction of the feature's variance.
    device
        ``"cpu"``, ``"cuda"``, ``"auto"``: where to compute.
    random_state
        Seed of the random starts and of `sample`.
    verbose
        Above 0: show a progress bar if a fit takes longer than a second.

    Attributes
    ----------
    transition_, state_cov_
        Shape (state, state).
    design_, obs_intercept_, obs_cov_
        Shapes (feature, state), (feature,), (feature, feature), in units of the data.
    initial_state_, initial_state_cov_
        Shapes (state,), (state, state). Any invertible linear map of the states gives an equivalent
        model; in the canonical form used here the states are uncorrelated over the training data,
        with mean square 1 and uncorrelated innovations, the slowest state first.
    log_likelihood_, log_likelihoods_
        Log likelihood of the training data: of the start that was kept, and of every start.
    n_iter_, converged_
        Iterations of the start that was kept, and whether they converged.
    history_
        Penalized log likelihood (that of the training data and the log density of the priors)
        before each of these iterations (frame).
    n_components_, n_parameters_
        Dimension of the state; number of free parameters: those above less the
        ``n_components_ ** 2`` of an invertible map of the states.
    selection_
        Scores of the dimensions that were compared with ``"auto"`` (frame).
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Shumway & Stoffer 1982, "An approach to time series smoothing and forecasting using the EM
    algorithm", Journal of Time Series Analysis 3; Ghahramani & Hinton 1996, "Parameter estimation
    for linear dynamical systems", CRG-TR-96-2. The names are those of statsmodels.

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

    transition_: Floats
    design_: Floats

    def __init__(
        self,
        n_components: int | Literal["auto"] = 1,
        *,
        max_components: int = 8,
        criterion: Criterion = "heldout",
        n_init: int = 5,
        n_iter: int = 100,
        tol: float = 1e-2,
        min_covar: float = 1e-6,
        transition_prior: float = 0.0,
        transition_weight: float = 0.0,
        obs_cov_prior: float = 1.0,
        obs_cov_weight: float = 0.0,
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
        self.obs_cov_prior = obs_cov_prior
        self.obs_cov_weight = obs_cov_weight
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _constraints(self) -> dict[str, Constraint]:
        return CONSTRAINTS

    def _capacity(self, observations: Observations) -> int:
        return int((~observations.values.isnan()).sum())

    def _standardization(self, observations: Observations) -> Standardization:
        return standardization(observations.values)

    def _learn(
        self, data: Observations, candidates: Sequence[int], seed: int
    ) -> tuple[FittedModels, pd.DataFrame | None]:
        fit = partial(
            fit_restarts,
            priors=Priors(
                self.transition_prior,
                self.transition_weight,
                self.obs_cov_prior,
                self.obs_cov_weight,
            ),
            n_init=self.n_init,
            seed=seed,
            n_iter=self.n_iter,
            tol=self.tol,
            min_covar=self.min_covar,
            verbose=self.verbose > 0,
        )
        if self.n_components != "auto":
            return fit(data, candidates[0]), None
        return select_n_components(data, candidates, self.criterion, fit)

    def _store(self, models: FittedModels, data: Observations, scaling: Standardization) -> None:
        model = canonical_form(models.model, expect(data, models.model))
        model = replace(
            model,
            design=model.design * scaling.scale[:, None],
            obs_intercept=model.obs_intercept * scaling.scale + scaling.center,
            obs_cov=model.obs_cov * scaling.scale.square(),  # diagonal
        )
        for field in fields(model):
            setattr(self, f"{field.name}_", getattr(model, field.name)[0].cpu().numpy())
        self.n_components_ = len(self.transition_)
        self._store_fit(models.em, models.best, models.log_likelihoods, scaling)

    def _model(self) -> StateSpaceModel:
        """Model of the fitted attributes, as a batch of one."""
        names = [field.name for field in fields(StateSpaceModel)]
        arrays = {name: torch.from_numpy(getattr(self, f"{name}_")) for name in names}
        device = self._device()
        return StateSpaceModel(**{name: array[None].to(device) for name, array in arrays.items()})

    @property
    def n_parameters_(self) -> int:
        """Number of free parameters of the fitted model."""
        check_is_fitted(self)
        n_features, n_components = self.design_.shape
        return n_parameters(n_components, n_features)

    @property
    def _n_features_out(self) -> int:
        return len(self.transition_)

    def _log_likelihood(self, observations: Observations) -> float:
        return float(log_likelihoods(observations, self._model()))

    def transform(self, X: Any, *, lengths: Any = None) -> Floats:
        """Filter: mean of the state at each point given the observations up to it, (point, state).

        Later observations are not used, so that the states may serve as features of a forecast.
        Every sequence begins with ``initial_state_``: the first rows of new data are filtered
        without the rows before them, see `GaussianHMM.filter_proba`.

        Parameters
        ----------
        X, lengths
            As for `fit`.

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the observations are invalid.
        """
        return self._states(X, lengths, lambda _, results: results.filtered_state)

    def smooth(self, X: Any, *, lengths: Any = None) -> Floats:
        """Mean of the state at each point given all observations of its sequence: (point, state).

        It uses later observations: as a feature of a forecast it would leak the future. Parameters
        are as for `transform`.
        """
        return self._states(
            X, lengths, lambda model, results: kalman_smoother(model, results).smoothed_state
        )

    def _states(
        self, X: Any, lengths: Any, infer: Callable[[StateSpaceModel, FilterResults], Tensor]
    ) -> Floats:
        parsed, model = self._read_fitted(X, lengths), self._model()

        def block_states(block: Block) -> Tensor:
            return infer(model, kalman_filter(model, block.values, block.lengths))[0]

        n_components = len(self.transition_)
        return self._each_point(parsed, n_components, elements_per_point(model), block_states)

    def forecast(self, X: Any, horizon: int = 1, *, lengths: Any = None) -> GaussianForecast:
        """Mean and covariance of the next observations of each sequence, noise included.

        Parameters
        ----------
        X, lengths
            As for `fit`.
        horizon
            Number of points to forecast, at least 1.

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the observations or the horizon are invalid.
        """
        check_integer("horizon", horizon)
        observations, model = self._read_fitted(X, lengths).observations, self._model()
        n_features = observations.values.shape[1]
        mean = observations.values.new_empty(len(observations), horizon, n_features)
        covariance = mean.new_empty(*mean.shape, n_features)
        for block in observations.blocks(elements_per_point(model)):
            results = kalman_filter(model, block.values, block.lengths)
            block_mean, block_cov = forecast(
                model, results.next_state, results.next_state_cov, horizon
            )
            mean[block.sequences], covariance[block.sequences] = block_mean[0], block_cov[0]
        return GaussianForecast(mean.cpu().numpy(), covariance.cpu().numpy())

    def _sample(self, n_samples: int, seed: int) -> tuple[Floats, Floats]:
        generator = torch.Generator().manual_seed(seed)
        states, values = simulate(self._model(), 1, n_samples, generator)
        return values[0, 0].cpu().numpy(), states[0, 0].cpu().numpy()


CONSTRAINTS: dict[str, Constraint] = {
    **SHARED,
    "criterion": one_of(CRITERIA),
    "min_covar": POSITIVE,
    "transition_prior": FINITE,
    "transition_weight": NONNEGATIVE,
    "obs_cov_prior": POSITIVE,
    "obs_cov_weight": NONNEGATIVE,
}
