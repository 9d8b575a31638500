"""Streaming forecasts of a fitted SpaceTime network: one new point of each series at a time."""

import copy
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor

from tsar.forecasters.spacetime.layers import Recurrence
from tsar.forecasters.spacetime.module import Layer, SpaceTimeModule
from tsar.forecasters.spacetime.preprocessing import AVERAGE_WINDOWS, N_FILTERS, preprocess
from tsar.validation import check_integer

Floats = NDArray[np.float64]
HISTORY = max(AVERAGE_WINDOWS)  # points that the preprocessing filters read


class Stream:
    """Recurrent evaluation of a SpaceTime network in O(state_size) per channel and point.

    After n points its state is that after a context of these n points, so that the forecasts are
    equal; no point is read twice. In numpy, because a step is so little work that the overhead of
    torch calls would dominate.

    Parameters
    ----------
    module
        A fitted network without covariates, with ``normalization="none"``: any other
        normalization would change the points that were read before.
    mean, deviation
        Mean and standard deviation of each series, by which points are standardized.

    Raises
    ------
    ValueError
        The network normalizes its contexts, or reads covariates.
    """

    def __init__(
        self,
        module: SpaceTimeModule,
        mean: Float[Tensor, " series"],
        deviation: Float[Tensor, " series"],
    ) -> None:
        if module.normalization != "none" or module.covariates.shape[2]:
            raise ValueError(
                "normalization must be 'none', without covariates, to read point by point; got "
                f"{module.normalization!r} and {module.covariates.shape[2]} covariate(s), of which "
                "joint=True makes some. Fit such a model, or use update(frame) and predict()."
            )
        module = copy.deepcopy(module).cpu().eval()  # a copy, because the module may move to a GPU
        self._module, self._count, series = module, 0, len(mean)
        self._mean, self._deviation = _array(mean), _array(deviation)
        self._history = np.zeros((series, HISTORY), dtype=np.float64)
        # Weights of the last points in each preprocessing filter, by its response to unit impulses:
        # three more than the averages need, because the first differences are incomplete.
        impulses = torch.eye(HISTORY + 3, dtype=torch.float64)
        self._filters: Floats = preprocess(impulses)[3:, :, -1].numpy()
        self._layers = [_StreamLayer(cast(Layer, layer), series) for layer in module.layers]
        self._groups = module.covariates.shape[1] // N_FILTERS
        decoder, head = module.decoder, module.head
        order = decoder.closed_loop.order
        self._decoder = _StreamSSM(decoder.open_loop, decoder.taps, series, order)
        self._linear = _array(head.linear.weight).T
        self._nonlinear = _array(head.nonlinear.weight).T
        self._offsets = 0.0 if head.offsets is None else _array(head.offsets)

    def push(self, points: Float[NDArray[np.float64], " series"]) -> Floats:
        """Read the next point of each series, and forecast the one after it.

        Parameters
        ----------
        points
            One point of each series; a missing one, NaN, is replaced by the point before it.

        Returns
        -------
        ndarray of shape (series, output)

        Raises
        ------
        ValueError
            The points are not one of each series, or infinite.
        """
        points = np.asarray(points, dtype=np.float64)
        if points.shape != self._mean.shape:
            raise ValueError(
                f"points must be one of each series, of shape {self._mean.shape}; got shape "
                f"{points.shape}. Give them in the order of the fitted ids, NaN where missing."
            )
        if np.isinf(points).any():  # the state would never recover
            row = int(np.isinf(points).argmax())
            raise ValueError(
                f"points must be finite or NaN; got {points[row]} for series {row}. Give NaN where "
                "the value is not known."
            )
        points = (points - self._mean) / self._deviation
        points = np.where(np.isnan(points), self._history[:, -1], points)
        self._history[:, :-1] = self._history[:, 1:]
        self._history[:, -1] = points
        self._count += 1
        hidden = np.tile(self._preprocess(), (1, self._groups))
        for layer in self._layers:
            hidden = layer(hidden)
        hidden = self._decoder(hidden)
        outputs = hidden @ self._linear + _gelu(hidden) @ self._nonlinear + self._offsets
        return self._rescale(outputs.T).T

    def forecast(self, horizon: int) -> Float[Tensor, "series horizon output"]:
        """Forecast any number of steps after the points read so far."""
        check_integer("horizon", horizon)
        state = torch.from_numpy(self._decoder.state()).float()
        with torch.inference_mode():
            no_covariates = state.new_empty(len(state), horizon, 0)
            hidden = self._module.decoder.system(1).forecast(state, horizon)
            outputs = self._module.head(hidden, no_covariates).double()
            return torch.from_numpy(self._rescale(outputs.movedim(0, -1).numpy())).movedim(-1, 0)

    def _rescale(self, values: Floats) -> Floats:
        return values * self._deviation + self._mean

    def _preprocess(self) -> Floats:
        if self._count < HISTORY:  # the first points have shorter averages and fewer differences
            known = torch.from_numpy(self._history[:, HISTORY - self._count :])
            return preprocess(known)[:, :, -1].numpy()
        return self._history @ self._filters


class _StreamSSM:
    """State of each channel's recurrence, updated by one input at a time."""

    def __init__(self, recurrence: Recurrence, taps: Tensor, series: int, order: int) -> None:
        coef = _array(recurrence.coefficients())
        weights = np.zeros((2, len(coef), order), dtype=np.float64)
        weights[0, :, order - coef.shape[1] :] = coef[:, ::-1]
        later_taps = _array(taps)[:, 1:]
        weights[1, :, order - later_taps.shape[1] :] = later_taps[:, ::-1]
        self._weights, self._first_tap = weights, _array(taps)[:, 0]
        # A ring buffer of twice the order: each value is written twice, so that the state is always
        # contiguous.
        self._buffer = np.zeros((series, len(coef), 2 * order), dtype=np.float64)
        self._order, self._position = order, 0

    def state(self) -> Floats:
        """Values of the state, oldest first: (series, channel, order)."""
        return self._buffer[:, :, self._position : self._position + self._order]

    def __call__(self, inputs: Floats) -> Floats:
        feedback, outputs = np.einsum("sco,kco->ksc", self.state(), self._weights)
        values = inputs + feedback
        self._buffer[:, :, self._position] = values
        self._buffer[:, :, self._position + self._order] = values
        self._position = (self._position + 1) % self._order
        return cast(Floats, outputs + self._first_tap * values)


class _StreamLayer:
    """A layer of the network, evaluated at one point at a time."""

    def __init__(self, layer: Layer, series: int) -> None:
        recurrence = layer.ssm.recurrence
        taps = layer.ssm.taps.double() * recurrence.gain()
        self._ssm = _StreamSSM(recurrence, taps, series, recurrence.order)
        self._pointwise = _array(layer.pointwise.weight)[:, :, 0].T

    def __call__(self, hidden: Floats) -> Floats:
        filtered = self._ssm(hidden)
        return hidden + filtered + _gelu(filtered) @ self._pointwise


def _gelu(values: Floats) -> Floats:
    return cast(Floats, 0.5 * values * (1 + erf(values * np.float64(0.5**0.5))))


def _array(values: Tensor) -> Floats:
    return cast(Floats, values.detach().cpu().double().numpy())
