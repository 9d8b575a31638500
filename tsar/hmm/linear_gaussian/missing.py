"""Missing-data patterns: sequences with the same missing values share their covariances."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from tsar.hmm.linear_gaussian.scan import ElementIds

CODE_BITS = 32  # features whose observed flags are packed into one integer at a time


@dataclass(frozen=True)
class MissingPatterns:
    """Missing values of a block of sequences.

    Attributes
    ----------
    elements
        For each distinct pattern of a sequence, and each time step: the id of the set of
        observed features. The last id, the identity element, pads after the end of a sequence.
    pattern
        Pattern of each sequence.
    observed
        1 where a feature is in the set, else 0; the last row, after the end, has zeros.
    """

    elements: ElementIds
    pattern: Int[Tensor, " sequence"]
    observed: Float[Tensor, "element feature"]

    @classmethod
    def of(
        cls,
        values: Float[Tensor, "sequence time feature"],
        lengths: Int[Tensor, " sequence"] | None,
    ) -> "MissingPatterns":
        """Find the patterns of sequences of these lengths, or of full length."""
        observed = ~values.isnan()
        codes = torch.zeros(observed.shape[:2], dtype=torch.int64, device=values.device)
        for chunk in () if bool(observed.all()) else observed.split(CODE_BITS, dim=2):
            weights = 2 ** torch.arange(chunk.shape[2], device=values.device)
            joint = codes * 2**CODE_BITS + (chunk * weights).sum(2)
            codes = joint.unique(return_inverse=True)[1]
        count = int(codes.max()) + 1
        example = torch.empty(count, dtype=torch.int64, device=values.device)
        example[codes.flatten()] = torch.arange(codes.numel(), device=values.device)
        sets = observed.flatten(0, 1)[example].to(values.dtype)
        if lengths is not None:
            after_end = torch.arange(codes.shape[1], device=values.device) >= lengths[:, None]
            codes = codes.masked_fill(after_end, count)
        pattern, representative = _unique_rows(codes)
        return cls(ElementIds(codes[representative], count), pattern, pad(sets, (0, 0, 0, 1)))


def _unique_rows(
    rows: Int[Tensor, "sequence time"],
) -> tuple[Int[Tensor, " sequence"], Int[Tensor, " pattern"]]:
    """Pattern of each row, and the index of one row of each pattern.

    Rows are compared by a random hash modulo 2**64, which is then verified. In case of a collision
    each row is a pattern of its own, which does not affect the result.
    """
    index = torch.arange(len(rows), device=rows.device)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(2**62, rows.shape[1:], generator=generator).to(rows.device)
    unique, pattern = (rows * weights).sum(1).unique(return_inverse=True)
    representative = torch.empty_like(unique)
    representative[pattern] = index
    if bool((rows[representative[pattern]] == rows).all()):
        return pattern, representative
    return index, index
