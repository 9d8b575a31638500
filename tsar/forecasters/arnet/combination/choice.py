"""Which members a combination has, and at how many origins it compares them."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from tsar.data.panel import Frequency
from tsar.forecasters.arnet.combination.members import Member
from tsar.validation import check_integer

SHORT_ORDER = 4  # largest order without a season, and of what a profile leaves
MAX_ORIGINS = 20
MIN_STEPS = 6  # steps at which errors are compared where the horizon is shorter
POINTS_PER_ORIGIN = 25  # a series of so many points is compared at one origin, of twice as many two
MIN_POINTS = 4  # points beyond two seasons that a comparison leaves for the fit
MIN_CONTEXT, CONTEXT_SEASONS = 1000, 10  # newest points that members read


def seasons_of(
    frequency: Frequency, season_length: int | Sequence[int] | None = None
) -> tuple[int, ...]:
    """Points in each season, the shortest first: those given, or those usual at the frequency.

    Parts of a day have a day and a week; 1 is no season.

    Raises
    ------
    TypeError, ValueError
        A given season is not a positive integer.
    """
    if season_length is not None:
        given = season_length if isinstance(season_length, Sequence) else (season_length,)
        seasons = {check_integer("season_length", season) for season in given}
        return tuple(sorted(seasons - {1}))
    season = frequency.season_length
    if frequency.week_length:
        return tuple(sorted({season, frequency.week_length} - {1}))
    return (season,) if season > 1 else ()


def members_of(seasons: Sequence[int]) -> tuple[Member, ...]:
    """Members beside the equation in levels."""
    if not seasons:
        return (
            Member("differences", SHORT_ORDER),
            Member("differences", SHORT_ORDER, log=True),
            Member("smoothing"),
            Member("smoothing", drift=0.5, damping=1.0, log=True),
            Member("drift"),
        )
    first, last = seasons[0], seasons[-1]
    several = len(seasons) > 1
    order = first + 1
    profile_order = order if several else SHORT_ORDER
    members = [
        Member("differences", first),
        *(Member("seasonal differences", order, season) for season in seasons),
        Member("differences", profile_order, last, "auto", drift=0.5, damping=1.0),
        Member("smoothing", season=last, profile="auto"),
    ]
    if several:
        members += [
            Member("levels", order, last, "additive"),
            Member("levels", order, last, "multiplicative"),
        ]
    return tuple(members)


def context_length(seasons: Sequence[int]) -> int:
    """Newest points that the members read."""
    return max(MIN_CONTEXT, CONTEXT_SEASONS * max(seasons, default=1))


def count_origins(
    lengths: Int[Tensor, " series"], seasons: Sequence[int], horizon: int
) -> Int[Tensor, " series"]:
    """Origins at which the members of each series are compared, one horizon apart."""
    needed = max(2 * min(seasons, default=1), 6) + MIN_POINTS
    possible = ((lengths - needed) // horizon).clamp(min=0)
    wanted = (lengths // POINTS_PER_ORIGIN).clamp(1, MAX_ORIGINS)
    return torch.minimum(possible, wanted)


def compared_horizon(horizon: int) -> int:
    """Steps at which errors are compared."""
    return max(horizon, MIN_STEPS)
