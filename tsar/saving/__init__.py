"""Fitted models in a folder: `config.json` and `model.safetensors`; never pickle.

`config.json` names the format, the tsar that wrote it, the class, its parameters, its fitted
attributes (those that end in ``_``), and each tensor with its type and shape; the tensors are in
the other file. Reading makes values of the types in a fixed table and nothing else: a folder
from a stranger can be wrong, but it can't run code.
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

__all__ = ["Savable", "restore", "save"]

NETWORK = "module_"  # the attribute that `_build()` makes anew


def save(model: BaseEstimator, folder: str | os.PathLike[str]) -> None:
    """Write a model to a folder, whole or not at all.

    What stood there before, if it was a model of tsar, stays whole until the new one stands.

    Parameters
    ----------
    model
        An estimator, fitted or not.
    folder
        A new folder, an empty one, or that of a model to replace.

    Raises
    ------
    TypeError
        A parameter or a fitted attribute is not of a type that can be stored.
    ValueError
        The folder holds something else.
    OSError
        The folder can't be written.
    """
    tensors: Tensors = {}
    fitted = {key: value for key, value in vars(model).items() if key.endswith("_")}
    network = fitted.pop(NETWORK, None)
    params = model.get_params(deep=False)
    config = {
        "format": FORMAT,
        "tsar": __version__,
        "class": type(model).__name__,
        "params": {k: encode(v, k, tensors) for k, v in params.items()},
        "fitted": {k: encode(v, k, tensors) for k, v in fitted.items()},
        "network": None if network is None else _store_state(network, tensors),
    }
    write_folder(Path(folder).resolve(), config, tensors)


class Savable(BaseEstimator):
    """An estimator that can be written to a folder."""

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model to a folder, whole or not at all; `tsar.load` reads it again.

        Parameters
        ----------
        folder
            A new folder, an empty one, or that of a model to replace, which stays whole until the
            new one stands.

        Raises
        ------
        TypeError
            A parameter or a fitted attribute is not of a type that can be stored.
        ValueError
            The folder holds something else.
        OSError
            The folder can't be written.
        """
        save(self, folder)


def restore(folder: str | os.PathLike[str], classes: Iterable[type[Any]]) -> Any:
    """Read the model in a folder, on the CPU; its class is looked up by name among `classes`.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no model, a damaged one, one of a newer format, or one of an unknown class.
    """
    path = Path(folder)
    config, tensors = read_folder(path)
    known = {kind.__name__: kind for kind in classes}
    if config["class"] not in known:
        raise ValueError(
            f"folder must hold a model of one of {sorted(known)}; got {config['class']!r} in "
            f"{str(path / CONFIG)!r}, written by tsar {config['tsar']}. Load it with that version, "
            "or say its class: load(folder, classes=[...])."
        )
    try:
        return _rebuild(known[config["class"]], config, tensors)
    except IncompatibleModelError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        raise damaged(path, config["tsar"], error) from error


def _rebuild(kind: type[Any], config: dict[str, Any], tensors: Tensors) -> Any:
    model = kind(**{key: decode(value, tensors) for key, value in config["params"].items()})
    for key, value in config["fitted"].items():
        setattr(model, key, decode(value, tensors))
    if config["network"] is not None:  # last: a network is built from the other attributes
        setattr(model, NETWORK, _build(model, config["network"], tensors))
    return model


def _build(model: Any, state: dict[str, Any], tensors: Tensors) -> nn.Module:
    with seeded(0):  # the initial weights are drawn, and replaced
        network: nn.Module = model._build()
    stored = {key: decode(value, tensors) for key, value in state.items()}
    wanted = trained_state(network).keys()
    if wanted != stored.keys():
        missing, foreign = sorted(wanted - stored.keys()), sorted(stored.keys() - wanted)
        raise ValueError(f"missing keys of its network {missing[:3]}, unexpected {foreign[:3]}")
    network.load_state_dict(stored, strict=False)  # what is frozen is there already
    return network.eval()


def _store_state(network: nn.Module, tensors: Tensors) -> dict[str, Any]:
    """What is trained of a network; a tensor that it holds under two names is stored once."""
    stored: dict[int, Any] = {}
    trained = trained_state(network)
    state = {k: t for k, t in network.state_dict(keep_vars=True).items() if k in trained}
    for key, tensor in state.items():
        if id(tensor) not in stored:
            stored[id(tensor)] = encode(tensor.detach(), f"{NETWORK}.{key}", tensors)
    return {key: stored[id(tensor)] for key, tensor in state.items()}
