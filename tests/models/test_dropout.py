"""Dropout keeps what it should keep, as often as it should, and scales so that the mean stays."""

import math

import pytest
import torch

from plm_core.models.dropout import Dropout, dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_stated_share_is_dropped_and_the_rest_scaled_up(probability, dtype) -> None:
    torch.manual_seed(0)
    count = 200_003  # not a multiple of four
    x = torch.ones(count, dtype=dtype)
    y = dropout(x, probability).double()
    kept = y != 0
    deviation = math.sqrt(count * probability * (1 - probability))
    assert abs(int(kept.sum()) - count * (1 - probability)) < 4 * deviation  # false alarm: 1 in 16,000
    tolerance = 0.01 if dtype == torch.bfloat16 else 1e-4
    assert y[kept].unique().tolist() == pytest.approx([1 / (1 - probability)], rel=tolerance)


def test_neighbours_are_independent() -> None:
    """Four elements share one draw of 64 bits; their coins must not."""
    torch.manual_seed(1)
    kept = (dropout(torch.ones(100_000, 4), 0.5) != 0).double()
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert float(correlation.abs().max()) < 4.5 / math.sqrt(100_000)  # six pairs: false alarm below 1 in 10,000


def test_gradient_goes_where_the_value_went() -> None:
    torch.manual_seed(2)
    x = torch.randn(50, 7, requires_grad=True)
    y = dropout(x, 0.3)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), y.detach())


def test_the_seed_decides_what_is_dropped_and_evaluation_drops_nothing() -> None:
    x = torch.randn(9, 5)
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(dropout(x, 0.4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert dropout(x, 0.4, training=False) is x
    assert dropout(x, 0.0) is x
    assert Dropout(0.4).eval()(x) is x
    assert torch.equal(dropout(x, 1.0), torch.zeros_like(x))


def test_a_tensor_without_elements_is_returned_as_it_is() -> None:
    assert dropout(torch.zeros(0, 3), 0.5).shape == (0, 3)


@pytest.mark.parametrize("probability", [-0.1, 1.5])
def test_a_number_that_is_no_probability_is_refused(probability) -> None:
    with pytest.raises(ValueError, match="lies in"):
        dropout(torch.zeros(2), probability)
