"""CategoricalHMM: a hidden Markov model with probabilities of symbols for each discrete state."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tsar.hmm.discrete.emissions import Categorical
from tsar.hmm.discrete.estimator import DISCRETE, DiscreteHMM
from tsar.hmm.discrete.parameters import CategoricalParameters
from tsar.hmm.discrete.selection import Criterion
from tsar.hmm.inputs import ParsedInput, read_observations
from tsar.hmm.observations import Observations
from tsar.hmm.standardization import Standardization
from tsar.validation import POSITIVE, Constraint, integer, optional

Floats = NDArray[np.float64]
MAX_SYMBOLS = 1000  # without n_features (or 10 per point): each state has a probability of each


class CategoricalHMM(DiscreteHMM):
    """Hidden Markov model of symbols: integers from 0 in one column. NaN (missing) is summed out.

    Parameters
    ----------
    n_components
        Number of hidden states; ``"auto"``: chosen among 1 to `max_components` by `criterion`.
    n_features
        Number of symbols; None for one more than the largest in `fit`.
    max_components, criterion, n_init, n_iter, tol, device, random_state, verbose
        See `GaussianHMM`.
    startprob_prior, transmat_prior, emissionprob_prior
        Parameters of Dirichlet priors of the start, transition and emission probabilities; 1 for
        none.

    Attributes
    ----------
    emissionprob_
        Probability of each symbol (column) in each state. States are ordered by their mean symbol.
    n_components_, startprob_, transmat_, log_likelihood_, log_likelihoods_, n_iter_, converged_
        See `GaussianHMM`; `history_`, `n_parameters_` and `selection_` too.

    References
    ----------
    Rabiner 1989, "A Tutorial on Hidden Markov Models"; the names are those of hmmlearn.

    Examples
    --------
    A known model (Wikipedia's hidden Markov model): walk, shop or clean, given hidden weather.

    >>> import numpy as np
    >>> from tsar.hmm import CategoricalHMM
    >>> model = CategoricalHMM(2)
    >>> model.startprob_, model.transmat_ = np.array([0.6, 0.4]), np.array([[0.7, 0.3], [0.4, 0.6]])
    >>> model.emissionprob_ = np.array([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]])
    >>> model.n_features_in_ = 1
    >>> model.predict([[0], [1], [2]])
    array([1, 0, 0])
    """

    def __init__(
        self,
        n_components: int | Literal["auto"] = 2,
        *,
        n_features: int | None = None,
        max_components: int = 8,
        criterion: Criterion = "heldout",
        startprob_prior: float = 1.0,
        transmat_prior: float = 1.0,
        emissionprob_prior: float = 1.0,
        n_init: int = 5,
        n_iter: int = 100,
        tol: float = 1e-2,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.n_features = n_features
        self.max_components = max_components
        self.criterion = criterion
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.emissionprob_prior = emissionprob_prior
        self.n_init = n_init
        self.n_iter = n_iter
        self.tol = tol
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _constraints(self) -> dict[str, Constraint]:
        return CONSTRAINTS

    def _read(self, X: Any, lengths: Any, *, reset: bool) -> ParsedInput:
        device = self._device()
        parsed = read_observations(self, X, lengths, reset=reset, device=device, integers=True)
        values = parsed.observations.values
        if values.shape[1] != 1:
            raise ValueError(
                f"X must have one column of symbols; got {values.shape[1]}. Encode them as one."
            )
        n_symbols = self.n_features if reset else np.shape(self.emissionprob_)[1]
        largest = int(values.nan_to_num(0.0).max())
        limit = max(MAX_SYMBOLS, 10 * len(values))
        if n_symbols is None and largest >= limit:
            raise ValueError(
                f"X must hold symbols below {limit} if n_features is None; got {largest}. Encode "
                "them: sklearn.preprocessing.OrdinalEncoder. Or set n_features."
            )
        if n_symbols is not None and largest >= n_symbols:
            row = int((values[:, 0] == largest).nonzero()[0, 0])
            raise ValueError(
                f"X must hold symbols below {n_symbols}; got {largest}, first in row {row}. Raise "
                "n_features and fit again, or map it to a known symbol."
            )
        return parsed

    def _emission(self, data: Observations) -> Categorical:
        largest = int(data.values.nan_to_num(0.0).max())
        return Categorical(self.n_features or largest + 1, self.emissionprob_prior)

    def _standardization(self, observations: Observations) -> Standardization:
        return Standardization.identity(observations.values)

    def _store_emission(self, parameters: CategoricalParameters, scaling: Standardization) -> None:
        self.emissionprob_ = parameters.emissionprob[0].cpu().numpy()

    def _fitted_model(self) -> tuple[Categorical, CategoricalParameters]:
        tensors = self._tensors(self.startprob_, self.transmat_, self.emissionprob_)
        emission = Categorical(tensors[2].shape[2], self.emissionprob_prior)
        return emission, CategoricalParameters(*tensors)

    def _sample_emissions(self, states: NDArray[np.int64], seed: int) -> Floats:
        uniform = np.random.default_rng(seed).random((len(states), 1))
        edges = np.cumsum(np.asarray(self.emissionprob_), axis=1)[states]
        return (uniform >= edges[:, :-1] / edges[:, -1:]).sum(axis=1, keepdims=True).astype(float)


CONSTRAINTS: dict[str, Constraint] = {
    **DISCRETE,
    "n_features": optional(integer(1)),
    "emissionprob_prior": POSITIVE,
}
