"""Where a model is, and its configuration."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsar.forecasters.autotimes.backbone.options import SMOLLM2
from tsar.forecasters.autotimes.backbone.silence import silence
from tsar.forecasters.autotimes.backbone.smollm2 import smollm2_folder

HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class Source:
    """Where a model is.

    Parameters
    ----------
    name
        How it is called; of a folder, its last part.
    place
        Its folder, or its name on the hub.
    local
        Whether the network must not be asked.
    """

    name: str
    place: str
    local: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """What each `from_pretrained` is told; code that comes with a model is never run."""
        return {"local_files_only": self.local, "trust_remote_code": False}

    def refusal(self, error: Exception) -> OSError:
        """Build the error that says why a model can't be loaded."""
        reason = str(error).strip().partition("\n")[0]
        return OSError(
            "backbone must be 'smollm2', a folder that holds a model of transformers or a name on "
            f"the Hugging Face hub; got {self.place!r}, which can't be loaded: {reason} "
            f"{'Check the folder.' if self.local else 'Check the name, and the network.'}"
        )


def find_source(name: str) -> Source:
    """Find a model by its name.

    Raises
    ------
    OSError
        It is a path, and there is no model.
    ImportError
        It is ``"smollm2"``, and the llm extra is not installed.
    ValueError
        No model can have that name.
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
            "backbone must be 'smollm2', a folder that is there or a name on the Hugging Face hub, "
            f"such as 'gpt2' or 'Qwen/Qwen2.5-0.5B'; got {name!r}. Check it."
        )
    return Source(name, name, local=False)


def read_config(source: Source, layers: int | None) -> Any:
    """Read the configuration of a model, cut to its first blocks.

    Raises
    ------
    OSError
        There is none, or transformers does not know it.
    ValueError
        It is no decoder, or has fewer blocks.
    """
    from transformers import AutoConfig

    try:
        with silence():
            config = AutoConfig.from_pretrained(source.place, **source.arguments)
    except (OSError, ValueError, KeyError) as error:
        raise source.refusal(error) from error
    if config.is_encoder_decoder:
        raise ValueError(
            "backbone must be a decoder-only language model; got "
            f"{source.name!r}, an encoder-decoder ({config.model_type}). Choose another one."
        )
    if layers is not None:
        _cut(config.get_text_config(), layers, source.name)
    return config


def _cut(config: Any, layers: int, name: str) -> None:
    total = config.num_hidden_layers
    if layers > total:
        raise ValueError(
            f"backbone.depth must be at most {total}, which is what {name!r} has; got {layers}. "
            "Choose fewer, or None for all."
        )
    config.num_hidden_layers = layers
    for key, value in vars(config).items():  # layer_types, attention_layers, no_rope_layers, ...
        if "layer" in key and isinstance(value, list | tuple) and len(value) == total:
            setattr(config, key, value[:layers])
