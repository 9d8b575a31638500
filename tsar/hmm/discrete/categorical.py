"""CategoricalHMM: hidden states that each show symbols with probabilities of their own."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tsar.hmm.discrete.emissions import Categorical, Emission
from tsar.hmm.discrete.estimator import DISCRETE, HiddenMarkovModel
from tsar.hmm.discrete.fitting import Grouped
from tsar.hmm.discrete.parameters import Parameters
from tsar.hmm.discrete.restarts import CategoricalFamily
from tsar.hmm.discrete.selection import Criterion
from tsar.hmm.observations import Observations, Reading, Units, read_observations
from tsar.validation import POSITIVE, Constraint, integer, optional

Floats = NDArray[np.float64]
MOST_SYMBOLS = 1000  # that need no saying: each state has a probability for every one


class CategoricalHMM(HiddenMarkovModel):
    """Hidden Markov model of symbols, integers from 0 in one column; NaN is summed out.

    Parameters
    ----------
    n_components
        Hidden states; ``"auto"``: chosen among 1 to `max_components` by `criterion`.
    n_features
        Symbols; None for one more than the largest in `fit`.
    max_components, criterion, n_init, n_iter, tol, device, random_state, verbose
        See `GaussianHMM`.
    startprob_prior, transmat_prior, emissionprob_prior
        Parameters of Dirichlet priors of start, transitions and symbols; 1 for none.

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
    Walk, shop or clean on days that nobody saw (the weather of textbooks), with a model that is
    known:

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

    def _read(self, X: Any, lengths: Any, *, reset: bool) -> Reading:
        device = self._device()
        reading = read_observations(self, X, lengths, reset=reset, device=device, whole=True)
        values = reading.observations.values
        if values.shape[1] != 1:
            raise ValueError(
                f"X must have one column of symbols; got {values.shape[1]}. Encode them as one."
            )
        known = self.n_features if reset else np.shape(self.emissionprob_)[1]
        largest = int(values.nan_to_num(0.0).max())
        if known is None and largest >= max(MOST_SYMBOLS, 10 * len(values)):
            raise ValueError(
                f"X must hold symbols numbered from 0, hardly more than there are points; got "
                f"{largest} with {len(values)} points. Encode them: "
                "sklearn.preprocessing.OrdinalEncoder. Or say n_features, if there are so many."
            )
        if known is not None and largest >= known:
            row = int((values[:, 0] == largest).nonzero()[0, 0])
            raise ValueError(
                f"X must hold symbols below {known}, those that are known; got {largest}, first in "
                f"row {row}. Raise n_features and fit again, or map it to a known symbol."
            )
        return reading

    def _family(self, data: Grouped) -> CategoricalFamily:
        largest = int(data.observations.values.nan_to_num(0.0).max())
        return CategoricalFamily(self._emission(), self.n_features or largest + 1)

    def _emission(self) -> Categorical:
        return Categorical(self.emissionprob_prior)

    def _units(self, observations: Observations) -> Units:
        return Units.identity(observations.values)

    def _adopt(self, parameters: Parameters, units: Units) -> None:
        self.emissionprob_ = parameters.center[0].cpu().numpy()

    def _known(self) -> tuple[Emission, Parameters]:
        start, move, shown = self._model(self.startprob_, self.transmat_, self.emissionprob_)
        return self._emission(), Parameters(start, move, shown, shown[..., :0])

    def _draw(self, states: NDArray[np.int64], seed: int) -> Floats:
        drawn = np.random.default_rng(seed).random((len(states), 1))
        edges = np.cumsum(np.asarray(self.emissionprob_), axis=1)[states]
        return (drawn >= edges[:, :-1] / edges[:, -1:]).sum(axis=1, keepdims=True).astype(float)


CONSTRAINTS: dict[str, Constraint] = {
    **DISCRETE,
    "n_features": optional(integer(1)),
    "emissionprob_prior": POSITIVE,
}
