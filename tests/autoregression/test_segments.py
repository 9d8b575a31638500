import numpy as np
import pytest
import reference_autoregression as reference
import torch

from tsar.autoregression import Segments, observed_segments


def random_panel(seed: int) -> tuple[torch.Tensor, list[int]]:
    random = np.random.default_rng(seed)
    offsets = [0, *np.cumsum(random.integers(0, 9, size=12)).tolist()]
    values = random.normal(size=(2, offsets[-1]))
    values[random.random(values.shape) < 0.15] = np.nan
    values[0, random.integers(offsets[-1])] = np.inf
    return torch.tensor(values), offsets


@pytest.mark.parametrize("seed", range(10))
def test_segments_are_those_of_a_loop_over_time(seed: int) -> None:
    values, offsets = random_panel(seed)
    result = observed_segments(values, torch.tensor(offsets))
    listed = list(
        zip(result.starts.tolist(), result.lengths.tolist(), result.group.tolist(), strict=True)
    )
    assert listed == reference.segments(values.numpy(), offsets)
    assert result.n_groups == len(offsets) - 1


def test_a_panel_without_a_finite_point_has_no_segment() -> None:
    result = observed_segments(torch.full((1, 5), torch.nan), torch.tensor([0, 2, 5]))
    assert len(result.starts) == 0


def test_pooled_segments_share_a_group() -> None:
    segments = Segments(torch.tensor([0, 9]), torch.tensor([9, 4]), torch.tensor([0, 1]), 2)
    pooled = segments.pooled()
    assert pooled.n_groups == 1
    assert pooled.group.tolist() == [0, 0]
