"""SpaceTime: companion state-space layers that forecast any horizon in closed loop."""

from collections.abc import Sequence
from typing import ClassVar, Literal, cast

import torch
from sklearn.utils.validation import check_is_fitted

from tsar.data.panel import Columns, Panel
from tsar.data.windows import Windows
from tsar.forecasters.neural import NeuralForecaster
from tsar.forecasters.spacetime.joint import with_series_as_covariates
from tsar.forecasters.spacetime.layers import Stability
from tsar.forecasters.spacetime.module import Init, SpaceTimeModule
from tsar.forecasters.spacetime.preprocessing import N_FILTERS
from tsar.forecasters.spacetime.stream import Stream
from tsar.nn.module import ForecastModule
from tsar.nn.normalization import Normalization
from tsar.training import Training
from tsar.validation import (
    BOOLEAN,
    FRACTION,
    NONNEGATIVE,
    QUANTILE_LEVELS,
    Constraint,
    check_parameters,
    integer,
    one_of,
)


class SpaceTime(NeuralForecaster):
    """Companion state-space layers; the last one forecasts its own inputs, so runs in closed loop.

    One fitted model forecasts any horizon. Its recurrences are stable for every value of the
    weights. Training starts from a stable autoregression, fitted in closed form.

    Parameters
    ----------
    context_length
        Points of a context.
    horizon
        Points that the loss looks ahead; forecasts may be longer.
    state_size
        Order of the recurrences: number of lags that each channel keeps; one season or several.
    width
        Number of channels, a multiple of 8.
    depth
        Number of companion layers before the closed-loop one.
    normalization
        What is subtracted from each context and added to its forecast: ``"mean"``, ``"last"``
        (value), ``"standardize"`` (mean, and division by the standard deviation) or ``"none"``.
    stability
        ``"reflection"``: all stable recurrences can be learned. ``"l1"``: as in the paper, the
        absolute coefficients sum to 1; from random weights only.
    unit_roots
        Additional roots at 1 of the closed-loop layer: 1 keeps a level, 2 a trend. With
        ``init="random"`` only, as is ``stability="l1"``, which has a root at 1 of its own where all
        coefficients are positive: with both, forecasts may grow by one more power of time.
    init
        Initial weights. ``"burg"``: the autoregression that Burg's method fits. ``"arma"``: the one
        with moving averages that the method of Hannan and Rissanen fits, exact without noise.
        ``"random"``: random weights, and recurrences without memory.
    dropout
        Fraction of the channels that are dropped at random in training.
    joint
        Whether each series also has all others as input channels, with weights of its own; the
        series must begin and end together. Memory grows with the square of their number.
    one_step_weight, input_weight
        Weights of two auxiliary losses: of one-step forecasts within the context, and of the next
        inputs of the closed-loop layer.
    loss
        ``"mse"`` or ``"quantile"``.
    quantile_levels
        Levels in (0, 1) that ``loss="quantile"`` fits, 0.5 among them.
    training
        Options of training; None for `Training()`.
    columns
        Names and roles of the columns of frames; past and future covariates are input channels.
    inference_batch_size
        Contexts forecast at once, fewer where memory runs out; it does not affect the result.
    device, random_state, verbose
        ``"auto"``, ``"cpu"``, ...; seed of the weights and of the order of the training windows;
        above 0: show a progress bar.

    Attributes
    ----------
    module_
        The fitted network.
    n_parameters_
        Number of trained parameters.
    history_
        Training and validation loss of each epoch, indexed by epoch (frame).
    scaling_
        Mean and standard deviation of each series.
    context_
        The newest points of each series (panel).

    References
    ----------
    Zhang et al. 2023, "Effectively Modeling Time Series with Simple Discrete State Spaces"
    (arXiv 2303.09489).

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import SpaceTime
    >>> wave = np.sin(np.arange(300) * 2 * np.pi / 20)
    >>> model = SpaceTime(60, horizon=20, state_size=20, width=8, random_state=0).fit(wave)
    >>> model.predict(horizon=100).shape
    (100,)
    """

    uses: ClassVar[frozenset[str]] = frozenset({"past", "future"})

    def __init__(
        self,
        context_length: int = 336,
        *,
        horizon: int = 24,
        state_size: int = 64,
        width: int = 64,
        depth: int = 1,
        normalization: Normalization = "mean",
        stability: Stability = "reflection",
        unit_roots: int = 0,
        init: Init = "burg",
        dropout: float = 0.1,
        joint: bool = False,
        one_step_weight: float = 0.1,
        input_weight: float = 0.1,
        loss: Literal["mse", "quantile"] = "mse",
        quantile_levels: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
        training: Training | None = None,
        columns: Columns | None = None,
        inference_batch_size: int = 1024,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.context_length = context_length
        self.horizon = horizon
        self.state_size = state_size
        self.width = width
        self.depth = depth
        self.normalization = normalization
        self.stability = stability
        self.unit_roots = unit_roots
        self.init = init
        self.dropout = dropout
        self.joint = joint
        self.one_step_weight = one_step_weight
        self.input_weight = input_weight
        self.loss = loss
        self.quantile_levels = quantile_levels
        self.training = training
        self.columns = columns
        self.inference_batch_size = inference_batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def stream(self) -> Stream:
        """Return a stream: forecasts updated point by point, in microseconds each.

        Returns
        -------
        Stream
            It has read the newest `context_length` points of each fitted series, in the order of
            their ids. ``push(points)`` reads one more point of each and forecasts the next one;
            ``forecast(horizon)`` forecasts any number. A missing point counts as the one before it,
            the newest too. Unlike `update` and `predict`, which read the newest `context_length`
            points, a stream discards none.

        Raises
        ------
        NotFittedError, ValueError
            `fit` was not called; the normalization is not ``"none"``, or there are covariates.
        """
        check_is_fitted(self, "context_")
        module = cast(SpaceTimeModule, self.module_)
        stream = Stream(module, self.scaling_.mean, self.scaling_.deviation)
        panel = self.context_
        windows = Windows.at(panel, self.context_length, 0, torch.arange(len(panel)), panel.lengths)
        for points in windows.batch(slice(None)).context.values.T.numpy():
            stream.push(points)
        return stream

    def _prepare(self, panel: Panel) -> Panel:
        if not self.joint:
            return panel
        return with_series_as_covariates(panel, getattr(self, "context_", panel).labels.ids)

    def _needs_frame(self) -> str | None:
        return "all series, for joint=True" if self.joint else super()._needs_frame()

    def _build(self) -> ForecastModule:
        check_parameters("SpaceTime", self, CONSTRAINTS)
        if self.init != "random" and (self.stability == "l1" or self.unit_roots):
            raise ValueError(
                "init must be 'random' with stability='l1' or unit_roots, which no "
                f"autoregression is fitted to; got {self.init!r}. Set it."
            )
        columns, series = self._columns(), len(self.scaling_.mean)
        return SpaceTimeModule(
            self.context_length,
            self.horizon,
            state_size=self.state_size,
            width=self.width,
            depth=self.depth,
            normalization=self.normalization,
            stability=self.stability,
            unit_roots=self.unit_roots,
            init=self.init,
            dropout=self.dropout,
            past=len(columns.past) + (series if self.joint else 0),
            future=len(columns.future),
            groups=series if self.joint else 1,
            levels=tuple(self.quantile_levels) if self.loss == "quantile" else (),
            one_step_weight=self.one_step_weight,
            input_weight=self.input_weight,
        )


CONSTRAINTS: dict[str, Constraint] = {
    "state_size": integer(1),
    "width": Constraint(
        lambda width: integer(N_FILTERS).is_met(width) and width % N_FILTERS == 0,
        f"a multiple of {N_FILTERS}",
    ),
    "depth": integer(0),
    "normalization": one_of(("mean", "last", "standardize", "none")),
    "stability": one_of(("reflection", "l1")),
    "unit_roots": Constraint(lambda roots: integer(0).is_met(roots) and roots <= 2, "0, 1 or 2"),
    "init": one_of(("burg", "arma", "random")),
    "dropout": FRACTION,
    "joint": BOOLEAN,
    "one_step_weight": NONNEGATIVE,
    "input_weight": NONNEGATIVE,
    "loss": one_of(("mse", "quantile")),
    "quantile_levels": QUANTILE_LEVELS,
}
