"""HiddenMarkovModel: what estimators of hidden Markov models with discrete states share."""

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
from tsar.hmm.discrete.fitting import Grouped, Rules, log_likelihoods
from tsar.hmm.discrete.inference import expectations, filter_states, sample_states, stationary
from tsar.hmm.discrete.parameters import Parameters, check_chain, ordered
from tsar.hmm.discrete.restarts import Family, fit_restarts
from tsar.hmm.discrete.selection import CRITERIA, Criterion, Fitted, select
from tsar.hmm.discrete.viterbi import decode
from tsar.hmm.em import take
from tsar.hmm.observations import Block, Observations, Units
from tsar.validation import POSITIVE, Constraint, one_of

# Constraints of the parameters that all estimators with discrete states have.
DISCRETE: dict[str, Constraint] = {
    **SHARED,
    "criterion": one_of(CRITERIA),
    "startprob_prior": POSITIVE,
    "transmat_prior": POSITIVE,
}
Floats = NDArray[np.float64]


class HiddenMarkovModel(BaseHMM):
    """A hidden Markov model with discrete states.

    An estimator names its parameters and brings what its points are distributed like.
    """

    criterion: Criterion
    startprob_prior: float
    transmat_prior: float

    @abstractmethod
    def _family(self, data: Grouped) -> Family:
        """Distributions of the points, in the units of `data`."""

    @abstractmethod
    def _adopt(self, parameters: Parameters, units: Units) -> None:
        """Set the learned attributes."""

    @abstractmethod
    def _known(self) -> tuple[Emission, Parameters]:
        """What the learned attributes say, in the units of the input, as a batch of one model."""

    @abstractmethod
    def _draw(self, states: NDArray[np.int64], seed: int) -> Floats:
        """Points of states."""

    def _capacity(self, observations: Observations) -> int:
        return int(observations.seen.sum())

    def _learn(
        self, data: Observations, candidates: Sequence[int], seed: int
    ) -> tuple[Fitted, pd.DataFrame | None]:
        grouped = _one_group(data)
        family = self._family(grouped)
        rules = Rules(
            self.n_iter, self.tol, self.startprob_prior, self.transmat_prior, self.verbose > 0
        )

        def fitted(part: Grouped, states: int) -> Fitted:
            return fit_restarts(family, part, states, self.n_init, rules, seed)

        if self.n_components != "auto":
            return fitted(grouped, candidates[0]), None
        chosen, models, table = select(family.emission, grouped, candidates, self.criterion, fitted)
        return models[int(chosen[0])], table

    def _store(self, models: Fitted, data: Observations, units: Units) -> None:
        grouped = _one_group(data)
        emission = self._family(grouped).emission
        parameters = ordered(models.parameters, emission.order(models.parameters))
        self._adopt(parameters, units)
        self.n_components_ = parameters.startprob.shape[1]
        self.startprob_ = parameters.startprob[0].cpu().numpy()
        self.transmat_ = parameters.transmat[0].cpu().numpy()
        maximum = models.maximum
        scores = log_likelihoods(emission, grouped, maximum.parameters, models.owner)
        self._store_fit(maximum, int(models.best[0]), scores, units)

    @property
    def _n_features_out(self) -> int:
        return len(self.startprob_)

    # --- what the fitted model says ---------------------------------------------------------------

    @property
    def n_parameters_(self) -> int:
        """Number of free parameters of the fitted model."""
        check_is_fitted(self)
        emission, parameters = self._known()
        return parameters.free + emission.free(parameters)

    def _log_likelihood(self, observations: Observations) -> float:
        emission, parameters = self._checked()
        owner = torch.zeros(1, dtype=torch.int64, device=observations.offsets.device)
        return float(log_likelihoods(emission, _one_group(observations), parameters, owner))

    def decode(self, X: Any, *, lengths: Any = None) -> tuple[float, NDArray[np.int64]]:
        """Log density of the most probable states and the points, and these states (Viterbi).

        Returns
        -------
        log_probability, states
            The sum over sequences, and a state for each row.
        """
        reading = self._read_fitted(X, lengths)
        emission, parameters = self._checked()
        total = 0.0
        states = torch.empty(len(reading.observations.values), dtype=torch.int64)
        for block in reading.observations.blocks(2 * parameters.startprob.shape[1] ** 2):
            rows = torch.zeros_like(block.lengths)
            mine = take(parameters, rows)
            density = emission.log_density(mine, block.values)
            # Behind its end a sequence stays where it is, at no cost: only its own points count.
            found = decode(mine.startprob, mine.transmat, density, block.lengths)
            where, values = block.flatten(found.states)
            states[where.cpu()] = values.cpu()
            total += float(found.log_probability.sum())
        return total, reading.restore(states)

    def predict(self, X: Any, *, lengths: Any = None) -> NDArray[np.int64]:
        """Most probable states, as hmmlearn's `predict`: `decode` without the density.

        It looks ahead: later points change earlier states. For a state by what is known at the
        time take the largest of `filter_proba`; of the first rows see there, too.
        """
        return self.decode(X, lengths=lengths)[1]

    def predict_proba(self, X: Any, *, lengths: Any = None) -> Floats:
        """Probability of each state given all points of its sequence (smoothed): it looks ahead."""

        def smooth(mine: Parameters, density: Tensor, ends: Tensor) -> Tensor:
            return expectations(mine.startprob, mine.transmat, density, ends).posterior

        return self._state_probabilities(X, lengths, smooth)

    def filter_proba(self, X: Any, *, lengths: Any = None) -> Floats:
        """Probability of each state given the points up to its own: causal, nothing leaks back.

        Every sequence begins with ``startprob_``, as in hmmlearn: where the training sequences did.
        Of rows that go on from there, as the test rows of a Pipeline do, the first ones are told
        from that start and not from what came before; it is forgotten within a few stays. Give the
        rows before them, too, and leave out what they are told, or set ``startprob_`` to
        `get_stationary_distribution`.
        """

        def causal(mine: Parameters, density: Tensor, ends: Tensor) -> Tensor:
            return filter_states(mine.startprob, mine.transmat, density).probability

        return self._state_probabilities(X, lengths, causal)

    def transform(self, X: Any, *, lengths: Any = None) -> Floats:
        """Causal features, `filter_proba`: a column for each state, which add up to one.

        The first rows of new data do not know of those before; see there.
        """
        return self.filter_proba(X, lengths=lengths)

    def _sample(self, n_samples: int, seed: int) -> tuple[Floats, NDArray[np.int64]]:
        _, parameters = self._known()
        generator = torch.Generator().manual_seed(seed)
        states = sample_states(parameters.startprob, parameters.transmat, n_samples, generator)
        drawn = states[0].numpy()
        return self._draw(drawn, seed + 1), drawn

    def get_stationary_distribution(self) -> Floats:
        """Share of the time that the chain spends in each state, in the long run."""
        check_is_fitted(self)
        return stationary(torch.from_numpy(np.asarray(self.transmat_))[None])[0].numpy()

    def _checked(self) -> tuple[Emission, Parameters]:
        emission, parameters = self._known()
        check_chain(parameters)
        return emission, parameters

    def _state_probabilities(
        self, X: Any, lengths: Any, infer: Callable[[Parameters, Tensor, Tensor], Tensor]
    ) -> Floats:
        reading = self._read_fitted(X, lengths)
        emission, parameters = self._checked()

        def of_block(block: Block) -> Tensor:
            mine = take(parameters, torch.zeros_like(block.lengths))
            return infer(mine, emission.log_density(mine, block.values), block.lengths)

        states = parameters.startprob.shape[1]
        return self._each_point(reading, states, 4 * states, of_block)

    def _model(self, *arrays: Any) -> list[Tensor]:
        """Arrays as float64 tensors of a batch of one model."""
        device = self._device()
        return [torch.from_numpy(np.array(a, dtype=np.float64))[None].to(device) for a in arrays]


def _one_group(observations: Observations) -> Grouped:
    device = observations.offsets.device
    return Grouped(observations, torch.zeros(len(observations), dtype=torch.int64, device=device))
