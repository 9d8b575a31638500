"""HiddenMarkovModel: what estimators of hidden Markov models with discrete states share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.hmm.discrete.emissions import Emission
from tsar.hmm.discrete.fitting import Grouped, Rules, point_scores
from tsar.hmm.discrete.inference import expectations, filter_states, sample_states, stationary
from tsar.hmm.discrete.parameters import Parameters, check_chain, ordered
from tsar.hmm.discrete.restarts import Family, fit_restarts
from tsar.hmm.discrete.selection import (
    CRITERIA,
    Criterion,
    Fitted,
    candidate_states,
    in_units,
    select,
)
from tsar.hmm.discrete.viterbi import decode
from tsar.hmm.em import take
from tsar.hmm.observations import Observations, Reading, Units, check_labels, read_observations
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed
from tsar.saving import Savable
from tsar.validation import (
    NONNEGATIVE,
    POSITIVE,
    Constraint,
    check_integer,
    check_parameters,
    integer,
    one_of,
)

# Conditions of the parameters that all estimators have.
SHARED: dict[str, Constraint] = {
    "criterion": one_of(CRITERIA),
    "max_components": integer(1),
    "startprob_prior": POSITIVE,
    "transmat_prior": POSITIVE,
    "n_init": integer(1),
    "n_iter": integer(1),
    "tol": NONNEGATIVE,
}
Model = TypeVar("Model", bound="HiddenMarkovModel")
Floats = NDArray[np.float64]


class HiddenMarkovModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Savable, ABC):
    """Chains of hidden states, fitted from several starts at once.

    An estimator names its parameters and brings what its points are distributed like; all else is
    here, once. `X` is an array or frame (point, feature) with NaN where missing, and `lengths` the
    points of each sequence in it; or a long frame with the columns of `tsar.Columns`, or a panel.
    """

    n_components: Any
    max_components: int
    criterion: Criterion
    n_init: int
    n_iter: int
    tol: float
    startprob_prior: float
    transmat_prior: float
    device: str
    random_state: int | None

    @abstractmethod
    def _family(self, data: Grouped) -> Family:
        """Distributions of the points, in the units of `data`."""

    @abstractmethod
    def _units(self, observations: Observations) -> Units | None:
        """Units that the points are fitted in; None for their own."""

    @abstractmethod
    def _adopt(self, parameters: Parameters, units: Units | None) -> None:
        """Set the learned attributes."""

    @abstractmethod
    def _known(self) -> tuple[Emission, Parameters]:
        """What the learned attributes say, in the units of the input, as a batch of one model."""

    @abstractmethod
    def _draw(self, states: NDArray[np.int64], seed: int) -> Floats:
        """Points of states."""

    @abstractmethod
    def _constraints(self) -> dict[str, Constraint]:
        """What the parameters must be."""

    @abstractmethod
    def _read(self, X: Any, lengths: Any, reset: bool) -> Reading:
        """Observations of the input."""

    def fit(self: Model, X: Any, y: Any = None, *, lengths: Any = None) -> Model:
        """Fit the model from every start, and keep the one of the highest objective.

        Parameters
        ----------
        X
            Points, see the class.
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
            A parameter or the points are not as they must be; there are fewer points than states.
        """
        check_parameters(type(self).__name__, self, self._constraints())
        candidates = candidate_states(self.n_components, self.max_components)
        reading = self._read(X, lengths, True)
        check_labels(y, len(reading.observations.values))
        _check_points(reading.observations, min(candidates))
        observations, units = reading.observations, self._units(reading.observations)
        standard = observations if units is None else units.apply(observations)
        data = _one_group(standard.observed())
        self._learn(data, candidates, units)
        return self

    def _learn(self, data: Grouped, candidates: Sequence[int], units: Units | None) -> None:
        family = self._family(data)
        seed = resolve_seed(self.random_state)
        rules = Rules(self.n_iter, self.tol, self.startprob_prior, self.transmat_prior)

        def fitted(part: Grouped, states: int) -> Fitted:
            return fit_restarts(family, part, states, self.n_init, rules, seed)

        if self.n_components != "auto":
            models = {candidates[0]: fitted(data, candidates[0])}
            states = candidates[0]
        else:
            points = int(data.observations.seen.sum())
            usable = [k for k in candidates if k <= points]
            chosen, models, table = select(family.emission, data, usable, self.criterion, fitted)
            shift = 0.0 if units is None else units.log_density
            self.selection_ = in_units(table, shift, points)
            states = int(chosen[0])
        self._keep(family.emission, data, models[states], units)

    def _keep(self, emission: Emission, data: Grouped, fitted: Fitted, units: Units | None) -> None:
        maximum, chosen = fitted.maximum, int(fitted.best[0])
        parameters = ordered(fitted.parameters, emission.order(fitted.parameters))
        likelihood = float(point_scores(emission, data, parameters).sum())
        shift = 0.0 if units is None else units.log_density
        self._adopt(parameters, units)
        self.n_components_ = parameters.startprob.shape[1]
        self.startprob_ = parameters.startprob[0].cpu().numpy()
        self.transmat_ = parameters.transmat[0].cpu().numpy()
        self.log_likelihood_ = likelihood + shift
        self.n_iter_ = int(maximum.iterations[chosen])
        self.converged_ = bool(maximum.converged[chosen])
        history = maximum.history[chosen] + shift
        self.history_ = history[~history.isnan()].cpu().numpy()
        self.restarts_ = pd.DataFrame(
            {
                "objective": (maximum.objective + shift).cpu().numpy(),
                "n_iter": maximum.iterations.cpu().numpy(),
                "converged": maximum.converged.cpu().numpy(),
            }
        )

    @property
    def _n_features_out(self) -> int:
        return len(self.startprob_)

    # --- what the fitted model says ---------------------------------------------------------------

    def score(self, X: Any, y: Any = None, *, lengths: Any = None) -> float:
        """Log likelihood of all points, as hmmlearn's `score`; higher is better.

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the points are not as they must be.
        """
        emission, parameters, reading = self._ready(X, lengths)
        check_labels(y, len(reading.observations.values))
        data = _one_group(reading.observations)
        return float(point_scores(emission, data, parameters).sum())

    def bic(self, X: Any, *, lengths: Any = None) -> float:
        """Bayesian information criterion, lower is better; irregular for too many states."""
        reading = self._ready(X, lengths)[2]
        points = int(reading.observations.seen.sum())
        return float(np.log(points)) * self.n_parameters - 2 * self.score(X, lengths=lengths)

    def aic(self, X: Any, *, lengths: Any = None) -> float:
        """Akaike information criterion, lower is better; it tends to take too many states."""
        return 2.0 * self.n_parameters - 2 * self.score(X, lengths=lengths)

    @property
    def n_parameters(self) -> int:
        """Free parameters of the fitted model."""
        check_is_fitted(self, "startprob_")
        emission, parameters = self._known()
        return parameters.free + emission.free(parameters)

    def decode(self, X: Any, *, lengths: Any = None) -> tuple[float, NDArray[np.int64]]:
        """Log density of the most probable states and the points, and these states (Viterbi).

        Returns
        -------
        log_probability, states
            The sum over sequences, and a state for each row.
        """
        emission, parameters, reading = self._ready(X, lengths)
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

        return self._each_point(X, lengths, smooth)

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

        return self._each_point(X, lengths, causal)

    def transform(self, X: Any, *, lengths: Any = None) -> Floats:
        """Causal features, `filter_proba`: a column for each state, which add up to one.

        The first rows of new data do not know of those before; see there.
        """
        return self.filter_proba(X, lengths=lengths)

    def fit_transform(self, X: Any, y: Any = None, *, lengths: Any = None) -> Any:
        """Fit, then transform the same points."""
        return self.fit(X, y, lengths=lengths).transform(X, lengths=lengths)

    def sample(
        self, n_samples: int = 1, random_state: int | None = None
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Draw one sequence.

        Returns
        -------
        points, states
            Of shape (n_samples, feature) and (n_samples,).
        """
        check_is_fitted(self, "startprob_")
        check_integer("n_samples", n_samples)
        _, parameters = self._known()
        seed = resolve_seed(self.random_state if random_state is None else random_state)
        generator = torch.Generator().manual_seed(seed)
        states = sample_states(parameters.startprob, parameters.transmat, n_samples, generator)
        drawn = states[0].numpy()
        return self._draw(drawn, seed + 1), drawn

    def get_stationary_distribution(self) -> Floats:
        """Share of the time that the chain spends in each state, in the long run."""
        check_is_fitted(self, "startprob_")
        return stationary(torch.from_numpy(np.asarray(self.transmat_))[None])[0].numpy()

    def _ready(self, X: Any, lengths: Any) -> tuple[Emission, Parameters, Reading]:
        check_is_fitted(self, "startprob_")
        reading = self._read(X, lengths, False)
        emission, parameters = self._known()
        check_chain(parameters)
        return emission, parameters, reading

    def _each_point(
        self, X: Any, lengths: Any, ask: Callable[[Parameters, Tensor, Tensor], Tensor]
    ) -> Floats:
        emission, parameters, reading = self._ready(X, lengths)
        states = parameters.startprob.shape[1]
        result: Float[Tensor, "time state"] = torch.empty(
            len(reading.observations.values), states, dtype=torch.float64
        )
        for block in reading.observations.blocks(4 * states):
            mine = take(parameters, torch.zeros_like(block.lengths))
            density = emission.log_density(mine, block.values)
            where, values = block.flatten(ask(mine, density, block.lengths))
            result[where.cpu()] = values.double().cpu()
        return reading.restore(result)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _device(self) -> torch.device:
        return resolve_device(self.device)

    def _model(self, *arrays: Any) -> list[Tensor]:
        """Arrays as float64 tensors of a batch of one model."""
        device = self._device()
        return [torch.from_numpy(np.array(a, dtype=np.float64))[None].to(device) for a in arrays]

    def _observations(self, X: Any, lengths: Any, reset: bool, whole: bool) -> Reading:
        return read_observations(self, X, lengths, reset=reset, device=self._device(), whole=whole)


def _one_group(observations: Observations) -> Grouped:
    device = observations.offsets.device
    return Grouped(observations, torch.zeros(len(observations), dtype=torch.int64, device=device))


def _check_points(observations: Observations, states: int) -> None:
    known = int(observations.seen.sum())
    if known < states:
        raise ValueError(
            f"n_components must be at most the number of observed points; got {states} with "
            f"{known} of n_samples={len(observations.values)}. Lower it, or give more points."
        )
