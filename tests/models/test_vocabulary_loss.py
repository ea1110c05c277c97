"""The sliced loss is the loss: same value, same gradients, same hits, whatever the slices, precision and labels."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plm_core.data.labels import IGNORE
from plm_core.models import vocabulary_loss as module
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.vocabulary_loss import vocabulary_logits, vocabulary_loss
from plm_core.objectives.causal_lm import CausalLM


def reference(x, weight, labels, smoothing):
    logits = (x @ weight.T).float() if x.dtype != torch.float64 else x @ weight.T
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing)
    return total, (logits.argmax(-1) == labels).sum()


@pytest.mark.parametrize("rows_of_a_slice", [1, 3, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignored", ["none", "some", "all"])
@pytest.mark.parametrize("left_out", [True, False], ids=["left out", "computed, as on a GPU"])
def test_equals_the_loss_of_all_logits(rows_of_a_slice, smoothing, ignored, left_out, monkeypatch) -> None:
    monkeypatch.setitem(module.SLICE, "cpu", 11 * rows_of_a_slice)
    torch.manual_seed(0)
    x = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(11, (8,))
    if ignored != "none":
        labels[[0, 4] if ignored == "some" else slice(None)] = IGNORE
    expected, hits = reference(x, weight, labels, smoothing)
    wanted = torch.autograd.grad(3 * expected, (x, weight))
    if left_out:
        losses = vocabulary_loss(x, weight, labels, label_smoothing=smoothing)
    else:
        losses = module.TokenLosses(*module._SlicedLoss.apply(x, weight, labels, smoothing))
    found = torch.autograd.grad(3 * losses.total, (x, weight))
    assert losses.total.item() == pytest.approx(expected.item(), abs=1e-10)
    assert int(losses.correct) == int(hits)
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_products_are_short_and_the_sums_long(dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 16, requires_grad=True)
    weight = torch.randn(30, 16, requires_grad=True)
    labels = torch.randint(30, (50,))
    with torch.autocast("cpu", dtype=dtype):
        losses = vocabulary_loss(x, weight, labels)
    assert losses.total.dtype == torch.float32
    found = torch.autograd.grad(losses.total, (x, weight))
    expected, _ = reference(x, weight, labels, 0.0)
    assert losses.total.item() == pytest.approx(expected.item(), rel=2e-2)
    for mine, wanted in zip(found, torch.autograd.grad(expected, (x, weight)), strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - wanted).norm() / wanted.norm()) < 2e-2


def test_large_logits_stay_finite() -> None:
    x = torch.tensor([[1000.0, -1000.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], requires_grad=True)
    losses = vocabulary_loss(x, weight, torch.tensor([2]))
    losses.total.backward()
    assert losses.total.item() == pytest.approx(2000.0)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(weight.grad).all()


def test_nothing_is_kept_without_gradients() -> None:
    with torch.no_grad():
        losses = vocabulary_loss(torch.randn(4, 3), torch.randn(6, 3), torch.tensor([0, 1, 2, IGNORE]))
    assert not losses.total.requires_grad


def test_the_objective_gives_the_same_parts_either_way() -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    model = Gpt(GptConfig(vocab_size=40, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **shape))
    ids = torch.randint(40, (3, 9))
    batch = {"input_ids": ids, "labels": ids.roll(-1, 1).index_fill(1, torch.tensor([8]), IGNORE)}
    gradients = []
    for sliced in (False, True):
        objective = CausalLM(label_smoothing=0.1, sliced=sliced)
        model.zero_grad()
        parts = objective(model, batch)
        parts.total.backward()
        gradients.append([p.grad for p in model.parameters()])
        assert parts.count == 24
        assert objective.for_evaluation()(model, batch).total.item() != pytest.approx(parts.total.item())
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_few_tokens_have_the_logits_of_the_output_layer():
    """The transposed product is used for 2 to 16 tokens without gradients; hooks and other layers are respected."""
    torch.manual_seed(0)
    head, seen = nn.Linear(8, 50, bias=False).double(), []
    with torch.no_grad():
        for shape in ((1, 1), (2, 1), (2, 5), (16, 1), (17, 1)):
            x_BTD = torch.randn(*shape, 8, dtype=torch.float64)
            logits_BTV = vocabulary_logits(head, x_BTD)
            torch.testing.assert_close(logits_BTV, head(x_BTD))
        x_BTD = torch.randn(4, 1, 8, dtype=torch.float64)
        biased = nn.Linear(8, 50).double()
        torch.testing.assert_close(vocabulary_logits(biased, x_BTD), biased(x_BTD))
        head.register_forward_hook(lambda module, inputs, output: seen.append(output))
        vocabulary_logits(head, x_BTD)
    assert len(seen) == 1
