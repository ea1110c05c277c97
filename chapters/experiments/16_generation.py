"""Every method of generation on StoryWorld, judged exactly: by the probability that the world itself gives a text.

Three writers: the ideal reader, whose distribution is the true one; a network that has read 2.4 M words; and the same
network after a third as many, which the chapter trains again. Each continues the same unseen beginnings by every
method.

Criteria, set before the run. A method *gains* if the share of possible sentences is larger than that of plain sampling
from the same writer, by more than a Bonferroni-corrected 95 % interval of the paired difference over the contexts
(seeds averaged), and with the same sign for all three seeds. If the ideal reader's plain sampling cannot be improved,
and the network's can, what the methods mend are errors of the network. *Beam search is cursed* on these stories if the
share of possible continuations falls from width 1 to width 16 for all three seeds, without a penalty on length.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments import story_dialogues as talk
from plm_chapters.experiments import story_generation as stories
from plm_chapters.experiments import storyworld_models as models
from plm_core.evaluation.skills import by_model, read_ideally, score_skills
from plm_core.generation.beam import Beam
from plm_core.generation.decoding import generate
from plm_core.generation.speculative import speculate
from plm_core.models.counting import num_parameters
from plm_core.models.gpt import Gpt
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.story import EOS, mix
from plm_core.storyworld.tasks import summaries

IDEAL, NETWORK, BRIEF = "ideal reader", "2.4 M words", "0.8 M words"
VARIANTS = [IDEAL, BRIEF, NETWORK]
SEEDS = [0, 1, 2]

SHAPE, RATE = "Transformer, 0.1 M", 0.016
"""The shape, and the peak learning rate that the page on StoryWorld takes for it."""
TOKENS = {BRIEF: 800_000, NETWORK: 2_400_000}
DRAFT_WIDTH, DRAFT_TOKENS = 32, 300_000
"""Width of the draft model of speculative decoding, which has one block, and the number of words it has read."""
CONTEXTS, SAMPLES = 160, 2
STORIES = 48
"""Beginnings of five sentences whose stories are written to their end."""
CONTRASTED = 24
"""How many of them contrastive search, which takes one text at a time, writes."""
MOST_WORDS = 300
ENDINGS = 32
"""Beginnings of ten sentences whose endings beam search looks for."""
WIDTHS = [1, 2, 4, 16]
ENDING_WORDS = 120
TASK_STORIES, TASK_RATE = 1_200, 0.004
"""Stories with a summary, and as many dialogues, that the network is fine-tuned on, and the peak rate."""
JUDGED = 120
"""Summaries and dialogues that are judged."""
GAMMAS = [1, 2, 4, 8]
LONG = ["plain sampling", "temperature 0.7", "top-p 0.9", "min-p 0.1", "typical 0.9", "greedy", "greedy, penalty 1.2"]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Let one writer continue stories by every method."""
    torch.set_num_threads(1)  # the networks are small: further threads would wait for each other
    world = StoryWorld("small", "en")
    told = stories.contexts(world, CONTEXTS)
    if variant == IDEAL:
        return {
            "sentences": stories.by_method(told, None, world, samples=SAMPLES, seed=seed),
            "stories": long_stories(None, world, seed),
            "endings": endings(None, world) if seed == SEEDS[0] else None,  # nothing in them depends on the seed
        }
    writer, losses = trained(variant, world, seed, folder)
    result = {
        "parameters": num_parameters(writer.model),
        "tokens": TOKENS[variant],
        "rate": RATE,
        **losses,
        "sentences": stories.by_method(told, writer, world, samples=SAMPLES, seed=seed),
    }
    if variant == BRIEF:
        return result
    draft = draft_model(writer, seed, folder / "draft")
    return {
        **result,
        "stories": long_stories(writer, world, seed),
        "endings": endings(writer, world),
        "speculation": speculation(writer, draft, told, seed),
        **tasks(writer, seed, folder / "tasks"),
    }


def trained(
    variant: str, world: StoryWorld, seed: int, folder: Path | None = None
) -> tuple[stories.Writer, dict[str, float]]:
    """A network that has read stories, and its loss on unseen ones beside the ideal reader's, in nats a word."""
    words = talk.all_words(world)
    model = models.make_model(SHAPE, len(words), seed)
    assert isinstance(model, Gpt)
    documents = models.training_documents(world, seed, TOKENS[variant])
    models.train(model, documents, rate=RATE, seed=seed, folder=folder)
    unseen = list(world.stories(0, "valid", 60))
    scored = {each.skill: each for each in score_skills(read_ideally(unseen), by_model(model, words)(unseen))}["all"]
    return stories.Writer(model, words, world), {"entropy": scored.entropy, "excess": scored.excess}


def draft_model(writer: stories.Writer, seed: int, folder: Path | None = None) -> Gpt:
    """A network of one narrower block, for speculative decoding: about a fifth of the parameters."""
    torch.manual_seed(seed)
    draft = Gpt(
        writer.model.config.replace(
            hidden_size=DRAFT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=4 * DRAFT_WIDTH,
            initializer_range=0.7 / math.sqrt(DRAFT_WIDTH),
        )
    )
    models.train(
        draft, models.training_documents(writer.world, seed, DRAFT_TOKENS), rate=RATE, seed=seed, folder=folder
    )
    return draft


# --- whole stories --------------------------------------------------------------------------------------------------


def long_stories(writer: stories.Writer | None, world: StoryWorld, seed: int) -> dict[str, dict[str, float]]:
    """Stories written to their end by several methods; ``"the world"`` are the true ends of the same stories."""
    told = stories.contexts(world, STORIES, sentences=5)
    prompts = [context.words for context in told]
    found = {"the world": score_stories(told, [context.rest for context in told], world)}
    for name in LONG:
        sampling = stories.SAMPLERS[name]
        if writer is None and sampling.repetition_penalty != 1:
            continue
        if writer is None:
            texts = stories.ideal_sampled(told, sampling, world, stop=EOS, most=MOST_WORDS, seed=seed)
        else:
            texts = writer.sampled(prompts, sampling, stop=EOS, most=MOST_WORDS, seed=seed)
        found[name] = score_stories(told, texts, world)
    if writer is not None:
        texts = writer.contrasted(prompts[:CONTRASTED], stop=EOS, most=MOST_WORDS)
        found[stories.CONTRASTIVE] = score_stories(told[:CONTRASTED], texts, world)
    return found


def score_stories(
    told: Sequence[stories.Context], texts: Sequence[Sequence[str]], world: StoryWorld
) -> dict[str, float]:
    """What written ends of stories are like, as means over stories.

    Returns:
        ``possible``: the share that is possible as a whole; ``sentences_possible``: sentences before the first word
        that is not possible; ``sentences``, ``words``; ``ended``: the share that ends with ``<eos>``; ``repeated``:
        the share of 4-grams of the new words that stood in them before; ``same_sentence``: the share of sentences that
        stood among the new ones before; ``distinct``: the share of different texts after different beginnings.
    """
    rows = []
    for context, words in zip(told, texts, strict=True):
        count, _ = stories.judge(context, words)
        sentences = " ".join(words).split(f" {world.full_stop}")
        whole = [each.strip() for each in sentences if each.strip() not in ("", EOS)]
        rows.append(
            {
                "possible": float(count == len(words) and words[-1] == EOS),
                "sentences_possible": float(list(words[:count]).count(world.full_stop)),
                "sentences": float(list(words).count(world.full_stop)),
                "words": float(len(words)),
                "ended": float(words[-1] == EOS),
                "repeated": stories.repeated([word for word in words if word != EOS]),
                "same_sentence": 1 - len(set(whole)) / max(1, len(whole)),
            }
        )
    return {key: math.fsum(row[key] for row in rows) / len(rows) for key in rows[0]}


# --- endings by beam search -----------------------------------------------------------------------------------------


def endings(writer: stories.Writer | None, world: StoryWorld) -> dict[str, dict[str, Any]]:
    """The endings that beam search finds, by width and penalty, beside the true endings."""
    told = stories.contexts(world, ENDINGS, sentences=10)
    prompts = [context.words for context in told]
    true = [context.rest for context in told]
    found = {"the world": score_endings(told, true, world, writer)}
    settings = {f"width {width}": Beam(width, ENDING_WORDS, alpha=0.0) for width in WIDTHS}
    settings |= {f"width {width}, mean": Beam(width, ENDING_WORDS, "division", 1.0) for width in (4, 16)}
    for name, beam in settings.items():
        if writer is None:
            best = stories.ideal_searched(told, beam, world, stop=EOS)
        else:
            best = writer.searched(prompts, beam, stop=EOS)
        found[name] = score_endings(told, [words for words, _ in best], world, writer)
    return found


def score_endings(
    told: Sequence[stories.Context], texts: Sequence[Sequence[str]], world: StoryWorld, writer: stories.Writer | None
) -> dict[str, Any]:
    """Endings: their length, the writer's own surprisal, whether each is possible, and the exact surprisal if so."""
    judged = [stories.judge(context, words) for context, words in zip(told, texts, strict=True)]
    whole = [count == len(words) and words[-1] == EOS for (count, _), words in zip(judged, texts, strict=True)]
    exact = [nats for (_, nats), right in zip(judged, whole, strict=True) if right]
    own = (
        [writer.nats(context.words, words) for context, words in zip(told, texts, strict=True)]
        if writer is not None
        else exact
    )
    return {
        "possible": [float(right) for right in whole],
        "sentences": sum(list(words).count(world.full_stop) for words in texts) / len(texts),
        "words": sum(map(len, texts)) / len(texts),
        "own_nats": math.fsum(own) / len(own) if own else None,
        "exact_nats": math.fsum(exact) / len(exact) if exact else None,
        "ended": sum(words[-1] == EOS for words in texts) / len(texts),
        "repeated": math.fsum(map(stories.repeated, texts)) / len(texts),
    }


# --- speculative decoding -------------------------------------------------------------------------------------------


def speculation(
    writer: stories.Writer, draft: Gpt, told: Sequence[stories.Context], seed: int
) -> dict[str, dict[str, float]]:
    """Acceptance, tokens for each pass of the network, and time beside plain decoding, by tokens proposed at once."""
    prompts = [writer.ids(context.words) for context in told[:24]]
    found = {}
    for gamma in GAMMAS:
        proposed = accepted = passes = new = 0
        took = {"with": 0.0, "without": 0.0}
        for number, prompt in enumerate(prompts):
            start = time.perf_counter()
            (plain,) = generate(writer.model, [prompt], max_new_tokens=48, seed=mix(seed, number))
            took["without"] += (time.perf_counter() - start) / (len(plain) - len(prompt))
            start = time.perf_counter()
            result = speculate(
                writer.model, draft, prompt, max_new_tokens=48, draft_tokens=gamma, seed=mix(seed, number)
            )
            took["with"] += (time.perf_counter() - start) / (len(result.tokens) - len(prompt))
            proposed, accepted = proposed + result.proposed, accepted + result.accepted
            passes, new = passes + result.target_passes, new + len(result.tokens) - len(prompt)
        found[str(gamma)] = {
            "acceptance": accepted / proposed,
            "tokens_per_pass": new / passes,
            "speed": took["without"] / took["with"],
        }
    return found


# --- summaries and dialogues ----------------------------------------------------------------------------------------


def tasks(writer: stories.Writer, seed: int, folder: Path) -> dict[str, Any]:
    """Fine-tune a copy of the network on summaries and dialogues; judge those that it writes about unseen stories."""
    world = writer.world
    model = models.make_model(SHAPE, len(writer.words), seed)
    assert isinstance(model, Gpt)
    model.load_state_dict(writer.model.state_dict())
    documents = talk.documents(world, TASK_STORIES, seed=1000 + seed)
    models.train(model, documents, rate=TASK_RATE, seed=seed, folder=folder)
    tuned = stories.Writer(model, writer.words, world)
    torch.manual_seed(seed)
    return {
        "summaries": talk.score_summaries(tuned, list(summaries(world, JUDGED, split="test")), seed=seed),
        "dialogues": talk.score_dialogues(tuned, list(talk.dialogues(world, JUDGED, seed=0, split="test")), seed=seed),
    }
