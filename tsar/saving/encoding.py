"""Encoding of values as JSON and tensors, and decoding, for a fixed table of types.

None, booleans, text, integers, finite numbers and lists are encoded as themselves. Any other value
is an object with one key, its tag, whose value holds its parts: ``{"tuple": [1, 2]}``. A tensor is
its name in the file of tensors: ``{"tensor": "context_.values"}``.
"""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsar.records import RECORDS
from tsar.saving.frames import FRAME_CODECS

Tensors = dict[str, Tensor]
Json = Any  # None, bool, int, float, str, list, or a dict of one key


class Codec(NamedTuple):
    """Conversion of values of one type to a list or dict of other values, and back."""

    cls: type[Any]
    split: Callable[[Any], Any]
    join: Callable[[Any], Any]


def encode(value: Any, name: str, tensors: Tensors) -> Json:
    """Encode a value as JSON; its tensors are added to `tensors`, prefixed with `name`."""
    if type(value) in PLAIN or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is list:
        return _encode_parts(value, name, tensors)
    if isinstance(value, Tensor) and not value.is_complex():
        # A copy, as safetensors can't hold views of shared memory; on the CPU, as any machine has.
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    tag = _tag(value)
    if tag is None:
        raise TypeError(
            f"{name} must be a number, text, array, tensor or frame to be saved, or a list, tuple "
            f"or dict of these; got {value!r}. Set it to one, or leave it out, before saving."
        )
    return {tag: _encode_parts(_codec(tag).split(value), name, tensors)}


def decode(json: Json, tensors: Tensors) -> Any:
    """Decode a value that `encode` has encoded."""
    if isinstance(json, list):
        return [decode(part, tensors) for part in json]
    if not isinstance(json, dict):
        return json
    [(tag, parts)] = json.items()
    if tag == "tensor":
        return tensors[parts]
    if isinstance(parts, dict):
        return _codec(tag).join({key: decode(part, tensors) for key, part in parts.items()})
    return _codec(tag).join([decode(part, tensors) for part in parts])


def _encode_parts(parts: Any, name: str, tensors: Tensors) -> Json:
    if isinstance(parts, dict):
        return {key: encode(part, f"{name}.{key}", tensors) for key, part in parts.items()}
    return [encode(part, f"{name}.{i}", tensors) for i, part in enumerate(parts)]


def _split_array(array: NDArray[Any]) -> dict[str, Any]:
    """Numbers as a tensor, bit by bit; text and objects as a list."""
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind in "OU":
        shape = list(array.shape)
        return {"dtype": dtype.str, "shape": shape, "items": array.reshape(-1).tolist()}
    numbers = np.array(array, dtype=dtype, order="C")
    if dtype.kind == "c":  # real and imaginary parts, along a new last axis
        numbers = numbers[..., None].view(f"f{dtype.itemsize // 2}")
    if dtype.kind in "Mm":
        numbers = numbers.view("i8")
    return {"dtype": dtype.str, "values": torch.from_numpy(numbers)}


def _join_array(parts: dict[str, Any]) -> NDArray[Any]:
    dtype = np.dtype(parts["dtype"])
    if "items" in parts:
        array = np.empty(len(parts["items"]), dtype=dtype)
        array[:] = parts["items"]
        return array.reshape(parts["shape"])
    numbers: NDArray[Any] = parts["values"].numpy().view(dtype)
    return numbers[..., 0] if dtype.kind == "c" else numbers


def _tag(value: Any) -> str | None:
    """Tag of a value's type; None if it has no codec."""
    if isinstance(value, np.generic):
        return "scalar"
    names = {cls: name for name, cls in RECORDS.items()}
    return TAGS.get(type(value)) or names.get(type(value))


def _codec(tag: str) -> Codec:
    if tag in CODECS:
        return CODECS[tag]
    if tag not in RECORDS:
        raise LookupError(f"unknown type {tag!r}")
    cls = RECORDS[tag]
    names = [field.name for field in fields(cls)]
    return Codec(
        cls,
        lambda value: {name: getattr(value, name) for name in names},
        lambda parts: cls(**parts),
    )


PLAIN = (type(None), bool, int, str)
CODECS = {
    "float": Codec(float, lambda value: [str(value)], lambda parts: float(parts[0])),
    "tuple": Codec(tuple, list, tuple),
    "dict": Codec(dict, lambda value: [list(item) for item in value.items()], dict),
    "complex": Codec(
        Tensor,
        lambda value: [torch.view_as_real(value.detach().resolve_conj())],
        lambda parts: torch.view_as_complex(parts[0]),
    ),
    "array": Codec(np.ndarray, _split_array, _join_array),
    "scalar": Codec(np.generic, lambda value: [np.asarray(value)], lambda parts: parts[0][()]),
    **{tag: Codec(*functions) for tag, functions in FRAME_CODECS.items()},
}
TAGS = {codec.cls: tag for tag, codec in CODECS.items()}
