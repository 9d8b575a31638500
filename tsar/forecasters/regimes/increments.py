"""Quantiles of cumulative sums of regime-switching increments, by Fourier inversion.

The value h steps ahead is the newest one plus the sum of h increments. With K states the exact
distribution of the sum is a mixture of K^h normals, one per path of states; its characteristic
function is a product of h K x K matrices at each frequency: ``p' (A D)^h 1`` with the transition
matrix A and the diagonal matrix D of the states' normal characteristic functions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from tsar.forecasters.regimes.fourier import FourierInversion, component_quantiles
from tsar.forecasters.regimes.mixture import NormalMixture
from tsar.hmm.discrete.inference import apply_powers, predict_states
from tsar.hmm.discrete.parameters import GaussianParameters
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

TAIL_STDS = 9.0  # a normal distribution has no float64 mass beyond
CUTOFF_STDS = 6.0  # std times the largest frequency: the characteristic function is 1e-8 there
MIN_FREQUENCIES, MAX_FREQUENCIES = 64, 1 << 13
MAX_COMPLEX = BLOCK_ELEMENTS // 2  # complex128 elements held at once: 32 MB
TIER_RATIO = 200.0  # of the ranges of states that share one Fourier series


def cumulative_quantiles(
    models: GaussianParameters,
    has_state: Bool[Tensor, "window state"],
    probabilities: Float[Tensor, "window state"],
    horizon: int,
    levels: Sequence[float],
) -> Float[Tensor, "window horizon level"]:
    """Quantiles of the sums of the first 1, 2, ..., `horizon` increments.

    The first step is a normal mixture. The others are inverted for steps 2 to 4, 5 to 10, 11 to
    22, ... at a time, over the span that their sums can reach, to 1e-6 of its width and levels of
    1e-7. Paths that visit a state of a far larger range than the others have a Fourier series of
    their own. Sums with a standard deviation below about 1/5000 of the span would need more than
    `MAX_FREQUENCIES` frequencies, and are widened to that.

    Each window has a model of its increments, the states that it has, and their `probabilities`
    just before the first increment.

    References
    ----------
    Gil-Pelaez 1951, "Note on the inversion theorem", Biometrika 38; as a Fourier series, Hughett
    1998, "Error bounds for numerical inversion of a probability characteristic function".

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> walk = GaussianParameters(one, one[None], 0.5 * one[None], 4 * one[None])
    >>> cumulative_quantiles(walk, one > 0, one, 4, [0.5, 0.975]).round(decimals=2)[0, [0, 3]]
    tensor([[0.5000, 4.4200],
            [2.0000, 9.8400]], dtype=torch.float64)
    """
    targets = torch.tensor(list(levels), dtype=probabilities.dtype, device=probabilities.device)
    found = probabilities.new_empty(len(probabilities), horizon, len(targets))
    weights = predict_states(probabilities, models.transmat, 1)[:, 0]
    stds = models.covars[:, :, 0].sqrt()
    found[:, 0] = NormalMixture(weights, models.means[:, :, 0], stds).quantiles(levels)
    tiers = range_tiers(models, has_state)
    tiered = tiers.amax(dim=1) > 0
    single = (~tiered).nonzero()[:, 0]
    chains = IncrementChains.of(models, has_state, probabilities).select(single)
    first = 2
    while first <= horizon:
        last = min(2 * first, horizon)
        for rows, n_frequencies in chains.batches(first, last):
            part = chains.select(rows)
            for begin, end in part.step_chunks(first, last, n_frequencies):
                inversion = part.invert(begin, end, n_frequencies, part.span(last))
                steps = torch.arange(begin, end + 1, device=probabilities.device)
                shift = (steps * part.center[:, None])[:, :, None]
                found[single[rows], begin - 1 : end] = inversion.quantiles(targets) + shift
        for row in tiered.nonzero()[:, 0].tolist():
            found[row, first - 1 : last] = _tiered_quantiles(
                models, has_state, probabilities, tiers[row], row, first, last, targets
            )
        first = last + 1
    return found


def range_tiers(
    models: GaussianParameters, has_state: Bool[Tensor, "window state"]
) -> Int[Tensor, "window state"]:
    """Tier of each state by its range: 0 for the most frequent state and similar ones, 1, 2, ...

    The range is the standard deviation plus the distance from the mean of the most frequent state.
    Tiers are powers of `TIER_RATIO`, numbered consecutively.
    """
    means, stds = models.means[:, :, 0], models.covars[:, :, 0].sqrt()
    frequent = models.startprob.masked_fill(~has_state, 0.0).argmax(dim=1, keepdim=True)
    ranges = (means - means.gather(1, frequent)).abs() + stds
    power = (ranges / stds.gather(1, frequent)).log() / torch.log(torch.tensor(TIER_RATIO))
    power = power.clamp(min=0).floor().masked_fill(~has_state, 0.0)
    tiers = torch.zeros_like(power, dtype=torch.long)
    for row in power.any(dim=1).nonzero()[:, 0].tolist():
        tiers[row] = power[row].unique(return_inverse=True)[1]
    return tiers


@dataclass(frozen=True)
class IncrementChains:
    """Markov chains of normal increments, one per window, centred between their means.

    Attributes
    ----------
    transmat, probabilities
        Transition matrix, and probability of each state before the first increment.
    means, variances
        Of each state, the means minus `center`; a state that the chain lacks repeats another one.
    center, width
        Midpoint and range of the uncentred means.
    """

    transmat: Float[Tensor, "window state state"]
    probabilities: Float[Tensor, "window state"]
    means: Float[Tensor, "window state"]
    variances: Float[Tensor, "window state"]
    center: Float[Tensor, " window"]
    width: Float[Tensor, " window"]

    @classmethod
    def of(
        cls,
        models: GaussianParameters,
        allowed: Bool[Tensor, "window state"],
        probabilities: Float[Tensor, "window state"],
    ) -> "IncrementChains":
        """Chains of models, restricted to paths that visit allowed states only."""
        default = allowed.int().argmax(dim=1, keepdim=True)
        means, variances = models.means[:, :, 0], models.covars[:, :, 0]
        means = torch.where(allowed, means, means.gather(1, default))
        variances = torch.where(allowed, variances, variances.gather(1, default))
        low, high = means.aminmax(dim=1)
        center = low + (high - low) / 2
        transmat = models.transmat * allowed[:, None]
        return cls(transmat, probabilities, means - center[:, None], variances, center, high - low)

    def select(self, rows: Tensor) -> "IncrementChains":
        """Chains of some windows."""
        return IncrementChains(*(getattr(self, field.name)[rows] for field in fields(self)))

    def span(self, steps: int) -> Float[Tensor, " window"]:
        """Width of the interval around zero that holds the sum of a number of steps."""
        return steps * self.width + 2 * TAIL_STDS * (steps * self.variances.amax(dim=1)).sqrt()

    def batches(self, first: int, last: int) -> Iterator[tuple[Tensor, int]]:
        """Windows that need the same number of frequencies, in batches of bounded memory."""
        counts = self.n_frequencies(first, last, self.variances.amin(dim=1) * first)
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero()[:, 0]
            elements = self._elements(count, last - first + 1)
            for part in rows.split(rows_within(MAX_COMPLEX, elements)):
                yield part, count

    def step_chunks(self, first: int, last: int, n_frequencies: int) -> Iterator[tuple[int, int]]:
        """First and last step of consecutive chunks of bounded memory."""
        elements = len(self.probabilities) * self._elements(n_frequencies, 1)
        size = rows_within(MAX_COMPLEX, elements)
        for begin in range(first, last + 1, size):
            yield begin, min(begin + size - 1, last)

    def _elements(self, n_frequencies: int, steps: int) -> int:
        """Elements that the steps of one window take."""
        states = self.means.shape[1]
        return n_frequencies * (steps * (states + 8) + 4 * states**2)

    def n_frequencies(
        self, first: int, last: int, min_variance: Float[Tensor, " window"]
    ) -> Int[Tensor, " window"]:
        """Frequencies that resolve a sum of variance `min_variance`: a power of two."""
        needed = CUTOFF_STDS / (2 * torch.pi) * self.span(last) / min_variance.sqrt()
        power = needed.clamp(MIN_FREQUENCIES, MAX_FREQUENCIES).log2().ceil().long()
        return torch.ones_like(power) << power

    def invert(
        self,
        first: int,
        last: int,
        n_frequencies: int,
        span: Float[Tensor, " window"],
        *,
        min_variance: Float[Tensor, " window"] | None = None,
        exclude: "IncrementChains | None" = None,
    ) -> FourierInversion:
        """Distributions of the centred sums of `first` to `last` steps: Fourier series on a span.

        `min_variance` is the smallest variance of a sum; None for `first` steps in the narrowest
        state. The paths of the chains `exclude` are left out.
        """
        frequencies = torch.arange(n_frequencies + 1).to(span) * (2 * torch.pi / span[:, None])
        values = self._characteristic_functions(frequencies, first, last)
        if exclude is not None:
            steps = torch.arange(first, last + 1, device=span.device)
            shift = (steps * (exclude.center - self.center)[:, None])[..., None]
            angle = frequencies[:, None] * shift
            phase = torch.polar(torch.ones_like(angle), angle)
            values = values - phase * exclude._characteristic_functions(frequencies, first, last)
        if min_variance is None:
            min_variance = first * self.variances.amin(dim=1)
        # A sum whose function has not decayed at the largest frequency is widened until it has.
        widening = ((CUTOFF_STDS / frequencies[:, -1]).square() - min_variance).clamp(min=0)
        values = values * (-0.5 * widening[:, None] * frequencies.square()).exp()[:, None]
        return FourierInversion(frequencies, values, span)

    def _characteristic_functions(
        self, frequencies: Float[Tensor, "window frequency"], first: int, last: int
    ) -> Complex[Tensor, "window step frequency"]:
        """Characteristic functions of the centred sums of `first` to `last` steps."""
        windows, n_frequencies = frequencies.shape
        angle = frequencies[:, :, None] * self.means[:, None]
        log_modulus = -0.5 * frequencies.square()[:, :, None] * self.variances[:, None]
        normal = torch.polar(log_modulus.exp(), angle)
        step = (self.transmat[:, None] * normal[:, :, None]).flatten(0, 1)
        initial = self.probabilities[:, None].expand(-1, n_frequencies, -1).flatten(0, 1).to(step)
        initial = (initial[:, None] @ torch.linalg.matrix_power(step, first - 1))[:, 0]
        values = apply_powers(initial, step, last - first + 1).sum(dim=2)
        return values.view(windows, n_frequencies, -1).mT


def _tiered_quantiles(
    models: GaussianParameters,
    has_state: Bool[Tensor, "window state"],
    probabilities: Float[Tensor, "window state"],
    tiers: Int[Tensor, " state"],
    row: int,
    first: int,
    last: int,
    levels: Float[Tensor, " level"],
) -> Float[Tensor, "step level"]:
    """Quantiles of one window, with a Fourier series for the paths that reach each tier.

    The paths of a tier are those within its states and the lower ones, without those of the tier
    below.
    """
    model = GaussianParameters(*(part[row : row + 1] for part in vars(models).values()))
    previous: IncrementChains | None = None
    chains: list[tuple[IncrementChains, IncrementChains | None, Tensor, int]] = []
    for tier in range(int(tiers.max()) + 1):
        allowed = has_state[row : row + 1] & (tiers <= tier)
        chain = IncrementChains.of(model, allowed, probabilities[row : row + 1])
        variance = chain.variances[:, tiers == tier].amin(dim=1)
        # Every path of a higher tier visits one of its states at least once.
        min_variance = variance * first if tier == 0 else variance
        n_frequencies = int(chain.n_frequencies(first, last, min_variance))
        chains.append((chain, previous, min_variance, n_frequencies))
        previous = chain
    largest = max(n_frequencies for *_, n_frequencies in chains)
    chunks = []
    for begin, end in chains[-1][0].step_chunks(first, last, largest):
        steps = torch.arange(begin, end + 1, device=probabilities.device)
        components = []
        for chain, exclude, variance, count in chains:
            span = chain.span(last)
            inversion = chain.invert(
                begin, end, count, span, min_variance=variance, exclude=exclude
            )
            components.append((inversion, steps * chain.center))
        chunks.append(component_quantiles(components, levels))
    return torch.cat(chunks)
