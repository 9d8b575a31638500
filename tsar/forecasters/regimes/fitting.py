"""Fit Markov-switching models to many series at once, with as many regimes as each one supports."""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.forecasters.regimes.inference import EMISSION, MIN_PROBABILITY, stationary_probabilities
from tsar.forecasters.regimes.season import deseasonalize
from tsar.hmm.discrete.fitting import EMOptions, FittedModels, fit_restarts, predicted_means
from tsar.hmm.discrete.gaussian_emissions import DiagonalGaussian
from tsar.hmm.discrete.parameters import GaussianParameters, reorder_states
from tsar.hmm.discrete.selection import Criterion, select_n_components
from tsar.hmm.discrete.sequence_groups import SequenceGroups
from tsar.hmm.em import select_models
from tsar.hmm.observations import Observations
from tsar.hmm.robust_scale import RobustScaling, group_means
from tsar.records import record

GaussianModels = FittedModels[GaussianParameters]
VARIANCE_PRIOR = 1e-5  # scale of the prior of variances, as a share of each series' variance
MIN_POINTS_PER_STATE = 5  # of a series, where the number of states is selected
CONSTANT_VARIANCE = 1e-150  # of a constant series


@record("regime_models")
@dataclass(frozen=True)
class RegimeModels:
    """Markov-switching models in standardized units, padded to one number of states.

    States are ordered by their means. Padded states have probability zero, mean 0 and variance 1,
    and lead to themselves only.

    Attributes
    ----------
    startprob, transmat
        Initial and transition probabilities.
    means, variances
        Of each state, in units of the standard deviation of a series around its mean.
    n_components
        States of each model.
    differences
        1 for a model of first differences, 0 for one of levels.
    scaling
        Mean and standard deviation of each series, or of its differences.
    """

    startprob: Float[Tensor, "model state"]
    transmat: Float[Tensor, "model state state"]
    means: Float[Tensor, "model state"]
    variances: Float[Tensor, "model state"]
    n_components: Int[Tensor, " model"]
    differences: Int[Tensor, " model"]
    scaling: Scaling

    @property
    def is_global(self) -> bool:
        """Whether there is one model for several series."""
        return len(self.startprob) < len(self.scaling.mean)

    def stationary(
        self, rows: Int[Tensor, " row"], device: torch.device
    ) -> tuple[GaussianParameters, Bool[Tensor, "row state"]]:
        """Models of some rows, which begin with their stationary distribution, on a device.

        So contexts may begin at any time. Also which states each model has; densities of the others
        must be masked.
        """
        used, index = rows.unique(return_inverse=True)
        transmat = self.transmat[used]
        startprob, has_state = stationary_probabilities(transmat, self.n_components[used])
        parts = (
            startprob.clamp(min=MIN_PROBABILITY),
            transmat.clamp(min=MIN_PROBABILITY),
            self.means[used, :, None],
            self.variances[used, :, None],
        )
        models = GaussianParameters(*(part[index].to(device) for part in parts))
        return models, has_state[index].to(device)

    def in_data_units(
        self, rows: Int[Tensor, " series"]
    ) -> tuple[Float[Tensor, "series state"], Float[Tensor, "series state"]]:
        """Means and variances of each series, whose model is in `rows`; NaN for padded states."""
        padded = torch.arange(self.means.shape[1]) >= self.n_components[rows, None]
        mean, std = self.scaling.mean[:, None], self.scaling.deviation[:, None]
        means, variances = self.means[rows] * std + mean, self.variances[rows] * std.square()
        return means.masked_fill(padded, torch.nan), variances.masked_fill(padded, torch.nan)

    def select(self, rows: Int[Tensor, " row"]) -> "RegimeModels":
        """Models of some series, each of which has its own."""
        chosen = {name: value[rows] for name, value in self._tensors().items()}
        return RegimeModels(**chosen, scaling=self.scaling.select(rows))

    def put(self, rows: Int[Tensor, " row"], others: "RegimeModels") -> "RegimeModels":
        """Replace some models, and the scaling of their series, by as many others."""
        n_states = max(self.means.shape[1], others.means.shape[1])
        padded, new = self._padded(n_states), others._padded(n_states)._tensors()
        tensors = {k: value.index_copy(0, rows, new[k]) for k, value in padded._tensors().items()}
        local = not self.is_global
        scaling = self.scaling.replace_rows(rows, others.scaling) if local else others.scaling
        return RegimeModels(**tensors, scaling=scaling)

    def _padded(self, n_states: int) -> "RegimeModels":
        more = n_states - self.means.shape[1]
        transmat = pad(self.transmat, (0, more, 0, more))
        transmat.diagonal(dim1=1, dim2=2)[:, n_states - more :] = 1.0
        return replace(
            self,
            startprob=pad(self.startprob, (0, more)),
            transmat=transmat,
            means=pad(self.means, (0, more)),
            variances=pad(self.variances, (0, more), value=1.0),
        )

    def _tensors(self) -> dict[str, Tensor]:
        names = [field.name for field in fields(self) if field.name != "scaling"]
        return {name: getattr(self, name) for name in names}


class RegimeFit(NamedTuple):
    """Fitted models, the data that they were fitted to, and the scores of the candidates.

    `data` is standardized and deseasonalized; `selection` is None where nothing was selected.
    """

    models: RegimeModels
    data: SequenceGroups
    selection: pd.DataFrame | None

    @property
    def series(self) -> Int[Tensor, " time"]:
        """Series of each point."""
        lengths = self.data.observations.lengths.cpu()
        return torch.arange(len(lengths)).repeat_interleave(lengths)

    def one_step_errors(self) -> Float[Tensor, " time"]:
        """Absolute error of each point, in data units.

        The prediction is the mean of the regime that is most probable given the points before.
        """
        device = self.data.group.device
        models, _ = self.models.stationary(torch.arange(len(self.models.means)), device)
        predicted = predicted_means(EMISSION, self.data, models)
        errors = (self.data.observations.values[:, 0] - predicted).abs().cpu()
        return errors * self.models.scaling.deviation[self.series]

    def select(self, rows: Int[Tensor, " row"]) -> "RegimeFit":
        """Fit of some series, each of which has its own model."""
        device = self.data.group.device
        groups = torch.arange(len(rows), device=device)
        data = SequenceGroups(self.data.observations.select(rows.to(device)), groups)
        selection = self.selection
        if selection is not None:
            position = {row: k for k, row in enumerate(rows.tolist())}
            selection = selection[selection["group"].isin(position)]
            selection = selection.assign(group=selection["group"].map(position))
        return RegimeFit(self.models.select(rows), data, selection)

    def put(self, rows: Int[Tensor, " row"], others: "RegimeFit") -> "RegimeFit":
        """Replace some models, and the scores of their candidates, by as many others."""
        selection = None
        if self.selection is not None and others.selection is not None:
            kept = self.selection[~self.selection["group"].isin(rows.tolist())]
            groups = rows.numpy()[others.selection["group"].to_numpy()]
            both = pd.concat([kept, others.selection.assign(group=groups)])
            selection = both.sort_values("group", kind="stable", ignore_index=True)
        return RegimeFit(self.models.put(rows, others.models), self.data, selection)


@dataclass(frozen=True)
class RegimeFitter:
    """Options of a fit, shared by levels and differences.

    The number of states is selected among `candidates` by the criterion (`select_n_components`);
    None: the only candidate. `is_global`: one model is fitted to all series, not one to each.
    """

    candidates: list[int]
    criterion: Criterion | None
    is_global: bool
    season_length: int
    em_options: EMOptions
    n_init: int
    min_covar: float
    seed: int
    device: torch.device

    def group(self, n_series: int) -> Int[Tensor, " series"]:
        """Model of each series."""
        return torch.arange(n_series) * (not self.is_global)

    def fit(self, panel: Panel, *, differences: int) -> RegimeFit:
        """Fit models to a panel of levels, or of first differences (`differences` of 1)."""
        scaling = Scaling.of(panel)
        standard = scaling.apply(panel)
        values = deseasonalize(standard.values, standard.offsets, self.season_length)[:, None]
        observations = Observations(values.to(self.device), standard.offsets.to(self.device))
        plain = SequenceGroups(observations, self.group(len(panel)).to(self.device))
        data, robust = plain.robust_standardize()
        n_components, fits, selection = self._fit_candidates(data)
        startprob, transmat, means, variances = stack_models(n_components, fits, robust)
        size, _ = group_means(standard.values.abs(), plain.point_group.cpu(), len(n_components))
        variances = variances.masked_fill(size[:, None] == 0, CONSTANT_VARIANCE)
        kind = torch.full_like(n_components, differences)
        models = RegimeModels(startprob, transmat, means, variances, n_components, kind, scaling)
        return RegimeFit(models, plain, selection)

    def _fit_candidates(
        self, data: SequenceGroups
    ) -> tuple[Int[Tensor, " model"], dict[int, GaussianModels], pd.DataFrame | None]:
        """Number of states of each model, the fits by number of states, and their scores."""
        emission = DiagonalGaussian(covars_prior=VARIANCE_PRIOR, min_covar=self.min_covar)
        fits: dict[int, GaussianModels] = {}
        n_components = torch.full((data.n_groups,), self.candidates[0])
        selection = None

        def fit(part: SequenceGroups, states: int) -> GaussianModels:
            return fit_restarts(emission, part, states, self.n_init, self.em_options, self.seed)

        if self.criterion is not None:
            n_components, fits, selection = select_n_components(
                emission, data, self.candidates, self.criterion, fit
            )
        # At most a state per point, or per five points where their number is selected.
        points = data.nobs.cpu() // (1 if self.criterion is None else MIN_POINTS_PER_STATE)
        n_components = torch.minimum(n_components.cpu(), points.clamp(min=1))
        for states in n_components.unique().tolist():
            if states not in fits:
                fits[states] = fit(data, states)
        return n_components, fits, selection


def stack_models(
    n_components: Int[Tensor, " model"],
    fits: dict[int, GaussianModels],
    robust: RobustScaling,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Initial and transition probabilities, means and variances of the best model of each group.

    With the number of states of the group, padded as in `RegimeModels`, in units before `robust`,
    on the CPU.
    """
    n_models, n_states = len(n_components), int(n_components.max())
    startprob = torch.zeros(n_models, n_states, dtype=torch.float64)
    transmat = torch.eye(n_states, dtype=torch.float64).repeat(n_models, 1, 1)
    means, variances = torch.zeros_like(startprob), torch.ones_like(startprob)
    for states, fitted in fits.items():
        rows = (n_components == states).nonzero()[:, 0]
        if not len(rows):  # a candidate that no group selected
            continue
        models = select_models(fitted.parameters, rows.to(fitted.model_group.device))
        models = reorder_states(models, EMISSION.state_order(models))
        startprob[rows, :states] = models.startprob.cpu()
        transmat[rows, :states, :states] = models.transmat.cpu()
        means[rows, :states] = models.means[:, :, 0].cpu()
        variances[rows, :states] = models.covars[:, :, 0].cpu()
    center, scale = (part.cpu()[:, None] for part in robust)
    return startprob, transmat, means * scale + center, variances * scale.square()
