"""Saving and loading of models: a folder with `config.json` and `model.safetensors`, no pickle.

`config.json` holds the format, the version of tsar, the class, its parameters, its fitted
attributes (those that end in ``_``), and the dtype and shape of each tensor; the tensors are in
the other file. Only values of a fixed table of types are loaded: an untrusted folder can hold
wrong values, but it can't run code.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from torch import nn

from tsar import __version__
from tsar.nn.module import trained_state
from tsar.runtime.seeds import seeded
from tsar.saving.encoding import Tensors, decode, encode
from tsar.saving.folder import CONFIG, FORMAT, damaged, read_folder, write_folder
from tsar.validation import IncompatibleModelError

__all__ = ["Savable", "restore"]

NETWORK = "module_"  # the attribute that `_build()` creates


class Savable(BaseEstimator):
    """An estimator that can be written to a folder."""

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model to a folder atomically; `tsar.load` reads it.

        Parameters
        ----------
        folder
            A new folder, an empty one, or that of a model to replace, which is kept until the new
            one is written.

        Raises
        ------
        TypeError
            A parameter or a fitted attribute has a type that can't be saved.
        ValueError
            The folder holds anything other than a model.
        OSError
            The folder can't be written.
        """
        tensors: Tensors = {}
        fitted = {key: value for key, value in vars(self).items() if key.endswith("_")}
        network = fitted.pop(NETWORK, None)
        params = self.get_params(deep=False)
        config = {
            "format": FORMAT,
            "tsar": __version__,
            "class": type(self).__name__,
            "params": {k: encode(v, k, tensors) for k, v in params.items()},
            "fitted": {k: encode(v, k, tensors) for k, v in fitted.items()},
            "network": None if network is None else _encode_network(network, tensors),
        }
        write_folder(Path(folder).resolve(), config, tensors)


def restore(folder: str | os.PathLike[str], classes: Iterable[type[Any]]) -> Any:
    """Load the model in a folder onto the CPU; its class is found by name among `classes`."""
    path = Path(folder)
    config, tensors = read_folder(path)
    known = {cls.__name__: cls for cls in classes}
    if config["class"] not in known:
        raise ValueError(
            f"folder must hold a model of one of {sorted(known)}; got {config['class']!r} in "
            f"{str(path / CONFIG)!r}, written by tsar {config['tsar']}. Load it with that version, "
            "or pass its class: load(folder, classes=[...])."
        )
    try:
        return _decode_model(known[config["class"]], config, tensors)
    except IncompatibleModelError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise damaged(path, config["tsar"], error) from error


def _decode_model(cls: type[Any], config: dict[str, Any], tensors: Tensors) -> Any:
    model = cls(**{key: decode(value, tensors) for key, value in config["params"].items()})
    for key, value in config["fitted"].items():
        setattr(model, key, decode(value, tensors))
    if config["network"] is not None:  # last, as a network is built from the other attributes
        setattr(model, NETWORK, _decode_network(model, config["network"], tensors))
    return model


def _decode_network(model: Any, state: dict[str, Any], tensors: Tensors) -> nn.Module:
    with seeded(0):  # keeps the global generator: the initial weights are random, and replaced
        network: nn.Module = model._build()
    stored = {key: decode(value, tensors) for key, value in state.items()}
    expected = trained_state(network).keys()
    if expected != stored.keys():
        missing, unexpected = sorted(expected - stored.keys()), sorted(stored.keys() - expected)
        raise ValueError(f"missing keys of its network {missing[:3]}, unexpected {unexpected[:3]}")
    network.load_state_dict(stored, strict=False)  # frozen weights are not saved
    return network.eval()


def _encode_network(network: nn.Module, tensors: Tensors) -> dict[str, Any]:
    """Trained state of a network; a tensor that is shared by two names is saved once."""
    encoded: dict[int, Any] = {}
    trained = trained_state(network)
    state = {k: t for k, t in network.state_dict(keep_vars=True).items() if k in trained}
    for key, tensor in state.items():
        if id(tensor) not in encoded:
            encoded[id(tensor)] = encode(tensor.detach(), f"{NETWORK}.{key}", tensors)
    return {key: encoded[id(tensor)] for key, tensor in state.items()}
