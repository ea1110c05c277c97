"""What the experiments on translation share: one way to train a model of pairs, and one way to measure it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch, BatchSource
from plm_core.data.labels import IGNORE
from plm_core.evaluation.modes import evaluation_mode
from plm_core.evaluation.validation import TermsObjective, validate
from plm_core.objectives.seq2seq import Seq2SeqLM
from plm_core.training.checkpoints.directory import LAST, complete
from plm_core.training.config import TrainConfig
from plm_core.training.logs import read_metrics
from plm_core.training.optim import MuonAdamW, decay_groups
from plm_core.training.trainer import Trainer


def muon(model: nn.Module, config: TrainConfig) -> MuonAdamW:
    """Muon for every matrix but embeddings and output layer, AdamW for the rest, on models of any stacks.

    Args:
        model: a Transformer of one or two stacks, or a recurrent network, whose gates count as one matrix.
        config: the rate, the decay and the coefficients of the moving averages.
    """
    matrices = {
        parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2 and "embeddings" not in name and "lm_head" not in name
    }
    betas = config.beta1, config.beta2
    groups = decay_groups(model, config.weight_decay)
    return MuonAdamW(groups, matrices, learning_rate=config.learning_rate, momentum=0.95, betas=betas)


def train(
    model: nn.Module,
    objective: TermsObjective,
    batches: BatchSource,
    *,
    rate: float,
    steps: int,
    valid_batches: Sequence[Batch] = (),
    eval_every: int = 10**6,
    folder: Path | None = None,
) -> tuple[list[list[float]], float]:
    """Train with Muon, a short warm-up and a rate that falls to a tenth by a half cosine.

    Args:
        model: trained in place; the weights at the end are kept, not the best ones.
        objective: what is minimised.
        batches: training batches by number.
        rate: peak of the learning rate.
        steps: how many.
        valid_batches: what to validate on.
        eval_every: how often, in steps.
        folder: where checkpoints go; a run that was interrupted goes on there.

    Returns:
        Step and validation loss without label smoothing, one row for each evaluation, and the processor's seconds.
    """
    config = TrainConfig(
        steps=steps,
        learning_rate=rate,
        warmup_steps=max(1, min(100, steps // 10)),
        weight_decay=0.01,
        eval_every=min(eval_every, steps),
        save_every=100,
        keep_last=1,
        log_every=steps,
    )
    trainer = Trainer(model, objective, batches, config, valid_batches=valid_batches, folder=folder, quiet=True)
    trainer.optimizer = muon(model, config)
    begun, before = time.process_time(), 0.0
    clock = None if folder is None else folder / "seconds"
    if folder is not None and complete(folder, LAST):
        trainer.resume()
        before = float((folder / "seconds").read_text()) if (folder / "seconds").exists() else 0.0
    try:
        trainer.fit()
    finally:
        seconds = before + time.process_time() - begun
        if clock is not None:
            clock.write_text(str(seconds))
    records = trainer.records if folder is None else read_metrics(folder)
    curve = [[record["step"], record["valid/loss"]] for record in records if "valid/loss" in record]
    return curve, seconds


def loss_of(model: nn.Module, batches: Sequence[Batch], objective: TermsObjective | None = None) -> float:
    """The mean surprisal of the target tokens, in nats, without label smoothing."""
    return validate(model, objective or Seq2SeqLM(), batches)["loss"]


@torch.no_grad()
def losses_by_token(model: nn.Module, batch: Batch, decoder_input_ids: Tensor) -> Tensor:
    """The surprisal of each label when the decoder reads these tokens, (B, T), in nats; NaN where there is no label."""
    with evaluation_mode(model):
        logits_BTV = model(batch["input_ids"], decoder_input_ids, attention_mask=batch["attention_mask"])
    labels_BT = batch["labels"]
    log_p_BTV = logits_BTV.log_softmax(dim=-1)
    nats_BT = -log_p_BTV.gather(2, labels_BT.clamp(min=0)[..., None])[..., 0]
    return nats_BT.masked_fill(labels_BT == IGNORE, torch.nan)


@torch.no_grad()
def exact_matches(model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """Whether greedy search writes each target exactly, bool (N,).

    Greedy output equals the target if and only if, at every place, the likeliest token after the *given* prefix is the
    right one: up to the first mistake the given prefix and the model's own are the same. One pass is thus enough.
    """
    found = []
    with evaluation_mode(model):
        for batch in batches:
            logits_BTV = model(batch["input_ids"], batch["decoder_input_ids"], attention_mask=batch["attention_mask"])
            right_BT = (logits_BTV.argmax(dim=-1) == batch["labels"]) | (batch["labels"] == IGNORE)
            found.append(right_BT.all(dim=1))
    return torch.cat(found)


@torch.no_grad()
def mistake_in_prefix(
    model: nn.Module, batches: Sequence[Batch], *, ids: Sequence[int], reach: int = 6, seed: int = 0
) -> dict[str, Any]:
    """What one wrong token in the prefix does to the loss of the tokens after it.

    One place of each target is chosen at random. There the decoder reads the right token, or the model's likeliest
    *wrong* one, or a token drawn evenly from ``ids``; all labels stay. The loss is measured at the places that follow.

    Args:
        model: an encoder-decoder.
        batches: pairs.
        ids: the tokens to draw from, such as all of the target language.
        reach: how many places after the mistake are measured.
        seed: decides places and draws.

    Returns:
        For each of ``"given"``, ``"own"`` and ``"random"`` the mean loss at distance 1 to reach, in nats, and
        ``"count"``, the number of tokens at each distance.
    """
    generator = torch.Generator().manual_seed(seed)
    choices = torch.tensor(ids)
    sums = {kind: torch.zeros(reach, dtype=torch.float64) for kind in ("given", "own", "random")}
    counts = torch.zeros(reach, dtype=torch.long)
    for batch in batches:
        labels_BT, given_BT = batch["labels"], batch["decoder_input_ids"]
        rows, lengths = torch.arange(len(labels_BT)), (labels_BT != IGNORE).sum(dim=1)
        usable = lengths >= 2  # a token to be wrong, and the end token after it
        place = (torch.rand(len(rows), generator=generator) * (lengths - 1).clamp(min=1)).long()  # label that is wrong
        with evaluation_mode(model):
            logits_BTV = model(batch["input_ids"], given_BT, attention_mask=batch["attention_mask"])
        right = labels_BT[rows, place].clamp(min=0)
        scores_BV = logits_BTV[rows, place].scatter(1, right[:, None], -torch.inf)
        own = choices[scores_BV[:, choices].argmax(dim=1)]
        drawn = choices[torch.randint(len(choices) - 1, (len(rows),), generator=generator)]
        drawn = torch.where(drawn == right, choices[-1], drawn)
        for kind, token in (("given", right), ("own", own), ("random", drawn)):
            read_BT = given_BT.clone()
            read_BT[rows[usable], place[usable] + 1] = token[usable]
            nats_BT = losses_by_token(model, batch, read_BT)
            for distance in range(1, reach + 1):
                at = place + distance
                inside = usable & (at < lengths)
                nats = nats_BT[rows[inside], at[inside]]
                sums[kind][distance - 1] += nats.double().sum()
                if kind == "given":
                    counts[distance - 1] += len(nats)
    return {kind: (total / counts).tolist() for kind, total in sums.items()} | {"count": counts.tolist()}
