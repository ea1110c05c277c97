"""Degeneration on real text: what each method of generation makes of a small model of Shakespeare, beside his own text.

The model reads pieces of byte-pair encoding. Each method continues the same passages of held-out text by as many
tokens as the human text is compared on.

Criteria, set before the run. A method *degenerates* if its share of repeated 4-grams is more than twice the human
text's for all three seeds, and *lies near* the human text if the share is less than twice and its mean surprisal under
the model is within 0.5 nats a token of the human text's, for all three seeds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_chapters.experiments import story_generation as stories
from plm_chapters.experiments import storyworld_models as models
from plm_core.data.batches import WindowBatches
from plm_core.data.datasets import tinyshakespeare
from plm_core.data.tokenizer_training import train_bpe
from plm_core.data.tokenizers import Tokenizer
from plm_core.generation.beam import Beam, search
from plm_core.generation.candidates import PromptRows
from plm_core.generation.contrastive import contrastive_search
from plm_core.generation.decoding import generate
from plm_core.generation.sampling import Sampling
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt
from plm_core.objectives.causal_lm import CausalLM
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

VARIANTS = ["tinyshakespeare"]
SEEDS = [0, 1, 2]

VOCABULARY = 1000
CONTEXT, PROMPT, NEW = 192, 64, 128
STEPS, BATCH, RATE = 900, 8, 0.016
"""The rate is that of the same shape on StoryWorld."""
PASSAGES = 40

HUMAN = "Shakespeare"
SAMPLERS = {
    name: sampling for name, sampling in stories.SAMPLERS.items() if name not in ("top-k 3", "min-p 0.3", "penalty 1.2")
} | {"top-k 40": Sampling(top_k=40)}
"""The methods of the stories without three of them, and a wider top-k for the larger vocabulary."""
BEAMS = [4, 16]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Train a model; continue passages by every method and describe the texts."""
    torch.set_num_threads(1)  # the model is small: further threads would wait for each other
    train_text = tinyshakespeare("train")
    test_text = tinyshakespeare("validation") + tinyshakespeare("test")
    tokenizer = train_bpe([train_text], vocab_size=VOCABULARY)
    ids, test_ids = np.array(tokenizer.encode(train_text)), np.array(tokenizer.encode(test_text))
    model = models.make_model("Transformer, 0.1 M", len(tokenizer), seed)
    assert isinstance(model, Gpt)
    source = WindowBatches(ids, context=CONTEXT, batch_size=BATCH, seed=seed)
    valid = WindowBatches(test_ids[:20_000], context=CONTEXT, batch_size=16, seed=0).in_order()
    config = TrainConfig(
        steps=STEPS,
        optimizer="muon",
        learning_rate=RATE,
        schedule="linear",
        warmup_steps=90,
        final_fraction=0.01,
        weight_decay=0.05,
        eval_every=STEPS // 6,
        log_every=STEPS // 6,
        save_every=STEPS // 3,
    )
    trainer = Trainer(model, CausalLM(), source, config, valid_batches=valid, folder=folder, quiet=True)
    trainer.fit()
    known = set(words_of(train_text))
    prompts, human = passages(test_ids)
    texts = {HUMAN: human} | continuations(model, tokenizer, prompts, seed)
    return {
        "parameters": num_parameters(model),
        "train_tokens": len(ids),
        "read_tokens": STEPS * BATCH * CONTEXT,
        "curve": [(each["step"], each["valid/loss"]) for each in trainer.records if "valid/loss" in each],
        "texts": {name: describe(model, tokenizer, prompts, found, known) for name, found in texts.items()},
        "shown": {name: tokenizer.decode(found[0]) for name, found in texts.items()},
        "prompt": tokenizer.decode(prompts[0]),
    }


def passages(test_ids: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts at equal distances of the held-out text, and how Shakespeare continues each."""
    starts = np.linspace(0, len(test_ids) - PROMPT - NEW, PASSAGES).astype(int)
    prompts = [test_ids[start : start + PROMPT].tolist() for start in starts]
    return prompts, [test_ids[start + PROMPT : start + PROMPT + NEW].tolist() for start in starts]


def continuations(
    model: Gpt, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], seed: int
) -> dict[str, list[list[int]]]:
    """The new tokens of each passage by every method."""
    special = sorted(tokenizer.special_ids)
    found = {}
    for name, sampling in SAMPLERS.items():
        rows = generate(
            model,
            prompts,
            max_new_tokens=NEW,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            typical_p=sampling.typical_p,
            repetition_penalty=sampling.repetition_penalty,
            suppressed_token_ids=special,
            seed=seed,
        )
        found[name] = [row[PROMPT:] for row in rows]
    for width in BEAMS:
        best: list[list[int]] = []
        for start in range(0, len(prompts), 15):
            group = prompts[start : start + 15]
            with torch.inference_mode():
                candidates = PromptRows(model.eval(), group, width, suppressed=special)  # no end: none was ever read
                outputs = search(candidates, len(group), Beam(width, NEW, alpha=0.0), stop_token_id=tokenizer.eos_id)
            best += [list(output.tokens) for (output, *_) in outputs]
        found[f"beam {width}"] = best
    contrasted = [contrastive_search(model, prompt, max_new_tokens=NEW)[PROMPT:] for prompt in prompts]
    return found | {stories.CONTRASTIVE: contrasted}


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"[a-z']+", text.lower())


@torch.no_grad()
def describe(
    model: Gpt,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[Sequence[int]],
    known: set[str],
) -> dict[str, float]:
    """What texts of equal length are like.

    Returns:
        ``repeated``: the share of 4-grams of tokens that stood in the same text before; ``loops``: the share of texts
        whose last 16 tokens stood in them before; ``nats``: mean surprisal under the model, in nats a token;
        ``words``: entropy of the distribution of all words, in nats; ``known``: the share of words that occur in the
        training text, the first and the last word of each text left out, as they may be cut.
    """
    nats, counts, right, total = 0.0, Counter[str](), 0, 0
    for prompt, text in zip(prompts, texts, strict=True):
        ids = torch.tensor([[*prompt, *text]])
        log_p_TV = model.eval()(ids[:, :-1])[0, -len(text) :].double().log_softmax(-1)
        nats -= float(log_p_TV.gather(1, ids[0, -len(text) :, None]).sum())
        words = words_of(tokenizer.decode(text))
        counts.update(words)
        right += sum(word in known for word in words[1:-1])
        total += len(words[1:-1])
    shares = np.array(list(counts.values())) / counts.total()
    return {
        "repeated": float(np.mean([stories.repeated([str(token) for token in text]) for text in texts])),
        "loops": float(np.mean([loops(text) for text in texts])),
        "nats": nats / sum(map(len, texts)),
        "words": float(-(shares * np.log(shares)).sum()),
        "known": right / max(1, total),
    }


def loops(text: Sequence[int], length: int = 16) -> bool:
    """Whether the last tokens of a text stood in it before."""
    last = list(text[-length:])
    return any(list(text[start : start + length]) == last for start in range(len(text) - length))
