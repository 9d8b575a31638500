"""BaseHMM: input, fitting, scores and samples that all estimators of hidden Markov models share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import log
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

from tsar.hmm.em import EMResult
from tsar.hmm.inputs import ParsedInput, check_labels, read_observations
from tsar.hmm.observations import Block, Observations
from tsar.hmm.selection import candidate_states, in_units
from tsar.hmm.standardization import Standardization
from tsar.runtime.devices import resolve_device
from tsar.runtime.seeds import resolve_seed
from tsar.saving import Savable
from tsar.validation import NONNEGATIVE, Constraint, check_integer, check_parameters, integer

# Constraints of the parameters that all estimators have.
SHARED: dict[str, Constraint] = {
    "max_components": integer(1),
    "n_init": integer(1),
    "n_iter": integer(1),
    "tol": NONNEGATIVE,
    "verbose": integer(0),
}
# Not typing.Self: a checker of shapes sees a method without its class.
Model = TypeVar("Model", bound="BaseHMM")
Floats = NDArray[np.float64]


class BaseHMM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Savable, ABC):
    """A hidden Markov model, fitted by expectation-maximization from several starts at once.

    `X` is an array or frame (point, feature) with NaN where missing, and `lengths` the number of
    points of each sequence in it; or a long frame with the columns of `tsar.Columns`, or a panel.

    A subclass implements the abstract methods and properties, and overrides nothing else but
    `_read`, where it accepts fewer inputs. Fitting calls `_constraints`, `_read`, `_capacity`,
    `_standardization`, `_learn` and `_store`, in this order; inference reads the fitted attributes
    alone, so that a model whose attributes were set by hand works like a fitted one.
    """

    n_components: Any
    max_components: int
    criterion: Any
    n_init: int
    n_iter: int
    tol: float
    device: str
    random_state: int | None
    verbose: int

    # --- hooks ------------------------------------------------------------------------------------

    @abstractmethod
    def _constraints(self) -> dict[str, Constraint]:
        """Constraints of the parameters, those of `SHARED` among them."""

    @abstractmethod
    def _capacity(self, observations: Observations) -> int:
        """Largest number of states that the observations can be fitted with."""

    @abstractmethod
    def _standardization(self, observations: Observations) -> Standardization:
        """Location and scale of each feature; the model is fitted to standardized observations."""

    @abstractmethod
    def _learn(
        self, data: Observations, candidates: Sequence[int], seed: int
    ) -> tuple[Any, pd.DataFrame | None]:
        """Fit all starts; choose among several numbers of states if `n_components` is "auto".

        Returns
        -------
        models, table
            Models of every start for one number of states, passed on to `_store`; the table of all
            candidates with "auto", else None.
        """

    @abstractmethod
    def _store(self, models: Any, data: Observations, scaling: Standardization) -> None:
        """Set the fitted attributes in the units of the input; call `_store_fit`."""

    @abstractmethod
    def _log_likelihood(self, observations: Observations) -> float:
        """Log likelihood of all sequences by the fitted attributes."""

    @abstractmethod
    def _sample(self, n_samples: int, seed: int) -> tuple[Floats, NDArray[Any]]:
        """Points and states of one sequence."""

    @property
    @abstractmethod
    def n_parameters_(self) -> int:
        """Number of free parameters of the fitted model."""

    @property
    @abstractmethod
    def _n_features_out(self) -> int:
        """Number of columns of `transform`."""

    @abstractmethod
    def transform(self, X: Any, *, lengths: Any = None) -> Floats:
        """Causal features of each point: state estimates given the points up to it."""

    def _read(self, X: Any, lengths: Any, *, reset: bool) -> ParsedInput:
        """Observations of the input; with `reset` the features are learned, else compared."""
        return read_observations(self, X, lengths, reset=reset, device=self._device())

    # --- fitting ----------------------------------------------------------------------------------

    def fit(self: Model, X: Any, y: Any = None, *, lengths: Any = None) -> Model:
        """Fit the model from every start, and keep the start with the highest objective.

        Parameters
        ----------
        X
            Points: an array or frame of shape (point, feature), NaN where missing; a long frame
            with an id, a time and a target (a sequence for each series); or a `Panel`. A sequence
            without an observation is skipped.
        y
            Ignored; there for scikit-learn's pipelines.
        lengths
            Number of points of each sequence of an array, in order; None for one sequence.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter, the lengths or the points are invalid; there are more states than points.
        """
        check_parameters(type(self).__name__, self, self._constraints())
        candidates = candidate_states(self.n_components, self.max_components)
        observations = self._read(X, lengths, reset=True).observations
        check_labels(y, len(observations.values))
        capacity = self._capacity(observations)
        if min(candidates) > capacity:
            raise ValueError(
                f"n_components must be at most {capacity} for these observations; got "
                f"{min(candidates)} with n_samples={len(observations.values)}. Lower it, or give "
                "more points."
            )
        scaling = self._standardization(observations)
        data = scaling.transform(observations).drop_empty()
        usable = [states for states in candidates if states <= capacity]
        models, table = self._learn(data, usable, resolve_seed(self.random_state))
        self.__dict__.pop("selection_", None)  # of an earlier fit
        if table is not None:
            self.selection_ = in_units(table, scaling.log_jacobian, int(data.observed.sum()))
        self._store(models, data, scaling)
        return self

    def _store_fit(
        self,
        result: EMResult[Any],
        best: int,
        log_likelihoods: Float[Tensor, " start"],
        scaling: Standardization,
    ) -> None:
        """Set the attributes that describe the fit, given the log likelihood of each start."""
        self.log_likelihoods_ = (log_likelihoods + scaling.log_jacobian).cpu().numpy()
        self.log_likelihood_ = float(self.log_likelihoods_[best])
        self.n_iter_ = int(result.n_iter[best])
        self.converged_ = bool(result.converged[best])
        history = result.history[best, : self.n_iter_] + scaling.log_jacobian
        self.history_ = pd.DataFrame(
            {"log_likelihood": history.cpu().numpy()},
            pd.RangeIndex(1, self.n_iter_ + 1, name="iteration"),
        )

    def fit_transform(self, X: Any, y: Any = None, *, lengths: Any = None) -> Any:
        """Fit, then transform the same points: see `fit` and `transform`."""
        return self.fit(X, y, lengths=lengths).transform(X, lengths=lengths)

    # --- inference --------------------------------------------------------------------------------

    def score(self, X: Any, y: Any = None, *, lengths: Any = None) -> float:
        """Log likelihood of all points (their sum, not their mean), as hmmlearn's `score`.

        Parameters are as for `fit`. A sequence without any observation adds 0.

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the points are invalid.
        """
        observations = self._read_fitted(X, lengths).observations
        check_labels(y, len(observations.values))
        return self._log_likelihood(observations)

    def bic(self, X: Any, *, lengths: Any = None) -> float:
        """Bayesian information criterion, lower is better; irregular for too many states.

        A point is counted if one of its features is observed.
        """
        observations = self._read_fitted(X, lengths).observations
        nobs = int(observations.observed.sum())
        return log(nobs) * self.n_parameters_ - 2 * self._log_likelihood(observations)

    def aic(self, X: Any, *, lengths: Any = None) -> float:
        """Akaike information criterion, lower is better; it tends to choose too many states."""
        return 2.0 * self.n_parameters_ - 2 * self.score(X, lengths=lengths)

    def sample(
        self, n_samples: int = 1, random_state: int | None = None
    ) -> tuple[Floats, NDArray[Any]]:
        """Sample one sequence.

        Parameters
        ----------
        n_samples
            Number of points, at least 1.
        random_state
            Seed; None for that of the estimator.

        Returns
        -------
        points, states
            Points of shape (n_samples, feature), and the state of each.
        """
        check_is_fitted(self)
        check_integer("n_samples", n_samples)
        seed = resolve_seed(self.random_state if random_state is None else random_state)
        return self._sample(n_samples, seed)

    def _read_fitted(self, X: Any, lengths: Any) -> ParsedInput:
        check_is_fitted(self)
        return self._read(X, lengths, reset=False)

    def _each_point(
        self, parsed: ParsedInput, columns: int, width: int, infer: Callable[[Block], Tensor]
    ) -> Floats:
        """Results of each point, in the order of the input's rows.

        `infer` computes the results (sequence, time, column) of a block, and needs `width` float64
        for each point.
        """
        observations = parsed.observations
        result: Float[Tensor, "time column"] = torch.empty(
            len(observations.values), columns, dtype=torch.float64
        )
        for block in observations.blocks(width):
            rows, values = block.unpad(infer(block))
            result[rows.cpu()] = values.double().cpu()
        return parsed.to_input_order(result)

    def _device(self) -> torch.device:
        return resolve_device(self.device)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
