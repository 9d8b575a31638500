"""NLinear and DLinear: linear maps from context to horizon (Zeng et al. 2023)."""

from jaxtyping import Float
from torch import Tensor, nn

from tsar.data.batch import Batch, Context
from tsar.data.panel import Columns
from tsar.forecasters.neural import NeuralForecaster
from tsar.nn.module import ForecastModule, fill_target, masked_mean
from tsar.nn.normalization import last_observed, moving_average, moving_average_matrix
from tsar.training import Training


class NLinear(NeuralForecaster):
    """Linear map of the context minus its last value; that value is added to the forecast.

    Beyond `horizon`, forecasts become the context. All series share one map, each scaled by its own
    mean and standard deviation.

    Parameters
    ----------
    context_length
        Points of a context.
    horizon
        Points of one forecast.
    training
        Options of training; None for `Training()`.
    columns
        Names and roles of the columns of frames.
    inference_batch_size
        Contexts forecast at once, fewer where memory runs out; it does not affect the result.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    random_state
        Seed of the initial weights and of the order of the training windows.
    verbose
        Above 0: show a progress bar.

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
    Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?" (arXiv 2205.13504).

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import NLinear
    >>> wave = np.sin(np.arange(200) * 2 * np.pi / 20)
    >>> model = NLinear(40, horizon=20, random_state=0).fit(wave)
    >>> model.predict(horizon=30).shape
    (30,)
    """

    def __init__(
        self,
        context_length: int = 96,
        *,
        horizon: int = 24,
        training: Training | None = None,
        columns: Columns | None = None,
        inference_batch_size: int = 1024,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.context_length = context_length
        self.horizon = horizon
        self.training = training
        self.columns = columns
        self.inference_batch_size = inference_batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _build(self) -> ForecastModule:
        return NLinearModule(self.context_length, self.horizon)


class DLinear(NeuralForecaster):
    """Sum of two linear maps: of the trend of the context, and of its remainder.

    Beyond `horizon`, forecasts become the context. All series share the maps, each scaled by its
    own mean and standard deviation.

    Parameters
    ----------
    context_length
        Points of a context.
    horizon
        Points of one forecast.
    moving_average
        Points of the centered moving average that is the trend.
    training
        Options of training; None for `Training()`.
    columns
        Names and roles of the columns of frames.
    inference_batch_size
        Contexts forecast at once, fewer where memory runs out; it does not affect the result.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...
    random_state
        Seed of the initial weights and of the order of the training windows.
    verbose
        Above 0: show a progress bar.

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
    Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?" (arXiv 2205.13504).

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import DLinear
    >>> wave = np.sin(np.arange(200) * 2 * np.pi / 20)
    >>> DLinear(40, horizon=20, random_state=0).fit(wave).predict().shape
    (20,)
    """

    def __init__(
        self,
        context_length: int = 96,
        *,
        horizon: int = 24,
        moving_average: int = 25,
        training: Training | None = None,
        columns: Columns | None = None,
        inference_batch_size: int = 1024,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.context_length = context_length
        self.horizon = horizon
        self.moving_average = moving_average
        self.training = training
        self.columns = columns
        self.inference_batch_size = inference_batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _build(self) -> ForecastModule:
        return DLinearModule(self.context_length, self.horizon, self.moving_average)


class NLinearModule(ForecastModule):
    """``last + W (context - last) + b``; missing points of the context count as the last value."""

    def __init__(self, context_length: int, horizon: int) -> None:
        super().__init__()
        self.context_length, self.horizon, self.point = context_length, horizon, 0
        self.linear = nn.Linear(context_length, horizon)

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon 1"]:
        """Forecast up to `self.horizon` points."""
        if context.gapless:
            last = context.values[:, -1:]
            change = context.values - last
        else:
            last = last_observed(context.values)
            change = (context.values - last).nan_to_num(0.0)
        return (last + self.linear(change))[:, :horizon, None]

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean squared error over the observed targets."""
        return squared_loss(self.forecast(batch.context, self.horizon), batch)


class DLinearModule(ForecastModule):
    """``W_trend trend + W_rest (context - trend)``; missing points count as trend or 0."""

    average: Float[Tensor, "context context"]

    def __init__(self, context_length: int, horizon: int, window: int) -> None:
        super().__init__()
        self.context_length, self.horizon, self.point = context_length, horizon, 0
        # Not saved: it follows from the two parameters.
        self.register_buffer(
            "average", moving_average_matrix(context_length, window), persistent=False
        )
        self.trend = nn.Linear(context_length, horizon)
        self.rest = nn.Linear(context_length, horizon)

    def forecast(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon 1"]:
        """Forecast up to `self.horizon` points."""
        if context.gapless:
            trend = context.values @ self.average.T
            rest = context.values - trend
        else:
            trend = moving_average(context.values, self.average)
            rest = (context.values - trend).nan_to_num(0.0)
            trend = trend.nan_to_num(0.0)
        return (self.trend(trend) + self.rest(rest))[:, :horizon, None]

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Mean squared error over the observed targets."""
        return squared_loss(self.forecast(batch.context, self.horizon), batch)


def squared_loss(forecast: Float[Tensor, "batch horizon 1"], batch: Batch) -> Float[Tensor, ""]:
    """Mean squared error over the observed targets of a batch."""
    target, mask = fill_target(batch)
    return masked_mean((forecast[..., 0] - target).square(), mask)
