"""Quantiles of what changes add up to, from the characteristic function of the sum.

A step in a state multiplies that function by the one of a normal distribution. After some steps
there are as many parts as paths of states, but at a frequency only a product of small matrices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from tsar.forecasters.regimes.fourier import Series, quantiles_of_sum
from tsar.forecasters.regimes.mixture import mixture_quantiles
from tsar.hmm.discrete.inference import powers_ahead, predict_states
from tsar.hmm.discrete.parameters import Parameters

TAIL = 9.0  # deviations beyond which a normal distribution holds nothing
DECAY = 6.0  # deviations times the largest frequency: the function is 1e-8 there
FEWEST, MOST = 64, 1 << 13  # frequencies
NUMBERS = 1 << 21  # complex numbers that are held at once
RATIO = 200.0  # reaches of states that share a series


def sum_quantiles(
    models: Parameters,
    inside: Bool[Tensor, "window state"],
    now: Float[Tensor, "window state"],
    horizon: int,
    levels: Sequence[float],
) -> Float[Tensor, "window horizon level"]:
    """Quantiles of the sum of the first 1 to `horizon` values of chains.

    The first exactly; the others by Fourier series over the span that a sum can reach, for 2 to 4,
    5 to 10, 11 to 22, ... steps at a time, to 1e-6 of its width and levels of 1e-7. Paths that pass
    states of a far larger reach than the others have series of their own. Regimes narrower than a
    five thousandth of the span, which would take more than `MOST` frequencies, are widened to that.

    Parameters
    ----------
    models, inside
        One for each window, and which states it has.
    now
        Probability of each state just before the first value.
    levels
        In (0, 1).

    Source: Gil-Pelaez 1951, "Note on the inversion theorem", Biometrika 38; in series, Hughett
    1998, "Error bounds for numerical inversion of a probability characteristic function".

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> walk = Parameters(one, one[None], 0.5 * one[None], 4 * one[None])
    >>> sum_quantiles(walk, one > 0, one, 4, [0.5, 0.975]).round(decimals=2)[0, [0, 3]]
    tensor([[0.5000, 4.4200],
            [2.0000, 9.8400]], dtype=torch.float64)
    """
    wanted = torch.tensor(list(levels), dtype=now.dtype, device=now.device)
    found = now.new_empty(len(now), horizon, len(wanted))
    weight = predict_states(now, models.transmat, 1)[:, 0]
    spread = models.spread[:, :, 0].sqrt()
    found[:, 0] = mixture_quantiles(weight, models.center[:, :, 0], spread, levels)
    tiers = reaches(models, inside)
    wild = tiers.amax(dim=1) > 0
    plain, others = (~wild).nonzero()[:, 0], wild.nonzero()[:, 0].tolist()
    chains = Chains.of(models, inside, now).select(plain)
    first = 2
    while first <= horizon:
        last = min(2 * first, horizon)
        for rows, count in chains.batches(first, last):
            part = chains.select(rows)
            for begin, end in part.pieces(first, last, count):
                series = part.series(begin, end, count, part.span(last))
                steps = torch.arange(begin, end + 1, device=now.device)
                moved = (steps * part.middle[:, None])[:, :, None]
                found[plain[rows], begin - 1 : end] = series.quantiles(wanted) + moved
        for row in others:
            found[row, first - 1 : last] = _by_reach(
                models, inside, now, tiers[row], row, first, last, wanted
            )
        first = last + 1
    return found


def reaches(
    models: Parameters, inside: Bool[Tensor, "window state"]
) -> Int[Tensor, "window state"]:
    """Which states reach how far: 0 for the most frequent and all that are like it, 1, 2, ...

    A reach is the distance from the mean of the most frequent, and the deviation.
    """
    level, spread = models.center[:, :, 0], models.spread[:, :, 0].sqrt()
    usual = models.startprob.masked_fill(~inside, 0.0).argmax(dim=1, keepdim=True)
    reach = (level - level.gather(1, usual)).abs() + spread
    power = (reach / spread.gather(1, usual)).log() / torch.log(torch.tensor(RATIO))
    power = power.clamp(min=0).floor().masked_fill(~inside, 0.0)
    tiers = torch.zeros_like(power, dtype=torch.long)
    for row in power.any(dim=1).nonzero()[:, 0].tolist():
        tiers[row] = power[row].unique(return_inverse=True)[1]  # numbered without holes
    return tiers


@dataclass(frozen=True)
class Chains:
    """Chains, a window each, around the middle of their means.

    Attributes
    ----------
    move, now
        Transitions, and the probability of each state.
    level, variance
        Of each state; those of a state that a chain does not have are those of another.
    middle, width
        Middle of the means, and from the lowest to the highest.
    """

    move: Float[Tensor, "window state state"]
    now: Float[Tensor, "window state"]
    level: Float[Tensor, "window state"]
    variance: Float[Tensor, "window state"]
    middle: Float[Tensor, " window"]
    width: Float[Tensor, " window"]

    @classmethod
    def of(
        cls,
        models: Parameters,
        inside: Bool[Tensor, "window state"],
        now: Float[Tensor, "window state"],
    ) -> "Chains":
        """Chains of models, one for each window, that never pass a state outside."""
        usual = inside.int().argmax(dim=1, keepdim=True)
        level, variance = models.center[:, :, 0], models.spread[:, :, 0]
        level = torch.where(inside, level, level.gather(1, usual))
        variance = torch.where(inside, variance, variance.gather(1, usual))
        low, high = level.aminmax(dim=1)
        middle = low + (high - low) / 2
        move = models.transmat * inside[:, None]
        return cls(move, now, level - middle[:, None], variance, middle, high - low)

    def select(self, rows: Tensor) -> "Chains":
        """Some of them."""
        return Chains(*(getattr(self, field.name)[rows] for field in fields(self)))

    def span(self, steps: int) -> Float[Tensor, " window"]:
        """From the lowest to the highest that a sum of some steps reaches."""
        return steps * self.width + 2 * TAIL * (steps * self.variance.amax(dim=1)).sqrt()

    def batches(self, first: int, last: int) -> Iterator[tuple[Tensor, int]]:
        """Windows that take as many frequencies, as many at a time as memory bears."""
        counts = self.counts(first, last, self.variance.amin(dim=1) * first)
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero()[:, 0]
            for part in rows.split(max(1, NUMBERS // self.size(count, last - first + 1))):
                yield part, count

    def pieces(self, first: int, last: int, count: int) -> Iterator[tuple[int, int]]:
        """Steps in stretches of bounded memory."""
        most = max(1, NUMBERS // (len(self.now) * self.size(count, 1)))
        for begin in range(first, last + 1, most):
            yield begin, min(begin + most - 1, last)

    def size(self, count: int, steps: int) -> int:
        """Numbers that some steps of a window take."""
        states = self.level.shape[1]
        return count * (steps * (states + 8) + 4 * states**2)

    def counts(
        self, first: int, last: int, least: Float[Tensor, " window"]
    ) -> Int[Tensor, " window"]:
        """Frequencies that show the least variance, a power of two."""
        needed = DECAY / (2 * torch.pi) * self.span(last) / least.sqrt()
        power = needed.clamp(FEWEST, MOST).log2().ceil().long()
        return torch.ones_like(power) << power

    def series(
        self,
        first: int,
        last: int,
        count: int,
        span: Float[Tensor, " window"],
        *,
        least: Float[Tensor, " window"] | None = None,
        without: "Chains | None" = None,
    ) -> Series:
        """Fourier series of the sums of `first` to `last` steps, by a number of frequencies.

        Parameters
        ----------
        span
            Over which they are.
        least
            Least variance of a sum; None: of as many steps of the narrowest state.
        without
            Chains whose paths do not count.
        """
        frequency = torch.arange(count + 1).to(span) * (2 * torch.pi / span[:, None])
        function = self.functions(frequency, first, last)
        if without is not None:
            steps = torch.arange(first, last + 1, device=span.device)
            angle = (
                frequency[:, None] * (steps * (without.middle - self.middle)[:, None])[..., None]
            )
            turn = torch.polar(torch.ones_like(angle), angle)
            function = function - turn * without.functions(frequency, first, last)
        least = first * self.variance.amin(dim=1) if least is None else least
        # What does not vanish at the last frequency is widened until it does.
        widened = ((DECAY / frequency[:, -1]).square() - least).clamp(min=0)
        function = function * (-0.5 * widened[:, None] * frequency.square()).exp()[:, None]
        return Series(frequency, function, span)

    def functions(
        self, frequency: Float[Tensor, "window frequency"], first: int, last: int
    ) -> Complex[Tensor, "window step frequency"]:
        """Characteristic functions of the sums of `first` to `last` steps."""
        windows, count = frequency.shape
        angle = frequency[:, :, None] * self.level[:, None]
        shrunk = -0.5 * frequency.square()[:, :, None] * self.variance[:, None]
        factor = torch.polar(shrunk.exp(), angle)
        step = (self.move[:, None] * factor[:, :, None]).flatten(0, 1)
        begin = self.now[:, None].expand(-1, count, -1).flatten(0, 1).to(step)
        before = torch.linalg.matrix_power(step, first - 1)
        begin = (begin[:, None] @ before)[:, 0]
        ahead = powers_ahead(begin, step, last - first + 1).sum(dim=2)
        return ahead.view(windows, count, -1).mT


def _by_reach(
    models: Parameters,
    inside: Bool[Tensor, "window state"],
    now: Float[Tensor, "window state"],
    tiers: Int[Tensor, " state"],
    row: int,
    first: int,
    last: int,
    levels: Float[Tensor, " level"],
) -> Float[Tensor, "step level"]:
    """Quantiles of one window: a series for the paths that reach no further, one for the next."""
    mine = Parameters(*(part[row : row + 1] for part in vars(models).values()))
    before: Chains | None = None
    chains: list[tuple[Chains, Chains | None, Tensor, int]] = []
    for tier in range(int(tiers.max()) + 1):
        kept = inside[row : row + 1] & (tiers <= tier)
        part = Chains.of(mine, kept, now[row : row + 1])
        own = part.variance[:, tiers == tier].amin(dim=1)
        least = own * first if tier == 0 else own  # passed once at least
        chains.append((part, before, least, int(part.counts(first, last, least))))
        before = part
    widest = max(count for *_, count in chains)
    pieces = []
    for begin, end in chains[-1][0].pieces(first, last, widest):
        steps = torch.arange(begin, end + 1, device=now.device)
        parts = [
            (part.series(begin, end, count, part.span(last), least=least, without=other), part)
            for part, other, least, count in chains
        ]
        moved = [(series, steps * part.middle) for series, part in parts]
        pieces.append(quantiles_of_sum(moved, levels))
    return torch.cat(pieces)
