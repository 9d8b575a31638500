"""What a LinearGaussianHMM shows of its model: arrays, in units of the data."""

from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tsar.hmm.linear_gaussian.kalman import LinearGaussian
from tsar.hmm.observations import Units

# Fitted attribute of each parameter of the model.
NAMES = {
    "transition": "transition_matrix_",
    "transition_covariance": "transition_covariance_",
    "observation": "observation_matrix_",
    "offset": "observation_offset_",
    "observation_covariance": "observation_covariance_",
    "mean": "initial_mean_",
    "covariance": "initial_covariance_",
}


class Gaussian(NamedTuple):
    """Mean and covariance of the observations to come, for each sequence."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def keep_model(estimator: Any, model: LinearGaussian, units: Units) -> None:
    """Set the attributes by the model of a batch of one, of features in some units."""
    scale = units.scale
    values = {field.name: getattr(model, field.name)[0] for field in fields(model)}
    values["observation"] = values["observation"] * scale[:, None]
    values["offset"] = values["offset"] * scale + units.center
    values["observation_covariance"] = values["observation_covariance"] * scale.square()
    for name, value in values.items():
        setattr(estimator, NAMES[name], value.cpu().numpy())


def read_model(estimator: Any, device: torch.device) -> LinearGaussian:
    """Return the model that the attributes describe, in a batch of one."""
    arrays = {name: getattr(estimator, kept)[None] for name, kept in NAMES.items()}
    return LinearGaussian(**{k: torch.from_numpy(v).to(device) for k, v in arrays.items()})
