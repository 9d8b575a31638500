import pytest
import torch

from tsar.autoregression import Segments
from tsar.autoregression.overlap_save import overlap_save_blocks


@pytest.mark.parametrize("max_lag", [0, 1, 7, 40])
def test_blocks_cover_every_target_once_with_its_lags(max_lag: int) -> None:
    starts, lengths = torch.tensor([3, 60, 30_000]), torch.tensor([50, 20_000, 41])
    segments = Segments(starts, lengths, torch.tensor([1, 0, 1]), 2)
    covered = torch.zeros(30_041)
    for blocks in overlap_save_blocks(segments, max_lag, 30_041, torch.device("cpu"), width=4):
        columns = (blocks.begin, blocks.first_point, blocks.first_target, blocks.end)
        for begin, first_point, first_target, end in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            assert begin >= 0
            assert begin + blocks.size <= 30_041
            assert first_target - first_point == max_lag
            assert end <= blocks.size
            covered[begin + first_target : begin + end] += 1
    expected = torch.zeros_like(covered)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        expected[start + max_lag : start + length] = 1
    torch.testing.assert_close(covered, expected)
