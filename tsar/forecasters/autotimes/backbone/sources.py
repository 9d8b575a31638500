"""Locations of pretrained models (package, folder, Hugging Face hub), and their configurations."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsar.forecasters.autotimes.backbone.dependencies import suppress_output
from tsar.forecasters.autotimes.backbone.options import SMOLLM2
from tsar.forecasters.autotimes.backbone.smollm2 import smollm2_folder

HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class Source:
    """Location of a pretrained model.

    Parameters
    ----------
    name
        Name of the model; for a folder, its last part.
    path
        Its folder, or its name on the hub.
    local
        Whether it is a folder, so that the network must not be used.
    """

    name: str
    path: str
    local: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of every `from_pretrained`; code that comes with a model is never run."""
        return {"local_files_only": self.local, "trust_remote_code": False}

    def load_error(self, error: Exception) -> OSError:
        """Build the error for a model that can't be loaded, with the reason."""
        reason = str(error).strip().partition("\n")[0]
        return OSError(
            "backbone must be 'smollm2', a folder that holds a model of transformers or a name on "
            f"the Hugging Face hub; got {self.path!r}, which can't be loaded: {reason} "
            f"{'Check the folder.' if self.local else 'Check the name, and the network.'}"
        )


def find_source(name: str) -> Source:
    """Find a model by its name.

    Raises
    ------
    OSError
        The name is a path, and there is no model.
    ImportError
        The name is ``"smollm2"``, and the llm extra is not installed.
    ValueError
        The name is neither a path nor a possible name on the hub.
    """
    if name == SMOLLM2:
        return Source(name, str(smollm2_folder()), local=True)
    folder = Path(name).expanduser()
    if folder.is_dir() or folder.is_absolute() or name.startswith((".", "~")):
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                "backbone must be a folder that holds a model of transformers, with its "
                f"config.json; got {name!r}. Check the path."
            )
        return Source(folder.resolve().name, str(folder), local=True)
    if not HUB_NAME.fullmatch(name):
        raise ValueError(
            "backbone must be 'smollm2', an existing folder or a name on the Hugging Face hub, "
            f"such as 'gpt2' or 'Qwen/Qwen2.5-0.5B'; got {name!r}. Check it."
        )
    return Source(name, name, local=False)


def read_config(source: Source, depth: int | None) -> Any:
    """Read the configuration of a model, truncated to its first `depth` blocks.

    Raises
    ------
    OSError
        There is none, or transformers does not support it.
    ValueError
        The model is no decoder, or has fewer blocks.
    """
    from transformers import AutoConfig

    try:
        with suppress_output():
            config = AutoConfig.from_pretrained(source.path, **source.arguments)
    except (OSError, ValueError, KeyError) as error:
        raise source.load_error(error) from error
    if config.is_encoder_decoder:
        raise ValueError(
            "backbone must be a decoder-only language model; got "
            f"{source.name!r}, an encoder-decoder ({config.model_type}). Choose another one."
        )
    if depth is not None:
        _truncate(config.get_text_config(), depth, source.name)
    return config


def _truncate(config: Any, depth: int, name: str) -> None:
    total = config.num_hidden_layers
    if depth > total:
        raise ValueError(
            f"backbone.depth must be at most {total}, the number of blocks of {name!r}; got "
            f"{depth}. Choose fewer, or None for all."
        )
    config.num_hidden_layers = depth
    for key, value in vars(config).items():  # layer_types, attention_layers, no_rope_layers, ...
        if "layer" in key and isinstance(value, list | tuple) and len(value) == total:
            setattr(config, key, value[:depth])
