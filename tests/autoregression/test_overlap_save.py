import pytest
import torch

from tsar.autoregression import Segments
from tsar.autoregression.overlap_save import _block_sizes, _chunk_sizes, overlap_save_blocks


@pytest.mark.parametrize("max_lag", [0, 1, 7, 40])
def test_blocks_cover_every_target_once_with_its_lags(max_lag: int) -> None:
    starts, lengths = torch.tensor([3, 60, 30_000]), torch.tensor([50, 20_000, 41])
    segments = Segments(starts, lengths, torch.tensor([1, 0, 1]), 2)
    covered = torch.zeros(30_041)
    for blocks in overlap_save_blocks(segments, max_lag, 30_041, torch.device("cpu"), width=4):
        assert blocks.within == (int(blocks.begin.max()) + blocks.size <= 30_041)
        for begin, end in zip(blocks.begin.tolist(), blocks.end.tolist(), strict=True):
            assert max_lag < end <= blocks.size
            covered[begin + max_lag : begin + end] += 1
    expected = torch.zeros_like(covered)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        expected[start + max_lag : start + length] = 1
    torch.testing.assert_close(covered, expected)


def test_the_size_of_a_block_depends_on_its_segment_alone() -> None:
    lengths = torch.arange(17, 1000)
    sizes = torch.cat([_block_sizes(length[None]) for length in lengths])
    torch.testing.assert_close(_block_sizes(lengths), sizes)
    assert bool(((sizes >= lengths) & (4 * sizes <= 5 * lengths + 8) & (sizes % 2 == 0)).all())


def test_a_window_past_the_end_reads_zeros() -> None:
    values = torch.arange(1.0, 41)[None]
    segments = Segments(torch.tensor([0, 20]), torch.tensor([20, 20]), torch.arange(2), 2)
    shift = torch.zeros(2, 1, dtype=torch.float64)
    for blocks in overlap_save_blocks(segments, 3, 40, torch.device("cpu"), width=4):
        read = blocks.read(values, shift)[:, 0]
        torch.testing.assert_close(read[:, :20], values.double().view(2, 20))
        assert not read[:, 20:].any()


@pytest.mark.parametrize("counts", [[1] * 12, [3, 1, 2, 9, 1, 12, 1, 1, 4], [11], [4, 4, 4]])
def test_chunks_end_with_a_group_or_after_a_fixed_part_of_it(counts: list[int]) -> None:
    rows = 4
    group = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    chunks = group.split(_chunk_sizes(group, rows))
    assert sum(map(len, chunks)) == len(group)
    assert all(0 < len(chunk) < 2 * rows for chunk in chunks)
    for label, count in enumerate(counts):
        parts = [int((chunk == label).sum()) for chunk in chunks if bool((chunk == label).any())]
        whole, rest = divmod(count, rows)
        expected = [rows] * whole + [rest] * (rest > 0) if count > rows else [count]
        assert parts == expected
