"""Devices by name."""

import torch


def resolve_device(device: str) -> torch.device:
    """The device by its name; ``"auto"`` is a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device must be 'auto' or a device of this machine; got {device!r} "
            f"({str(error).splitlines()[0]}). Use 'cpu', or 'cuda' where there is a GPU."
        ) from error
