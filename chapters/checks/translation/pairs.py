"""Checks of the exercises on pairs: the shift and the masks by pencil, label smoothing, batches and cross-attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor

# --- 1: shift and masks by pencil -----------------------------------------------------------------------------------

pencil = Check("The shift and the three masks")


def _entry(answer: Any, name: str) -> Any:
    if not isinstance(answer, Mapping) or set(answer) != {"inputs", "encoder", "decoder", "cross"}:
        raise CheckFailed("by_pencil should be a dictionary with the keys inputs, encoder, decoder and cross")
    if answer[name] is ... or answer[name] is None:
        raise CheckFailed(f"{name} is still missing")
    return answer[name]


@pencil.stage("the shift")
def _(answer: Any, draw: Draw) -> None:
    found = list(_entry(answer, "inputs"))
    if found == [7, 8, 9, 2]:
        raise CheckFailed("these are the labels: the decoder would read what it is to predict")
    if found == [1, 7, 8, 9, 2]:
        raise CheckFailed("one token too many: nothing is to be predicted after the end token, so it is not read")
    if found != [1, 7, 8, 9]:
        raise CheckFailed("the start token comes first, and each label follows one place later")


@pencil.stage("two stacks alone")
def _(answer: Any, draw: Draw) -> None:
    encoder, decoder = _entry(answer, "encoder"), _entry(answer, "decoder")
    if encoder == 16:
        raise CheckFailed("encoder: the padding of the source is a key that no query may see")
    if encoder == 9:
        raise CheckFailed("encoder: count the row of the padded token too; it sees the real tokens, and is not used")
    if encoder != 12:
        raise CheckFailed(f"encoder is not {encoder}: four queries, and three real keys for each")
    if decoder == 6:
        raise CheckFailed("decoder: each token also sees itself")
    if decoder != 10:
        raise CheckFailed(f"decoder is not {decoder}: the first place sees one token, the last one all four")


@pencil.stage("cross-attention")
def _(answer: Any, draw: Draw) -> None:
    cross = _entry(answer, "cross")
    if cross == 16:
        raise CheckFailed("cross: the padding of the source is hidden here as well")
    if cross in (6, 9, 10):
        raise CheckFailed("cross: nothing is causal here, each place sees the whole source")
    if cross != 12:
        raise CheckFailed(f"cross is not {cross}: four places of the target, three real tokens of the source")


# --- 2: label smoothing, predicted ----------------------------------------------------------------------------------

predicted = Check("Label smoothing, predicted")


def _numbers(answer: Any) -> list[float]:
    if not isinstance(answer, Sequence) or len(answer) != 4 or any(each is ... or each is None for each in answer):
        raise CheckFailed("smoothed should be a list of four numbers")
    return [float(each) for each in answer]


def _near(found: float, right: float) -> bool:
    return abs(found - right) <= 0.01 * abs(right)


@predicted.stage("the target")
def _(answer: Any, draw: Draw) -> None:
    label, other, *_ = _numbers(answer)
    if _near(label, 0.8):
        raise CheckFailed("the right token gets its part of the share that is spread, too: 1 - s + s / V")
    if not _near(label, 0.84):
        raise CheckFailed(f"the probability of the right token is not {label}: it is 1 - s + s / V")
    if _near(other, 0.05):
        raise CheckFailed("the share is spread over all V tokens, not over the V - 1 wrong ones")
    if not _near(other, 0.04):
        raise CheckFailed(f"the probability of a wrong token is not {other}: it is s / V")


@predicted.stage("the lowest loss")
def _(answer: Any, draw: Draw) -> None:
    loss = _numbers(answer)[2]
    if loss == 0:
        raise CheckFailed("not 0: the lowest cross-entropy is the entropy of the target")
    if _near(loss, -math.log(0.84)):
        raise CheckFailed("this is the surprisal of the right token alone: the four others count with weight 0.04 each")
    if not _near(loss, 0.6615):
        raise CheckFailed("it is -0.84 ln 0.84 - 4 · 0.04 ln 0.04")


@predicted.stage("the distance of the logits")
def _(answer: Any, draw: Draw) -> None:
    distance = _numbers(answer)[3]
    if _near(distance, 21.0):
        raise CheckFailed("this is the ratio of the probabilities; the logits differ by its logarithm")
    if not _near(distance, math.log(21)):
        raise CheckFailed("at the optimum p = q, and logits differ by the logarithm of the ratio of probabilities")


# --- 3: cross-attention ---------------------------------------------------------------------------------------------

crossing = Check("Cross-attention")

AttentionFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Any]


def _attention_case(draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, targets, sources, width, other = draw.sizes(5, 2, 8)
    sources = max(sources, 3)
    real_BS = torch.ones(batch, sources, dtype=torch.bool)
    real_BS[-1, -2:] = False
    return (
        draw.normal(batch, targets, width, scale=2.0),
        draw.normal(batch, sources, width, scale=2.0),
        draw.normal(batch, sources, other),
        real_BS,
    )


def _attended(
    q_BTK: Tensor, k_BSK: Tensor, v_BSM: Tensor, real_BS: Tensor, *, scale: bool = True, axis: int = -1
) -> Tensor:
    scores_BTS = q_BTK @ k_BSK.transpose(1, 2) / (math.sqrt(q_BTK.shape[-1]) if scale else 1.0)
    scores_BTS = scores_BTS.masked_fill(~real_BS[:, None], -math.inf)
    return scores_BTS.softmax(dim=axis) @ v_BSM


@crossing.stage("shape")
def _(function: AttentionFunction, draw: Draw) -> None:
    q_BTK, k_BSK, v_BSM, real_BS = _attention_case(draw)
    found = function(q_BTK.clone(), k_BSK.clone(), v_BSM.clone(), real_BS.clone())
    hints = {"this has one row for each source token: the queries come from the target": v_BSM.shape}
    expect_tensor(found, (*q_BTK.shape[:2], v_BSM.shape[2]), what="the context", hints=hints)


@crossing.stage("padding")
def _(function: AttentionFunction, draw: Draw) -> None:
    q_BTK, k_BSK, v_BSM, real_BS = _attention_case(draw)
    before = expect_tensor(function(q_BTK, k_BSK, v_BSM, real_BS), (*q_BTK.shape[:2], v_BSM.shape[2]))
    if bool(before.isnan().any()):
        raise CheckFailed(
            "the context holds NaN: does the softmax go over the source tokens, the last axis of (B, T, S)?"
        )
    moved = v_BSM.clone()
    moved[~real_BS] += 5
    if not torch.equal(function(q_BTK, k_BSK, moved, real_BS), before):
        raise CheckFailed("the values of padding reach the context: hide the keys where real_BS is False")


@crossing.stage("reference")
def _(function: AttentionFunction, draw: Draw) -> None:
    case = _attention_case(draw)
    mistakes = {
        "the scores are not divided by the root of K": lambda: _attended(*case, scale=False),
        "the softmax goes over the source tokens, the last axis of (B, T, S)": lambda: _attended(*case, axis=1),
    }
    expect_close(function(*[each.clone() for each in case]), _attended(*case), what="the context", mistakes=mistakes)


# --- 4: batches of pairs --------------------------------------------------------------------------------------------

collating = Check("A batch of pairs")

CollateFunction = Callable[[list[tuple[list[int], list[int]]], int, int, int], Any]
KEYS = ("input_ids", "attention_mask", "decoder_input_ids", "labels")


def _pairs(draw: Draw) -> list[tuple[list[int], list[int]]]:
    lengths = draw.sizes(6, 1, 8)
    return [
        ([draw.integer(3, 60) for _ in range(source)], [draw.integer(3, 60) for _ in range(target)])
        for source, target in zip(lengths[:3], lengths[3:], strict=True)
    ]


def _collated(function: CollateFunction, some: list[tuple[list[int], list[int]]]) -> dict[str, Tensor]:
    found = function([(list(source), list(target)) for source, target in some], 1, 2, 0)
    if not isinstance(found, Mapping) or set(found) != set(KEYS):
        raise CheckFailed(f"collate should return a dictionary with the keys {', '.join(KEYS)}")
    sources, targets = (1 + max(len(pair[side]) for pair in some) for side in (0, 1))
    tensors = {}
    for name in KEYS:
        width = sources if name in KEYS[:2] else targets
        hints = {"every source and every target gets an end token": (len(some), width - 1)}
        tensors[name] = expect_tensor(found[name], (len(some), width), what=name, hints=hints)
    return tensors


@collating.stage("shapes and sources")
def _(function: CollateFunction, draw: Draw) -> None:
    some = _pairs(draw)
    found = _collated(function, some)
    if found["attention_mask"].dtype != torch.bool:
        raise CheckFailed("attention_mask should be a bool tensor, True for real tokens")
    for row, (source, _) in enumerate(some):
        real = [*source, 2]
        if found["input_ids"][row].tolist() != real + [0] * (found["input_ids"].shape[1] - len(real)):
            raise CheckFailed("input_ids: the source, the end token, then padding")
        if found["attention_mask"][row].tolist() != [place < len(real) for place in range(found["input_ids"].shape[1])]:
            raise CheckFailed("attention_mask: True for the source and its end token, False for padding")


@collating.stage("the shift")
def _(function: CollateFunction, draw: Draw) -> None:
    some = _pairs(draw)
    found = _collated(function, some)
    for row, (_, target) in enumerate(some):
        inputs = found["decoder_input_ids"][row].tolist()
        if inputs[: len(target)] == target:
            raise CheckFailed("the decoder reads the token that it is to predict: shift the target, start token first")
        if inputs[: len(target) + 1] != [1, *target]:
            raise CheckFailed("decoder_input_ids: the start token, then the target")


@collating.stage("what counts")
def _(function: CollateFunction, draw: Draw) -> None:
    some = _pairs(draw)
    found = _collated(function, some)
    for row, (_, target) in enumerate(some):
        labels = found["labels"][row].tolist()
        if labels[: len(target)] == target and labels[len(target)] != 2:
            raise CheckFailed("the end token is a label too: without it nothing learns to stop")
        if labels[: len(target) + 1] != [*target, 2]:
            raise CheckFailed("labels: the target, then the end token")
        if set(labels[len(target) + 1 :]) - {-100}:
            raise CheckFailed("padding must not be scored: its label is -100, which cross_entropy leaves out")
