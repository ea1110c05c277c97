"""Prefixes are drawn uniformly, leave a token to be predicted, and depend on nothing but seed and number."""

import torch

from plm_core.data.batches import PaddedBatches
from plm_core.data.prefixes import PrefixBatches, prefix_lengths


def test_prefixes_are_drawn_uniformly_and_leave_a_token():
    """Of 20,000 prefixes of rows of 8 tokens each length's share lies within 5 standard errors: 8 x 6e-7."""
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = prefix_lengths(uniform, torch.full((20_000,), 8))
    shares = torch.bincount(drawn, minlength=8) / 20_000
    assert len(shares) == 8
    assert ((shares - 1 / 8).abs() < 5 * (7 / 64 / 20_000) ** 0.5).all()
    assert prefix_lengths(torch.tensor([1 - 1e-16], dtype=torch.float64), torch.tensor([3])).tolist() == [2]


def test_batches_are_those_of_the_source_with_prefixes_inside_their_rows():
    rows = [[3] * length for length in (1, 9, 4, 6, 2)]
    plain = PaddedBatches(rows, batch_size=2, pad_id=0, seed=0)
    source = PrefixBatches(plain, seed=1)
    for index in (7, 2):
        batch = source.batch(index)
        assert torch.equal(batch["input_ids"], plain.batch(index)["input_ids"])
        assert (batch["prefix_lengths"] < (batch["input_ids"] > 0).sum(1)).all()
        assert torch.equal(batch["prefix_lengths"], source.batch(index)["prefix_lengths"])
    found = [batch["prefix_lengths"].tolist() for batch in source.in_order()]
    assert found == [batch["prefix_lengths"].tolist() for batch in source.in_order()]
    assert sum(map(len, found)) == 5
    assert len(source.in_order()[1:]) == 2
