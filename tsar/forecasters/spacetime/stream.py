"""Stream: a fitted SpaceTime network as a recurrence, a point at a time."""

import copy
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor

from tsar.forecasters.spacetime.module import Layer, SpaceTimeModule
from tsar.forecasters.spacetime.recurrence import Decoder, OpenLoop, Recurrence
from tsar.forecasters.spacetime.views import AVERAGES, VIEWS, views
from tsar.validation import check_integer

Floats = NDArray[np.float64]
SEEN = max(AVERAGES)  # points back that a view looks


class Stream:
    """Reads one new point of each series at a time, in O(state_size) a channel.

    After n points it is in the state in which a forecast from a context of these n points is, so
    that it says the same: nothing is computed again. In numpy, for a step is so little work that
    torch would spend it on its calls.

    Parameters
    ----------
    module
        A fitted network without covariates, whose normalization is ``"none"``: another one would
        change what it has already read.
    mean, deviation
        What a point of each series is shifted and divided by: the units of the network.

    Raises
    ------
    ValueError
        The network normalizes its contexts, or reads covariates; the points are not one of each
        series, or infinite.
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
        module = copy.deepcopy(module).cpu().eval()  # its own: the other may move to a GPU
        self._module, self._count, series = module, 0, len(mean)
        self._mean, self._deviation = _array(mean), _array(deviation)
        self._seen = np.zeros((series, SEEN), dtype=np.float64)
        self._views = _view_weights()
        self._layers = [_Step(cast(Layer, layer), series) for layer in module.layers]
        self._groups = module.covariates.shape[1] // VIEWS
        self._decoder = _Memory.of_decoder(module.decoder, series)
        head = module.head
        self._linear, self._bent = _array(head.linear.weight).T, _array(head.bent.weight).T
        self._apart = 0.0 if head.apart is None else _array(head.apart)

    def push(self, points: Float[NDArray[np.float64], " series"]) -> Floats:
        """Read the next point of each series; its forecast of the one after: (series, output).

        A missing point, NaN, counts as the one before it.
        """
        points = np.asarray(points, dtype=np.float64)
        if points.shape != self._mean.shape:
            raise ValueError(
                f"points must be one of each series, of shape {self._mean.shape}; got shape "
                f"{points.shape}. Give them in the order of the fitted ids, NaN where missing."
            )
        if np.isinf(points).any():  # it would stay in the state for ever
            row = int(np.isinf(points).argmax())
            raise ValueError(
                f"points must be finite or NaN; got {points[row]} for series {row}. Give NaN where "
                "the value is not known."
            )
        last = self._seen[:, -1]
        points = (points - self._mean) / self._deviation
        points = np.where(np.isnan(points), last, points)
        self._seen[:, :-1] = self._seen[:, 1:]
        self._seen[:, -1] = points
        self._count += 1
        hidden = np.tile(self._look(), (1, self._groups))
        for layer in self._layers:
            hidden = layer(hidden)
        outputs = self._decoder(hidden)
        told = outputs @ self._linear + _gelu(outputs) @ self._bent + self._apart
        return self._invert(told.T).T

    def forecast(self, horizon: int) -> Float[Tensor, "series horizon output"]:
        """Forecast any number of steps from where the series are now."""
        check_integer("horizon", horizon)
        state = torch.from_numpy(self._decoder.newest()).float()
        with torch.inference_mode():
            none = state.new_empty(len(state), horizon, 0)
            decoder = self._module.decoder.prepared(1)
            told = self._module.head(decoder.run(state, horizon), none).double()
            return torch.from_numpy(self._invert(told.movedim(0, -1).numpy())).movedim(-1, 0)

    def _invert(self, values: Floats) -> Floats:
        inverted: Floats = values * self._deviation + self._mean
        return inverted

    def _look(self) -> Floats:
        if self._count < SEEN:  # the first points have fewer before them
            known = torch.from_numpy(self._seen[:, SEEN - self._count :])
            return views(known)[:, :, -1].numpy()
        return self._seen @ self._views


class _Memory:
    """Newest values of each channel's recurrence, and what it makes of the next input."""

    def __init__(self, recurrence: Recurrence, taps: Tensor, series: int, order: int) -> None:
        coef = _array(recurrence.coefficients())
        weights = np.zeros((2, len(coef), order), dtype=np.float64)
        weights[0, :, order - coef.shape[1] :] = coef[:, ::-1]
        later = _array(taps)[:, 1:]
        weights[1, :, order - later.shape[1] :] = later[:, ::-1]
        self._weights, self._first = weights, _array(taps)[:, 0]
        # Twice as long: each value is written at two places, so that the newest stand in a row.
        self._ring = np.zeros((series, len(coef), 2 * order), dtype=np.float64)
        self._order, self._place = order, 0

    @classmethod
    def of_layer(cls, layer: OpenLoop, series: int) -> "_Memory":
        """Memory of a companion layer."""
        taps = layer.taps.double() * layer.recurrence.gain()
        return cls(layer.recurrence, taps, series, layer.taps.shape[1])

    @classmethod
    def of_decoder(cls, decoder: Decoder, series: int) -> "_Memory":
        """Memory of the layer that runs on."""
        return cls(decoder.reader, decoder.taps, series, decoder.loop.order)

    def newest(self) -> Floats:
        """Values of the state, oldest first: (series, channel, order)."""
        return self._ring[:, :, self._place : self._place + self._order]

    def __call__(self, inputs: Floats) -> Floats:
        kept, told = np.einsum("sco,kco->ksc", self.newest(), self._weights)
        values = inputs + kept
        self._ring[:, :, self._place] = values
        self._ring[:, :, self._place + self._order] = values
        self._place = (self._place + 1) % self._order
        outputs: Floats = told + self._first * values
        return outputs


class _Step:
    """A layer of the network, a point at a time."""

    def __init__(self, layer: Layer, series: int) -> None:
        self._memory = _Memory.of_layer(layer.filter, series)
        self._mix = _array(layer.mix.weight)[:, :, 0].T

    def __call__(self, hidden: Floats) -> Floats:
        filtered = self._memory(hidden)
        mixed: Floats = hidden + filtered + _gelu(filtered) @ self._mix
        return mixed


def _view_weights() -> Floats:
    """Weights of the last points in each view: the views of single ones."""
    ones = torch.eye(
        SEEN + 3, dtype=torch.float64
    )  # the first of them stand where differences are not complete
    return cast(Floats, views(ones)[3:, :, -1].numpy())


def _gelu(values: Floats) -> Floats:
    bent: Floats = 0.5 * values * (1 + erf(values * np.float64(0.5**0.5)))
    return bent


def _array(values: Tensor) -> Floats:
    return cast(Floats, values.detach().cpu().double().numpy())
