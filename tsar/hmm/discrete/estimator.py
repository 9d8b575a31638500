"""DiscreteHMM: what GaussianHMM and CategoricalHMM share (fit, decode, state probabilities)."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.hmm.base import SHARED, BaseHMM
from tsar.hmm.discrete.emissions import Emission
from tsar.hmm.discrete.fitting import EMOptions, FittedModels, fit_restarts, log_likelihoods
from tsar.hmm.discrete.inference import (
    filter_states,
    forward_backward,
    sample_states,
    stationary_distribution,
)
from tsar.hmm.discrete.parameters import HMMParameters, check_model, reorder_states
from tsar.hmm.discrete.selection import CRITERIA, Criterion, select_n_components
from tsar.hmm.discrete.sequence_groups import SequenceGroups
from tsar.hmm.discrete.viterbi import decode
from tsar.hmm.em import select_models
from tsar.hmm.observations import Block, Observations
from tsar.hmm.standardization import Standardization
from tsar.validation import POSITIVE, Constraint, one_of

# Constraints of the parameters that all estimators with discrete states have.
DISCRETE: dict[str, Constraint] = {
    **SHARED,
    "criterion": one_of(CRITERIA),
    "startprob_prior": POSITIVE,
    "transmat_prior": POSITIVE,
}
Floats = NDArray[np.float64]


class DiscreteHMM(BaseHMM):
    """A hidden Markov model with discrete states.

    A subclass has the parameters of its emissions, and implements the abstract methods.
    """

    criterion: Criterion
    startprob_prior: float
    transmat_prior: float

    @abstractmethod
    def _emission(self, data: Observations) -> Emission[Any]:
        """Emissions with the priors of the fit, for standardized data."""

    @abstractmethod
    def _store_emission(self, parameters: Any, scaling: Standardization) -> None:
        """Set the fitted attributes of the emissions, in the units of the input."""

    @abstractmethod
    def _fitted_model(self) -> tuple[Emission[Any], Any]:
        """Emissions, and the fitted attributes as parameters of a batch of one model."""

    @abstractmethod
    def _sample_emissions(self, states: NDArray[np.int64], seed: int) -> Floats:
        """Sample a point for each state."""

    def _capacity(self, observations: Observations) -> int:
        return int(observations.observed.sum())

    def _learn(
        self, data: Observations, candidates: Sequence[int], seed: int
    ) -> tuple[FittedModels[Any], pd.DataFrame | None]:
        groups, emission = _one_group(data), self._emission(data)
        options = EMOptions(
            self.n_iter, self.tol, self.startprob_prior, self.transmat_prior, self.verbose > 0
        )

        def fit(training: SequenceGroups, n_components: int) -> FittedModels[Any]:
            return fit_restarts(emission, training, n_components, self.n_init, options, seed)

        if self.n_components != "auto":
            return fit(groups, candidates[0]), None
        chosen, models, table = select_n_components(
            emission, groups, candidates, self.criterion, fit
        )
        return models[int(chosen[0])], table

    def _store(
        self, models: FittedModels[Any], data: Observations, scaling: Standardization
    ) -> None:
        emission, result = self._emission(data), models.result
        parameters = reorder_states(models.parameters, emission.state_order(models.parameters))
        self._store_emission(parameters, scaling)
        self.n_components_ = parameters.startprob.shape[1]
        self.startprob_ = parameters.startprob[0].cpu().numpy()
        self.transmat_ = parameters.transmat[0].cpu().numpy()
        starts = log_likelihoods(emission, _one_group(data), result.parameters, models.model_group)
        self._store_fit(result, int(models.best[0]), starts, scaling)

    @property
    def _n_features_out(self) -> int:
        return len(self.startprob_)

    @property
    def n_parameters_(self) -> int:
        """Number of free parameters of the fitted model."""
        check_is_fitted(self)
        emission, parameters = self._fitted_model()
        return parameters.n_chain_parameters + emission.n_parameters(parameters)

    def _log_likelihood(self, observations: Observations) -> float:
        emission, parameters = self._checked_model()
        model_group = torch.zeros(1, dtype=torch.int64, device=observations.offsets.device)
        return float(log_likelihoods(emission, _one_group(observations), parameters, model_group))

    def decode(self, X: Any, *, lengths: Any = None) -> tuple[float, NDArray[np.int64]]:
        """Most probable path of states (Viterbi), and its log density together with the points.

        Returns
        -------
        log_probability, states
            Sum of the log densities of all sequences; the state of each row.
        """
        parsed = self._read_fitted(X, lengths)
        emission, parameters = self._checked_model()
        log_probability = 0.0
        states = torch.empty(len(parsed.observations.values), dtype=torch.int64)
        for block in parsed.observations.blocks(2 * parameters.transmat.numel()):
            model = select_models(parameters, torch.zeros_like(block.lengths))
            density = emission.log_density(model, block.values)
            decoded = decode(model.startprob, model.transmat, density, block.lengths)
            rows, values = block.unpad(decoded.states)
            states[rows.cpu()] = values.cpu()
            log_probability += float(decoded.log_probability.sum())
        return log_probability, parsed.to_input_order(states)

    def predict(self, X: Any, *, lengths: Any = None) -> NDArray[np.int64]:
        """Most probable path of states, as hmmlearn's `predict`: the states of `decode`.

        Not causal: later points change earlier states. For the most probable state given the points
        so far, take the largest of `filter_proba`.
        """
        return self.decode(X, lengths=lengths)[1]

    def predict_proba(self, X: Any, *, lengths: Any = None) -> Floats:
        """Probability of each state given all points of its sequence (smoothed, not causal)."""

        def smooth(model: HMMParameters, density: Tensor, lengths: Tensor) -> Tensor:
            return forward_backward(model.startprob, model.transmat, density, lengths).posteriors

        return self._state_probabilities(X, lengths, smooth)

    def filter_proba(self, X: Any, *, lengths: Any = None) -> Floats:
        """Probability of each state given the points up to its own (filtered, causal).

        Every sequence begins with ``startprob_``, the start of the training sequences, as in
        hmmlearn. If rows continue an earlier sequence, as the test rows of a Pipeline do, their
        first probabilities depend on ``startprob_`` instead of the earlier rows, for about the
        dwell time of a few states. To avoid that, pass the earlier rows too and drop their results,
        or set ``startprob_`` to `get_stationary_distribution`.
        """

        def filter_(model: HMMParameters, density: Tensor, lengths: Tensor) -> Tensor:
            return filter_states(model.startprob, model.transmat, density).probability

        return self._state_probabilities(X, lengths, filter_)

    def transform(self, X: Any, *, lengths: Any = None) -> Floats:
        """Causal features: `filter_proba`, a column for each state; rows add up to one.

        The first rows of new data begin with ``startprob_``, see `filter_proba`.
        """
        return self.filter_proba(X, lengths=lengths)

    def _sample(self, n_samples: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
        _, parameters = self._fitted_model()
        generator = torch.Generator().manual_seed(seed)
        paths = sample_states(parameters.startprob, parameters.transmat, n_samples, generator)
        states = paths[0].cpu().numpy()
        return self._sample_emissions(states, seed + 1), states

    def get_stationary_distribution(self) -> Floats:
        """Long-run share of time in each state."""
        check_is_fitted(self)
        transmat = torch.from_numpy(np.asarray(self.transmat_))
        return stationary_distribution(transmat[None])[0].numpy()

    def _checked_model(self) -> tuple[Emission[Any], Any]:
        emission, parameters = self._fitted_model()
        check_model(parameters)
        return emission, parameters

    def _state_probabilities(
        self, X: Any, lengths: Any, infer: Callable[[HMMParameters, Tensor, Tensor], Tensor]
    ) -> Floats:
        parsed = self._read_fitted(X, lengths)
        emission, parameters = self._checked_model()

        def infer_block(block: Block) -> Tensor:
            model = select_models(parameters, torch.zeros_like(block.lengths))
            return infer(model, emission.log_density(model, block.values), block.lengths)

        n_components = parameters.startprob.shape[1]
        return self._each_point(parsed, n_components, 4 * n_components, infer_block)

    def _tensors(self, *arrays: Any) -> list[Tensor]:
        """Arrays as float64 tensors of a batch of one model."""
        device = self._device()
        return [torch.from_numpy(np.array(a, dtype=np.float64))[None].to(device) for a in arrays]


def _one_group(observations: Observations) -> SequenceGroups:
    return SequenceGroups(observations, torch.zeros_like(observations.lengths))
