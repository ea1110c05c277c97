"""Checks of the exercise in which a GPT is assembled and trained.

The student's model is a function of a dictionary of parameters, named as in :class:`plm_core.models.gpt.Gpt`. Letters:
B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.models.gpt import Gpt, GptConfig

Logits = Callable[[dict[str, Tensor], Tensor, int], Tensor]

whole = Check("Assemble and train a GPT")

HEADS, VOCAB_SIZE, STEPS = 4, 12, 80


def tiny_gpt(draw: Draw, *, initializer_range: float = 0.3) -> Gpt:
    """A small model of the library, with biases and norms away from their initial values, so that all of them count."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw.seed % 2**31)
        model = Gpt(
            GptConfig(
                vocab_size=VOCAB_SIZE,
                hidden_size=16,
                num_attention_heads=HEADS,
                intermediate_size=40,
                max_position_embeddings=16,
                initializer_range=initializer_range,
            )
        ).eval()
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def parameters_of(model: Gpt) -> dict[str, Tensor]:
    """Copies of the parameters by name, ready to be trained."""
    return {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}


def counting_up(count: int, generator: torch.Generator) -> Tensor:
    """Sequences that count up from a random start, modulo V: ids (count, 10). The next id is certain."""
    start = torch.randint(VOCAB_SIZE, (count, 1), generator=generator)
    return (start + torch.arange(10)) % VOCAB_SIZE


@whole.stage("shape")
def _(logits: Logits, train: Any, draw: Draw) -> None:
    model, ids = tiny_gpt(draw), torch.randint(VOCAB_SIZE, (2, 7), generator=draw.generator)
    hints = {"apply the output layer, the word embeddings transposed": (2, 7, 16)}
    expect_tensor(logits(parameters_of(model), ids, HEADS), (2, 7, VOCAB_SIZE), what="logits(...)", hints=hints)


@whole.stage("no token sees a later one")
def _(logits: Logits, train: Any, draw: Draw) -> None:
    parameters, ids = parameters_of(tiny_gpt(draw)), torch.randint(VOCAB_SIZE, (1, 7), generator=draw.generator)
    changed = ids.clone()
    changed[0, -1] = (ids[0, -1] + 1) % VOCAB_SIZE
    before, after = logits(parameters, ids, HEADS)[:, :-1], logits(parameters, changed, HEADS)[:, :-1]
    if not torch.allclose(before, after, atol=1e-5):
        raise CheckFailed("another last token changes earlier logits: is the causal mask there?")


@whole.stage("the library's logits")
def _(logits: Logits, train: Any, draw: Draw) -> None:
    model, ids = tiny_gpt(draw), torch.randint(VOCAB_SIZE, (2, 9), generator=draw.generator)
    states: list[Tensor] = []
    hook = model.decoder.final_norm.register_forward_hook(lambda _, inputs, __: states.append(inputs[0]))  # type: ignore[union-attr]
    right = model(ids)
    hook.remove()
    assert isinstance(right, Tensor)
    mistakes = {"the last norm is missing: nothing else normalises the stream": states[0] @ model.lm_head.weight.T}
    message = "Blocks are pre-norm, the activation is GELU's tanh approximation, scores are divided by sqrt(K)."
    expect_close(
        logits(parameters_of(model), ids, HEADS), right, what="logits(...)", message=message, mistakes=mistakes
    )


@whole.stage("training")
def _(logits: Logits, train: Any, draw: Draw) -> None:
    model = tiny_gpt(draw, initializer_range=0.15)
    parameters = parameters_of(model)
    batches = [counting_up(16, draw.generator) for _ in range(STEPS)]
    losses = train(parameters, batches, HEADS)
    if not isinstance(losses, list | tuple) or len(losses) != STEPS:
        raise CheckFailed(f"train(...) should return a list with one loss for each of the {STEPS} batches")
    model.load_state_dict(parameters, strict=False)
    ids = counting_up(32, draw.generator)
    with torch.no_grad():
        predicted = model(ids[:, :-1])
    assert isinstance(predicted, Tensor)
    fresh = F.cross_entropy(predicted.flatten(0, 1), ids[:, 1:].flatten()).item()
    if F.cross_entropy(predicted.flatten(0, 1), ids[:, :-1].flatten()).item() < min(fresh, 1.0):
        raise CheckFailed("the model predicts the token that it reads: the labels are the next tokens, ids[:, 1:]")
    if not fresh < 0.5:
        raise CheckFailed(
            f"after {STEPS} steps the loss on freshly drawn sequences is {fresh:.2f} nats, guessing costs "
            f"{math.log(VOCAB_SIZE):.2f}: AdamW at a rate of 0.01 reaches less than 0.1. Are the gradients set to zero "
            "at each step, and are the parameters in the dictionary the ones that are updated?"
        )
    _expect_two_steps(train, draw)


def _expect_two_steps(train: Any, draw: Draw) -> None:
    """Compare two steps with those of the library's model, in float64, where rounding moves no weight."""
    model = tiny_gpt(draw, initializer_range=0.15).double()
    parameters, batches = parameters_of(model), [counting_up(16, draw.generator) for _ in range(2)]
    returned = train(parameters, batches, HEADS)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=0.01), []
    for ids in batches:
        predicted = model(ids[:, :-1])
        assert isinstance(predicted, Tensor)
        loss = F.cross_entropy(predicted.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    off = [not abs(float(mine) - right) <= 1e-4 for mine, right in zip(returned, losses, strict=True)]
    if any(off):
        why = (
            "the mean over the next tokens, before the step"
            if off[0]
            else "the first is right, so look at the step: AdamW, one for each batch, gradients set to zero"
        )
        seen = ", ".join(f"{float(loss):.4f}" for loss in returned)
        raise CheckFailed(
            f"the losses of two batches are {seen}, and should be {', '.join(f'{loss:.4f}' for loss in losses)}: {why}"
        )
    for name, right in model.named_parameters():
        if not torch.allclose(parameters[name], right, atol=1e-6):
            raise CheckFailed(
                f"after two batches {name} differs from AdamW's at a rate of 0.01: is there one step for each batch, "
                "with gradients set to zero before, and are the settings those that torch.optim.AdamW has by itself?"
            )
