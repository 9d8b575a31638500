"""Constraints of the parameters of AutoTimes, and the precision of a device."""

from typing import Literal, get_args

import torch

from tsar.forecasters.autotimes.prompts import Strategy
from tsar.validation import (
    BOOLEAN,
    FRACTION,
    NONNEGATIVE,
    QUANTILE_LEVELS,
    Constraint,
    integer,
    one_of,
    optional,
    sequence_of,
)

Precision = Literal["auto", "float32", "bfloat16"]

GENERATION: dict[str, Constraint] = {
    "generation": one_of(("exact", "cached", "speculative")),
    "tolerance": NONNEGATIVE,
    "draft_length": integer(1),
}
PROMPTS: dict[str, Constraint] = {
    "prompts": one_of((None, *get_args(Strategy))),
    "prompt_length": optional(integer(2)),
}
CONSTRAINTS: dict[str, Constraint] = {
    "segment_length": integer(1),
    "hidden": sequence_of(integer(1)),
    "dropout": FRACTION,
    "timestamps": one_of(("text", "calendar", None)),
    "loss": one_of(("mse", "mae", "quantile", "gaussian", "student_t")),
    "quantile_levels": QUANTILE_LEVELS,
    "init": one_of(("random", "ridge")),
    **GENERATION,
    **PROMPTS,
    "gradient_checkpointing": BOOLEAN,
    "precision": one_of(("auto", "float32", "bfloat16")),
}


def resolve_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """Resolve ``"auto"``: bfloat16 where the device supports it in hardware, else float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    # Older versions of torch do not list the capabilities of the processor.
    capabilities: dict[str, object] = (
        getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    )
    supported = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return "bfloat16" if supported else "float32"
