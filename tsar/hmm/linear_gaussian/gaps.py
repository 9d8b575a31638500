"""Which features are observed when: kinds of steps, and sequences that have the same gaps."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.linear_gaussian.scan import Kinds

BITS = 32  # features whose pattern is packed into a number at once


@dataclass(frozen=True)
class Gaps:
    """What is missing in a block of sequences.

    Attributes
    ----------
    kinds
        Kind of each step of each distinct pattern of gaps; the last number is behind the end.
    patterns
        Pattern that each sequence has.
    masks
        1 where a kind of step observes a feature; the last row, behind the end, has zeros.
    """

    kinds: Kinds
    patterns: Int[Tensor, " sequence"]
    masks: Float[Tensor, "kind feature"]

    @classmethod
    def of(
        cls,
        values: Float[Tensor, "sequence time feature"],
        lengths: Int[Tensor, " sequence"] | None,
    ) -> "Gaps":
        """Find the gaps of sequences that end after `lengths` points, or at the end of time."""
        seen = ~values.isnan()
        codes = torch.zeros(seen.shape[:2], dtype=torch.int64, device=values.device)
        for part in () if bool(seen.all()) else seen.split(BITS, dim=2):
            weights = 2 ** torch.arange(part.shape[2], device=values.device)
            joined = codes * 2**BITS + (part * weights).sum(2)
            codes = joined.unique(return_inverse=True)[1]
        count = int(codes.max()) + 1
        some = torch.empty(count, dtype=torch.int64, device=values.device)
        some[codes.flatten()] = torch.arange(codes.numel(), device=values.device)
        masks = seen.flatten(0, 1)[some].to(values.dtype)
        if lengths is not None:
            behind = torch.arange(codes.shape[1], device=values.device) >= lengths[:, None]
            codes = codes.masked_fill(behind, count)
        patterns, chosen = _distinct(codes)
        masks = torch.nn.functional.pad(masks, (0, 0, 0, 1))
        return cls(Kinds(codes[chosen], count), patterns, masks)


def _distinct(
    rows: Int[Tensor, "sequence time"],
) -> tuple[Int[Tensor, " sequence"], Int[Tensor, " pattern"]]:
    """Number of the pattern of each row, and a row of each pattern."""
    each = torch.arange(len(rows), device=rows.device)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(2**62, rows.shape[1:], generator=generator).to(rows.device)
    found, patterns = (rows * weights).sum(1).unique(return_inverse=True)  # modulo 2 ** 64
    chosen = torch.empty_like(found)
    chosen[patterns] = each
    if bool((rows[chosen[patterns]] == rows).all()):
        return patterns, chosen
    return each, each
