"""The measurements of the exercise on a new stage: two ways to begin it, and what it does to the stage before."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor

from plm_core.data.batch import Batch
from plm_core.data.labels import next_token_labels
from plm_core.data.masking import Masker
from plm_core.evaluation.validation import validate
from plm_core.models.bert import Bert, BertConfig
from plm_core.objectives.base import Objective
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.prefix_lm import CausalTrunkLM

SPECIAL = [0, 1]
"""Padding and [MASK]."""
WORDS, ROWS, LENGTH, RATE = 10, 16, 12, 1e-2


def first_steps(*, keep_moments: bool, steps: int = 30) -> list[float]:
    """How far a weight moves in each of the first steps of stage M, in learning rates.

    In stage C its gradient was 1 for a thousand steps; in stage M it is -0.1.
    """
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1.0, betas=(0.9, 0.95), eps=1e-12)

    def move(gradient: float) -> float:
        before = weight.item()
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
        return weight.item() - before

    if keep_moments:
        for _ in range(1000):
            move(1.0)
    return [move(-0.1) for _ in range(steps)]


@cache
def new_stage(seed: int = 0, *, steps: int = 40) -> dict[str, float]:
    """The validation loss of C, in nats a word: after stage C, after stage M, and after stage M with replay.

    The texts are those of a Markov chain, the trunk has one block. With replay, every fifth batch of stage M is one of
    C. Both ways begin with the weights that stage C has handed on, and with a new optimiser.
    """
    generator = torch.Generator().manual_seed(seed)
    chain_VV = torch.randn(WORDS, WORDS, generator=generator).mul(2).softmax(-1)
    masker = Masker(vocab_size=WORDS + 2, mask_token_id=1, special_ids=SPECIAL, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape = BertConfig(
            vocab_size=WORDS + 2,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=LENGTH,
            type_vocab_size=0,
            norm_position="pre",
        )
        model = Bert(shape)
        held_out = [for_next_words(rows_BT) for rows_BT in texts(chain_VV, 8, generator)]

        def train(tasks: str) -> float:
            optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
            for number, (task, rows_BT) in enumerate(zip(tasks, texts(chain_VV, len(tasks), generator), strict=True)):
                objective: Objective = CausalTrunkLM() if task == "C" else MaskedLM()
                batch = for_next_words(rows_BT) if task == "C" else for_gaps(rows_BT, masker, number)
                loss = objective(model, batch)
                optimizer.zero_grad()
                (loss.total / loss.count).backward()
                optimizer.step()
            return validate(model, CausalTrunkLM(), held_out)["loss"]

        found = {"after C": train("C" * steps)}
        handed_on = copy.deepcopy(model.state_dict())
        found["after M"] = train("M" * steps)
        model.load_state_dict(handed_on)
        return found | {"after M with replay": train("CMMMM" * (steps // 5))}


def texts(chain_VV: Tensor, batches: int, generator: torch.Generator) -> Tensor:
    """Texts of a Markov chain, (batches, B, T), as ids above those of the special tokens."""
    words = [torch.randint(WORDS, (batches * ROWS,), generator=generator)]
    for _ in range(LENGTH - 1):
        words.append(torch.multinomial(chain_VV[words[-1]], 1, generator=generator)[:, 0])
    return torch.stack(words, dim=1).view(batches, ROWS, LENGTH) + len(SPECIAL)


def for_next_words(rows_BT: Tensor) -> Batch:
    """A batch of C: the label of each word is the next one."""
    return {"input_ids": rows_BT, "labels": next_token_labels(rows_BT)}


def for_gaps(rows_BT: Tensor, masker: Masker, number: int) -> Batch:
    """A batch of M: the labels are the words that were chosen."""
    shown_BT, labels_BT = masker(rows_BT, range(number * ROWS, (number + 1) * ROWS))
    return {"input_ids": shown_BT, "labels": labels_BT}
