"""What flows into layers is seen without padding, and thinned without favourites."""

import pytest
import torch
from torch import nn

from plm_core.compression.calibration import calibrate, recorded_inputs
from plm_core.compression.inputs import thinned, watched_inputs
from plm_core.compression.low_rank import input_moments
from plm_core.data.batch import real_tokens
from plm_core.data.batches import PaddedBatches
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.objectives.causal_lm import CausalLM
from plm_core.runs.compression_steps import score_all


@pytest.fixture
def bert() -> Bert:
    torch.manual_seed(0)
    return Bert(
        BertConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    ).eval()


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(0))


def padded(ids: torch.Tensor, pads: int) -> dict[str, torch.Tensor]:
    mask = torch.zeros(len(ids), ids.shape[1] + pads, dtype=torch.bool)
    mask[:, : ids.shape[1]] = True
    return {"input_ids": torch.nn.functional.pad(ids, (0, pads), value=7), "attention_mask": mask}


def test_moments_do_not_see_padding(bert, ids):
    short = input_moments(bert, lambda model: model(**padded(ids, 0)))
    long = input_moments(bert, lambda model: model(**padded(ids, 60)))
    for name, moments in short.items():
        if name.startswith("encoder") or "attention" in name or "feed_forward" in name:
            torch.testing.assert_close(long[name], moments, rtol=1e-5, atol=1e-6)


def test_moments_of_a_causal_model_do_not_see_padding_either():
    torch.manual_seed(0)
    gpt = Gpt(GptConfig(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)).eval()
    rows = [list(range(5, 30)), list(range(3, 9)), list(range(20, 32))]
    together = PaddedBatches(rows, batch_size=3, pad_id=0, seed=0).in_order()[0]
    alone = [PaddedBatches([row], batch_size=1, pad_id=0, seed=0).in_order()[0] for row in rows]
    assert "attention_mask" not in together  # which is why it has to be added
    assert int(real_tokens(together).sum()) < together["input_ids"].numel()
    padded_moments = input_moments(gpt, lambda model: score_all(CausalLM(), [together], model))
    expected = input_moments(gpt, lambda model: score_all(CausalLM(), alone, model))
    assert any("feed_forward" in name for name in expected)
    for name, moments in expected.items():
        torch.testing.assert_close(padded_moments[name], moments, rtol=1e-5, atol=1e-6)


def test_recorded_values_do_not_come_from_padding(bert, ids):
    found = []
    for pads in (0, 60):
        with torch.no_grad(), recorded_inputs(bert) as seen:
            bert(**padded(ids, pads))
        found.append({name: torch.cat(values).aminmax() for name, values in seen.items() if values})
    for name, short in found[0].items():
        if "attention" in name or "feed_forward" in name:
            torch.testing.assert_close(found[1][name], short, rtol=1e-5, atol=1e-6)


def test_a_mask_by_position_counts_and_packed_masks_by_their_diagonal(bert, ids):
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
            return self.layer(x)

    model, x = Wrapped(), torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [True, True, True, False]])
    for given in (mask, mask[:, :, None] & mask[:, None, :], None):
        seen: list[torch.Tensor] = []
        with watched_inputs(model, lambda name, found, seen=seen: seen.append(found)):
            model(x, given)
        torch.testing.assert_close(seen[0], x.flatten(0, 1) if given is None else x[mask])
    seen = []
    model(x)
    assert not seen  # the hooks are gone


def test_an_outlier_in_any_channel_is_seen():
    layer = nn.Sequential(nn.Linear(128, 4))
    x = torch.randn(8, 64, 128, generator=torch.Generator().manual_seed(0))
    x[..., 5] *= 50
    with recorded_inputs(layer, values_per_call=4096) as found:
        layer(x)
    large = (found["0"][0].abs() > 10).float().mean()
    assert float(large) == pytest.approx(
        float((x.abs() > 10).float().mean()), abs=0.004
    )  # 3 standard deviations of 4096 draws
    ranges = calibrate(layer, lambda model: model(x), method="percentile", percentile=99.9)
    assert ranges["0"].scale * 255 > 100  # a range of the size that the outlier needs


def test_thinning_draws_without_replacement_and_keeps_what_is_few():
    values = torch.arange(1000.0)
    found = thinned(values, 100, torch.Generator().manual_seed(0))
    assert len(found.unique()) == 100
    assert thinned(values, 1000, torch.Generator()) is values
