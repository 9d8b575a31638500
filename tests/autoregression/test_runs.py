import numpy as np
import pytest
import reference_autoregression as reference
import torch

from tsar.autoregression import Runs, complete_runs
from tsar.autoregression.runs import blocks


def random_panel(seed: int) -> tuple[torch.Tensor, list[int]]:
    random = np.random.default_rng(seed)
    offsets = [0, *np.cumsum(random.integers(0, 9, size=12)).tolist()]
    values = random.normal(size=(2, offsets[-1]))
    values[random.random(values.shape) < 0.15] = np.nan
    values[0, random.integers(offsets[-1])] = np.inf
    return torch.tensor(values), offsets


@pytest.mark.parametrize("seed", range(10))
def test_runs_are_those_that_a_loop_over_time_finds(seed: int) -> None:
    values, offsets = random_panel(seed)
    found = complete_runs(values, torch.tensor(offsets))
    listed = list(
        zip(found.starts.tolist(), found.lengths.tolist(), found.group.tolist(), strict=True)
    )
    assert listed == reference.runs(values.numpy(), offsets)
    assert found.n_groups == len(offsets) - 1


def test_a_panel_without_a_finite_point_has_no_run() -> None:
    found = complete_runs(torch.full((1, 5), torch.nan), torch.tensor([0, 2, 5]))
    assert len(found.starts) == 0


@pytest.mark.parametrize("max_lag", [0, 1, 7, 40])
def test_blocks_cover_every_target_once_with_its_lags(max_lag: int) -> None:
    starts, lengths = torch.tensor([3, 60, 30_000]), torch.tensor([50, 20_000, 41])
    runs = Runs(starts, lengths, torch.tensor([1, 0, 1]), 2)
    seen = torch.zeros(30_041)
    for part in blocks(runs, max_lag, 30_041, torch.device("cpu"), width=4):
        for begin, origin, first, last in zip(
            *(x.tolist() for x in (part.begin, part.origin, part.first, part.last)), strict=True
        ):
            assert begin >= 0
            assert begin + part.size <= 30_041
            assert first - origin == max_lag
            assert last <= part.size
            seen[begin + first : begin + last] += 1
    wanted = torch.zeros_like(seen)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        wanted[start + max_lag : start + length] = 1
    torch.testing.assert_close(seen, wanted)


def test_pooled_runs_share_a_group_and_keep_their_weights() -> None:
    weights = torch.tensor([1.0, 2.0])
    runs = Runs(torch.tensor([0, 9]), torch.tensor([9, 4]), torch.tensor([0, 1]), 2, weights)
    pooled = runs.pooled()
    assert pooled.n_groups == 1
    assert pooled.group.tolist() == [0, 0]
    assert pooled.weights is weights
