"""GaussianHMM: a hidden Markov model with a normal distribution for each discrete state."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsar.hmm.discrete.estimator import DISCRETE, DiscreteHMM
from tsar.hmm.discrete.gaussian_emissions import DiagonalGaussian, FullGaussian, GaussianEmission
from tsar.hmm.discrete.parameters import GaussianParameters
from tsar.hmm.discrete.selection import Criterion
from tsar.hmm.observations import Observations
from tsar.hmm.standardization import Standardization
from tsar.validation import FINITE, NONNEGATIVE, POSITIVE, Constraint, one_of

Floats = NDArray[np.float64]


class GaussianHMM(DiscreteHMM):
    """Hidden Markov model with Gaussian emissions; missing points and features are integrated out.

    Parameters
    ----------
    n_components
        Number of hidden states; ``"auto"``: chosen among 1 to `max_components` by `criterion`.
    covariance_type
        ``"diag"``: a variance for each feature and state; ``"full"``: a covariance for each state;
        ``"tied"``: one covariance for all states.
    max_components
        Maximum number of states with ``"auto"``.
    criterion
        ``"heldout"``: the fewest states whose one-step log density of the newest fifth of the
        observed points is within a standard error of the best (one state where that fifth is less
        than five points); ``"bic"``, ``"icl"``, ``"aic"``: information criteria, of which AIC tends
        to choose too many states.
    min_covar
        Minimum variance (eigenvalue of a covariance), in units of each feature's variance over all
        points. The unit is ``(2 * IQR) ** 2`` instead, here and below, for a feature whose outliers
        inflate the standard deviation above twice the IQR. Outliers may still get a state of their
        own.
    startprob_prior, transmat_prior
        Parameters of Dirichlet priors of the start and transition probabilities; 1 for none.
    means_prior, means_weight
        Mean of a normal prior of the means, in standard deviations of a feature from its mean, and
        its weight in points.
    covars_prior, covars_weight
        Scale of an inverse Wishart prior of the covariances, in units of each feature's variance,
        and its shape.
    n_init
        Number of starts, all fitted in one batch; the best is kept.
    n_iter, tol
        Maximum number of EM iterations; EM ends when the objective gains less than `tol`.
    device
        ``"cpu"``, ``"cuda"``, or ``"auto"``: where to compute.
    random_state
        Seed of the starts and of `sample`.
    verbose
        Above 0: show a progress bar if a fit takes longer than a second.

    Attributes
    ----------
    n_components_
        Number of states. They are ordered by their mean in the first feature.
    startprob_, transmat_
        Probability of each state at the start; transition probabilities from each state (row) to
        each (column).
    means_, covars_
        Means (state, feature); variances (state, feature), covariances (state, feature, feature),
        or one covariance (feature, feature), in units of the data.
    log_likelihood_, log_likelihoods_
        Log-likelihood of the training points, of the start that was kept; of every start (array).
    n_iter_, converged_
        Number of EM iterations of the start that was kept; whether it converged.
    history_
        Penalized log-likelihood (log-likelihood plus log density of the priors) before each of
        these iterations (frame).
    n_parameters_
        Number of free parameters.
    selection_
        Criterion of each number of states with ``"auto"`` (frame).

    References
    ----------
    Rabiner 1989, "A Tutorial on Hidden Markov Models"; the names are those of hmmlearn.

    Examples
    --------
    >>> import numpy as np
    >>> from tsar.hmm import GaussianHMM
    >>> calm, volatile = np.random.default_rng(0).normal(size=(2, 200))
    >>> series = np.concatenate([calm, 8 + 3 * volatile])
    >>> model = GaussianHMM(2, random_state=0).fit(series[:, None])
    >>> model.means_.round(1)
    array([[0. ],
           [7.7]])
    >>> model.filter_proba([[0.1], [9.0], [7.0]]).round(2)
    array([[1., 0.],
           [0., 1.],
           [0., 1.]])
    """

    def __init__(
        self,
        n_components: int | Literal["auto"] = 2,
        covariance_type: Literal["diag", "full", "tied"] = "diag",
        *,
        max_components: int = 8,
        criterion: Criterion = "heldout",
        min_covar: float = 1e-8,
        startprob_prior: float = 1.0,
        transmat_prior: float = 1.0,
        means_prior: float = 0.0,
        means_weight: float = 0.0,
        covars_prior: float = 1e-5,
        covars_weight: float = 1.0,
        n_init: int = 5,
        n_iter: int = 100,
        tol: float = 1e-2,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.max_components = max_components
        self.criterion = criterion
        self.min_covar = min_covar
        self.startprob_prior = startprob_prior
        self.transmat_prior = transmat_prior
        self.means_prior = means_prior
        self.means_weight = means_weight
        self.covars_prior = covars_prior
        self.covars_weight = covars_weight
        self.n_init = n_init
        self.n_iter = n_iter
        self.tol = tol
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _constraints(self) -> dict[str, Constraint]:
        return CONSTRAINTS

    def _emission(self, data: Observations) -> GaussianEmission:
        return self._gaussian(self.min_covar)

    def _gaussian(self, min_covar: float) -> GaussianEmission:
        priors = self.means_prior, self.means_weight, self.covars_prior, self.covars_weight
        if self.covariance_type == "diag":
            return DiagonalGaussian(*priors, min_covar)
        return FullGaussian(*priors, min_covar, tied=self.covariance_type == "tied")

    def _standardization(self, observations: Observations) -> Standardization:
        return Standardization.fit(observations.values)

    def _store_emission(self, parameters: GaussianParameters, scaling: Standardization) -> None:
        self.means_ = (parameters.means[0] * scaling.scale + scaling.center).cpu().numpy()
        square = scaling.scale.square()
        if self.covariance_type != "diag":
            square = scaling.scale[:, None] * scaling.scale
        covars = parameters.covars[0] * square
        self.covars_ = (covars[0] if self.covariance_type == "tied" else covars).cpu().numpy()

    def _fitted_model(self) -> tuple[GaussianEmission, GaussianParameters]:
        means, covars = np.asarray(self.means_), np.asarray(self.covars_)
        if self.covariance_type == "tied":
            covars = np.broadcast_to(covars, (len(means), *covars.shape))
        tensors = self._tensors(self.startprob_, self.transmat_, means, covars)
        return self._gaussian(0.0), GaussianParameters(*tensors)

    def _sample_emissions(self, states: NDArray[np.int64], seed: int) -> Floats:
        generator = np.random.default_rng(seed)
        means = np.asarray(self.means_)
        noise = generator.normal(size=(len(states), means.shape[1]))
        if self.covariance_type == "diag":
            return means[states] + noise * np.sqrt(np.asarray(self.covars_))[states]
        covars = np.broadcast_to(self.covars_, (len(means), means.shape[1], means.shape[1]))
        factor = np.linalg.cholesky(covars)
        return means[states] + np.einsum("tij,tj->ti", factor[states], noise)


CONSTRAINTS: dict[str, Constraint] = {
    **DISCRETE,
    "covariance_type": one_of(("diag", "full", "tied")),
    "min_covar": POSITIVE,
    "means_prior": FINITE,
    "means_weight": NONNEGATIVE,
    "covars_prior": NONNEGATIVE,
    "covars_weight": NONNEGATIVE,
}
