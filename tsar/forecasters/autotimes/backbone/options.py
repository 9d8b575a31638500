"""Options of a backbone: which model, how many blocks, pretrained or random, LoRA, precision."""

from dataclasses import dataclass
from typing import Literal

import torch

from tsar.validation import BOOLEAN, Constraint, check_parameters, integer, one_of, optional

SMOLLM2 = "smollm2"
DEFAULT_DEPTH = 3  # blocks of a model from scratch


@dataclass(frozen=True)
class BackboneOptions:
    """Options of a backbone.

    Parameters
    ----------
    name
        ``"smollm2"`` (SmolLM2-135M-Instruct, from a package), a folder that holds a model of
        transformers, the name of one on the Hugging Face hub, or None: a small causal transformer,
        trained from scratch.
    depth
        Number of blocks, the first ones; None for all, or 3 from scratch. 0, from scratch only: no
        block, so that each token is forecast from alone, as a control.
    width
        Width of a model from scratch.
    init
        ``"pretrained"``, or ``"random"``: the same architecture with frozen random weights, as a
        control of what the training on language contributes.
    lora
        Rank of trained LoRA adapters at each linear layer of the blocks; None for none.
    gradient_checkpointing
        Whether the backward pass recomputes the blocks, which takes less memory and more time.
    precision
        Precision of the frozen weights and of what they compute. Trained weights are float32.
    """

    name: str | None
    depth: int | None = None
    width: int = 128
    init: Literal["pretrained", "random"] = "pretrained"
    lora: int | None = None
    gradient_checkpointing: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        """Check the options."""
        check_parameters("backbone", self, CONSTRAINTS)
        if self.name is not None and self.depth == 0:
            raise ValueError(
                "backbone.depth must be at least 1 of a language model; got 0. Name a number, or "
                "set backbone=None."
            )
        if self.name is None and self.lora is not None:
            raise ValueError(
                f"backbone.lora must be None with backbone=None; got {self.lora!r}. A model from "
                "scratch is trained as a whole and needs no adapters: set it to None."
            )

    @property
    def dtype(self) -> torch.dtype:
        """Type of the frozen weights; a model from scratch has none, and is float32."""
        half = self.precision == "bfloat16" and self.name is not None
        return torch.bfloat16 if half else torch.float32


CONSTRAINTS: dict[str, Constraint] = {
    "name": Constraint(
        lambda name: name is None or (isinstance(name, str) and name != ""),
        "'smollm2', a folder, a name on the Hugging Face hub, or None",
    ),
    "depth": Constraint(
        optional(integer(0)).is_met, "an integer of at least 1, or None; 0 with backbone=None only"
    ),
    "width": Constraint(
        lambda width: integer(2).is_met(width) and width % (2 * max(width // 32, 1)) == 0,
        "a multiple of 64, or an even number below 64",
    ),
    "init": one_of(("pretrained", "random")),
    "lora": optional(integer(1)),
    "gradient_checkpointing": BOOLEAN,
    "precision": one_of(("float32", "bfloat16")),
}
