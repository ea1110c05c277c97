"""Generated stories and their exact judge: contexts, methods of choosing words, and whether a story can go on so.

The judge is the ideal reader. A continuation is *possible* if the world could tell it after the context, and then the
reader knows its exact probability. The same methods are applied to a network and to the ideal reader's own
distribution: what a method gains on the network alone, it gains by avoiding the network's errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor

from plm_core.generation.beam import Beam, Output, continue_prompts, search
from plm_core.generation.contrastive import contrastive_search
from plm_core.generation.decoding import generate
from plm_core.generation.sampling import Sampling, choose, uniform_numbers
from plm_core.models.gpt import Gpt
from plm_core.storyworld import IdealReader, NotOfThisWorld, StoryWorld
from plm_core.storyworld.reader import Cursor
from plm_core.storyworld.story import EOS, mix

END = 0
"""The id of ``<eos>``, before and after every story."""
SENTENCE_TOKENS = 40
"""The longest sentence that is generated, in words; the longest of the world is shorter."""
FEWEST, MOST = 5, 12
"""Least and largest number of sentences in a context."""

SAMPLERS: dict[str, Sampling] = {
    "plain sampling": Sampling(),
    "temperature 0.5": Sampling(0.5),
    "temperature 0.7": Sampling(0.7),
    "temperature 1.3": Sampling(1.3),
    "top-k 3": Sampling(top_k=3),
    "top-k 10": Sampling(top_k=10),
    "top-p 0.5": Sampling(top_p=0.5),
    "top-p 0.9": Sampling(top_p=0.9),
    "min-p 0.1": Sampling(min_p=0.1),
    "min-p 0.3": Sampling(min_p=0.3),
    "typical 0.5": Sampling(typical_p=0.5),
    "typical 0.9": Sampling(typical_p=0.9),
    "penalty 1.2": Sampling(repetition_penalty=1.2),
    "greedy": Sampling(0),
    "greedy, penalty 1.2": Sampling(0, repetition_penalty=1.2),
}
"""Methods that choose one word at a time."""
BEAMS = {"beam 4": Beam(4, SENTENCE_TOKENS, alpha=0.0), "beam 16": Beam(16, SENTENCE_TOKENS, alpha=0.0)}
"""Beam search without a penalty: the likeliest sentence that it finds."""
CONTRASTIVE = "contrastive search"
"""With the library's settings, k = 4 and alpha = 0.6."""


@dataclass(frozen=True)
class Context:
    """The beginning of an unseen story: what was told, and how the story really goes on."""

    words: list[str]
    rest: list[str]
    """The remaining words, ``<eos>`` included."""
    cursor: Cursor
    """The ideal reader after the beginning."""


def contexts(world: StoryWorld, count: int, *, sentences: int | None = None, split: str = "test") -> list[Context]:
    """Beginnings of unseen stories.

    Args:
        world: the world.
        count: how many.
        sentences: how many sentences each has; by default between :data:`FEWEST` and :data:`MOST`.
        split: which stories.
    """
    reader, found = IdealReader(world), []
    for number, story in enumerate(world.stories(0, split)):
        shown = Random(mix(number, 16)).randint(FEWEST, MOST) if sentences is None else sentences
        if len(story.sentences) > shown:
            words = [word for sentence in story.sentences[:shown] for word in sentence.words]
            found.append(Context(words, story.words[len(words) :], reader.cursor(words)))
        if len(found) == count:
            return found
    raise AssertionError("stories never end")


# --- judges ---------------------------------------------------------------------------------------------------------


def judge(context: Context, words: Sequence[str]) -> tuple[int, float]:
    """How many words of a continuation are possible before the first that is not, and their surprisal in nats."""
    cursor, nats = context.cursor.copy(), 0.0
    for place, word in enumerate(words):
        try:
            nats += cursor.push(word)
        except NotOfThisWorld:
            return place, nats
    return len(words), nats


def repeated(words: Sequence[str], order: int = 4) -> float:
    """The share of n-grams of a text that stood in it before (Welleck et al. 2020, seq-rep-n)."""
    grams = [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def score_sentences(
    told: Sequence[Context], written: Sequence[Sequence[Sequence[str]]], full_stop: str
) -> dict[str, Any]:
    """What generated sentences are like, several for each context.

    Returns:
        ``possible``: for each context the share of its sentences that are possible and whole; ``distinct``: for each
        context the number of different ones among these; ``nats``: the mean exact surprisal of the possible ones, in
        nats a sentence; ``differ``: the share of pairs of one context's sentences that differ, possible or not;
        ``words``: their mean length.
    """
    possible, distinct, nats, differ, lengths = [], [], [], [], []
    for context, sentences in zip(told, written, strict=True):
        right = []
        for words in sentences:
            count, surprisal = judge(context, words)
            right.append(count == len(words) and words[-1] in (full_stop, EOS))
            nats += [surprisal] if right[-1] else []
            lengths.append(len(words))
        possible.append(sum(right) / len(right))
        distinct.append(len({tuple(words) for words, whole in zip(sentences, right, strict=True) if whole}))
        pairs = [(i, j) for i in range(len(sentences)) for j in range(i)]
        differ += [sentences[i] != sentences[j] for i, j in pairs]
    return {
        "possible": possible,
        "distinct": distinct,
        "nats": math.fsum(nats) / len(nats) if nats else None,
        "differ": sum(differ) / len(differ) if differ else 0.0,
        "words": sum(lengths) / len(lengths),
    }


# --- a network writes -----------------------------------------------------------------------------------------------


class Writer:
    """A network that continues stories by any method.

    Args:
        model: a network that reads the world's words by their place in ``words``.
        words: the words of the ids; ids beyond the world's vocabulary are never written.
        world: the world.
    """

    def __init__(self, model: Gpt, words: Sequence[str], world: StoryWorld) -> None:
        self.model, self.words, self.world = model, list(words), world
        self.number = {word: index for index, word in enumerate(self.words)}
        self.beyond = range(len(world.vocabulary), len(self.words))

    def ids(self, words: Sequence[str]) -> list[int]:
        """The ids of a text, with ``<eos>`` before it."""
        return [END, *(self.number[word] for word in words)]

    def sampled(
        self,
        prompts: Sequence[Sequence[str]],
        sampling: Sampling,
        *,
        stop: str,
        most: int,
        seed: int,
        batch: int = 64,
    ) -> list[list[str]]:
        """A continuation of each prompt, up to the word ``stop`` or ``most`` words."""
        encoded = [self.ids(prompt) for prompt in prompts]
        order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
        found: dict[int, list[str]] = {}
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            for row, tokens in zip(rows, self._group(encoded, rows, sampling, stop, most, seed), strict=True):
                found[row] = [self.words[token] for token in tokens[len(encoded[row]) :]]
        return [found[row] for row in range(len(encoded))]

    def _group(
        self, encoded: list[list[int]], rows: list[int], sampling: Sampling, stop: str, most: int, seed: int
    ) -> list[list[int]]:
        return generate(
            self.model,
            [encoded[row] for row in rows],
            max_new_tokens=most,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            typical_p=sampling.typical_p,
            repetition_penalty=sampling.repetition_penalty,
            stop_token_id=self.number[stop],
            suppressed_token_ids=list(self.beyond),
            seed=mix(seed, rows[0]),
        )

    def searched(
        self, prompts: Sequence[Sequence[str]], beam: Beam, *, stop: str, batch: int = 16
    ) -> list[tuple[list[str], Output]]:
        """The best continuation of each prompt by beam search."""
        encoded = [self.ids(prompt) for prompt in prompts]
        found: list[tuple[list[str], Output]] = []
        for start in range(0, len(encoded), batch):
            group = encoded[start : start + batch]
            outputs = continue_prompts(self.model, group, stop_token_id=self.number[stop], beam=beam)
            found += [([self.words[token] for token in best.tokens], best) for (best, *_) in outputs]
        return found

    def contrasted(self, prompts: Sequence[Sequence[str]], *, stop: str, most: int) -> list[list[str]]:
        """A continuation of each prompt by contrastive search."""
        found = []
        for prompt in prompts:
            ids = self.ids(prompt)
            tokens = contrastive_search(self.model, ids, max_new_tokens=most, stop_token_id=self.number[stop])
            found.append([self.words[token] for token in tokens[len(ids) :]])
        return found

    @torch.no_grad()
    def nats(self, context: Sequence[str], words: Sequence[str]) -> float:
        """The network's own surprisal of a continuation, in nats."""
        ids = torch.tensor([self.ids([*context, *words])])
        log_p_TV = self.model.eval()(ids[:, :-1])[0, -len(words) :].double().log_softmax(-1)
        return -float(log_p_TV.gather(1, ids[0, -len(words) :, None]).sum())


# --- the ideal reader writes ----------------------------------------------------------------------------------------


class IdealRows:
    """The candidates of a beam as the ideal reader sees them: cursors, whose logits are exact log-probabilities."""

    def __init__(self, starts: Sequence[Cursor], number: dict[str, int], width: int) -> None:
        self.number, self.words = number, list(number)
        self.cursors = [start.copy() for start in starts for _ in range(width)]

    def next_logits(self, tokens_N: Tensor | None) -> Tensor:
        """Log-probabilities, (N, V), after each row was extended by a word."""
        logits_NV = torch.full((len(self.cursors), len(self.words)), -math.inf, dtype=torch.float64)
        for row, cursor in enumerate(self.cursors):
            if tokens_N is not None:
                try:
                    cursor.push(self.words[int(tokens_N[row])])
                except NotOfThisWorld:  # a row of probability 0, which search keeps only to fill the beam
                    logits_NV[row, END] = 0.0
                    continue
            for word, probability in cursor.next_word().items():
                if probability:  # a word that this story has used up has none
                    logits_NV[row, self.number[word]] = math.log(probability)
        return logits_NV

    def select(self, rows_N: Tensor) -> None:
        """Keep the given rows."""
        self.cursors = [self.cursors[row].copy() for row in rows_N.tolist()]


def ideal_sampled(
    told: Sequence[Context], sampling: Sampling, world: StoryWorld, *, stop: str, most: int, seed: int
) -> list[list[str]]:
    """A continuation of each context, drawn from the ideal reader's distribution as :meth:`Writer.sampled` does."""
    number = {word: index for index, word in enumerate(world.vocabulary)}
    rows = IdealRows([context.cursor for context in told], number, 1)
    numbers = uniform_numbers(mix(seed), len(told), device=torch.device("cpu"))
    written: list[list[str]] = [[] for _ in told]
    growing, tokens = list(range(len(told))), None
    for _ in range(most):
        uniform_B = next(numbers)[growing]
        tokens = choose(rows.next_logits(tokens), sampling, uniform_B)
        kept = []
        for place, (row, token) in enumerate(zip(growing, tokens.tolist(), strict=True)):
            written[row].append(world.vocabulary[token])
            if world.vocabulary[token] not in (stop, EOS):
                kept.append(place)
        growing, tokens = [growing[place] for place in kept], tokens[kept]
        if not growing:
            break
        rows.select(torch.tensor(kept))
    return written


def ideal_searched(
    told: Sequence[Context], beam: Beam, world: StoryWorld, *, stop: str
) -> list[tuple[list[str], Output]]:
    """The best continuation of each context by beam search over the ideal reader's distribution."""
    number = {word: index for index, word in enumerate(world.vocabulary)}
    found = []
    for context in told:
        rows = IdealRows([context.cursor], number, beam.width)
        ((best, *_),) = search(rows, 1, beam, stop_token_id=number[stop])
        found.append(([world.vocabulary[token] for token in best.tokens], best))
    return found


# --- one table for both ---------------------------------------------------------------------------------------------

Write = Callable[[Sampling, int], list[list[str]]]


def by_method(
    told: Sequence[Context], writer: Writer | None, world: StoryWorld, *, samples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Sentences by every method, scored; ``writer=None`` lets the ideal reader write.

    Methods that draw write ``samples`` sentences for each context, the others one.
    """
    prompts, stop, scores = [context.words for context in told], world.full_stop, {}
    for name, sampling in SAMPLERS.items():
        if writer is None and sampling.repetition_penalty != 1:
            continue  # it depends on where the logits have their zero, which a distribution does not say
        written = []
        for sample in range(1 if sampling.is_greedy else samples):
            draw = mix(seed, sample)
            if writer is None:
                written.append(ideal_sampled(told, sampling, world, stop=stop, most=SENTENCE_TOKENS, seed=draw))
            else:
                written.append(writer.sampled(prompts, sampling, stop=stop, most=SENTENCE_TOKENS, seed=draw))
        scores[name] = score_sentences(told, list(zip(*written, strict=True)), stop)
    for name, beam in BEAMS.items():
        if writer is None:
            best = ideal_searched(told, beam, world, stop=stop)
        else:
            best = writer.searched(prompts, beam, stop=stop)
        scores[name] = score_sentences(told, [[words] for words, _ in best], stop)
    if writer is not None:
        contrasted = writer.contrasted(prompts, stop=stop, most=SENTENCE_TOKENS)
        scores[CONTRASTIVE] = score_sentences(told, [[words] for words in contrasted], stop)
    return scores
