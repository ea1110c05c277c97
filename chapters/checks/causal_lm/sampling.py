"""Checks of the exercises on causal language modelling: nucleus sampling, and the entropy rate of a Markov chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

Function = Callable[..., Any]

nucleus = Check("nucleus: top-p sampling")
floor = Check("entropy_rate: the floor of a Markov chain")


# Exercise 5


def _nucleus_reference(p_V: Tensor, top_p: float) -> Tensor:
    sorted_V, order_V = p_V.sort(descending=True)
    sorted_V = torch.where(sorted_V.cumsum(0) - sorted_V >= top_p, 0.0, sorted_V)
    return torch.zeros_like(p_V).scatter(0, order_V, sorted_V / sorted_V.sum())


@nucleus.stage("a distribution")
def _(keep_nucleus: Function, draw: Draw) -> None:
    p_V = draw.normal(7).softmax(0)
    answer = expect_tensor(keep_nucleus(p_V.clone(), 0.7), (7,), what="keep_nucleus(p_V, 0.7)")
    if not abs(answer.sum().item() - 1) < 1e-4:  # also where the sum is NaN
        raise CheckFailed(f"the result sums to {answer.sum().item():.3f}: divide by what was kept")
    kept_V = answer > 0
    if (p_V[~kept_V] > p_V[kept_V].min()).any():
        raise CheckFailed("the order changed: put the kept probabilities back in their own places")
    if not torch.allclose(answer[kept_V].float(), p_V[kept_V] / p_V[kept_V].sum(), atol=1e-5):
        raise CheckFailed("each kept probability stays in its own place, and all are divided by one number, their sum")


@nucleus.stage("the likeliest alone")
def _(keep_nucleus: Function, draw: Draw) -> None:
    p_V = torch.tensor([0.1, 0.6, 0.3])
    expect_close(
        keep_nucleus(p_V, 0.5),
        torch.tensor([0.0, 1.0, 0.0]),
        message="0.6 alone is at least 0.5, so one token is enough.",
        mistakes={
            "nothing is left: the token that crosses the line belongs to the nucleus.": torch.tensor([math.nan] * 3),
            "one token too many was kept: a token stays while what stands *before* it is below p.": (
                torch.tensor([0.0, 2 / 3, 1 / 3])
            ),
        },
    )


@nucleus.stage("reference")
def _(keep_nucleus: Function, draw: Draw) -> None:
    for top_p in (0.05, 0.3, 0.62, 0.9, 1.0):
        p_V = draw.normal(draw.integer(3, 30), scale=2.0).softmax(0)
        expect_close(
            keep_nucleus(p_V.clone(), top_p),
            _nucleus_reference(p_V, top_p),
            what=f"keep_nucleus(p_V, {top_p})",
            message="Keep the smallest set of likeliest tokens whose probabilities sum to at least p.",
        )


# Exercise 6


def _chain(draw: Draw, states: int) -> Tensor:
    return draw.normal(states, states, scale=1.5).softmax(-1).double()


def _stationary(chain_SS: Tensor) -> Tensor:
    states = len(chain_SS)
    system = torch.cat([chain_SS.T - torch.eye(states, dtype=chain_SS.dtype), torch.ones(1, states).double()])
    target = torch.zeros(states + 1, 1).double()
    target[-1] = 1
    return torch.linalg.lstsq(system, target).solution[:, 0]


def _rate(chain_SS: Tensor) -> Tensor:
    return -(_stationary(chain_SS)[:, None] * torch.xlogy(chain_SS, chain_SS)).sum()


@floor.stage("a coin")
def _(entropy_rate: Function, draw: Draw) -> None:
    expect_close(
        entropy_rate(torch.full((2, 2), 0.5).double()),
        torch.tensor(math.log(2)),
        what="the rate of a fair coin",
        message="Each toss costs ln 2 nats.",
        mistakes={
            "this is in bits; nats are wanted.": torch.tensor(1.0),
            "the sign is wrong: entropy is not negative.": torch.tensor(-math.log(2)),
            "a sum over states: weigh each state by how often the chain is there.": torch.tensor(2 * math.log(2)),
        },
    )


@floor.stage("certain steps")
def _(entropy_rate: Function, draw: Draw) -> None:
    expect_close(
        entropy_rate(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double()),
        torch.tensor(0.0),
        what="the rate of a chain without choices",
        message="0 log 0 counts as 0: torch.xlogy does that.",
    )


@floor.stage("reference")
def _(entropy_rate: Function, draw: Draw) -> None:
    for states in (2, 3, 7):
        chain_SS = _chain(draw, states)
        often_S = _stationary(chain_SS)
        expect_close(
            entropy_rate(chain_SS.clone()),
            _rate(chain_SS),
            what=f"the rate of a chain of {states} states",
            message="Sum over states: how often the chain is there, times the entropy of what it does next.",
            mistakes={
                "the states are not equally frequent: find the stationary distribution first.": (
                    -torch.xlogy(chain_SS, chain_SS).sum() / states
                ),
                "this is the entropy of the stationary distribution: the chain remembers its state.": (
                    -torch.xlogy(often_S, often_S).sum()
                ),
            },
        )
    chain_SS = torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]).double()
    expect_close(
        entropy_rate(chain_SS),
        torch.tensor(math.log(2) / 2),
        what="the rate of a chain that chooses in every second step",
        message="In the long run it is in state 0 half of the time.",
        mistakes={
            "a high power of the matrix still depends on where this chain began: look for the frequencies that one "
            "step leaves as they are.": torch.tensor(math.log(2)),
        },
    )


def sample_loss(chain_SS: Tensor, steps: int = 20_000) -> float:
    """Mean -log p of a text of the chain: what the best possible model loses on a sample."""
    generator = torch.Generator().manual_seed(0)
    uniforms = torch.rand(steps, generator=generator).tolist()
    cumulative = chain_SS.cumsum(-1).tolist()
    state, nats = 0, 0.0
    for uniform in uniforms:
        following = next((s for s, edge in enumerate(cumulative[state]) if uniform < edge), len(cumulative) - 1)
        nats -= math.log(chain_SS[state, following].item())
        state = following
    return nats / steps
