"""Torch devices by name."""

import torch


def resolve_device(device: str) -> torch.device:
    """Return the device of that name; ``"auto"`` is a GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        This machine has no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device must be 'auto' or a device of this machine; got {device!r} "
            f"({str(error).splitlines()[0]}). Use 'cpu', or 'cuda' if there is a GPU."
        ) from error
