"""A real model's static and contextual vectors: analogies, associations and senses.

The model is all-MiniLM-L6-v2, a BERT of six layers. Its *static* vectors are the rows of its word embeddings, one for
each token of its vocabulary, from which the mean of all rows of plain words is subtracted; its *contextual* vectors are
the states of its layers at a word of a sentence. Words are the tokens of two or more letters a to z that are not
continuations of others. Everything here is computed from the published weights, without a seed.

"analogies": all questions that two different pairs of a relation make. Measured: the share of right answers with the
three words of the question barred, the share without barring and which words are then returned, and two rules that
ignore the relation: the nearest word to c, and to b + c, the question's words barred. To see why the answer is c, means
over the questions are stored, all words of length 1: the length of b - a, the cosines of b - a + c with c and with d,
the cosine of b - a and d - c, and the value that it would have to exceed for d to be nearer than c. The lists are ours,
as are those of the other parts, but for the groups of WEAT 6; they were written before any of these was computed.

"associations": WEAT with the exact permutation test, for pairs of groups of eight words. A first run took four pairs,
and let p below 0.05 / 4 count. "unrelated", added afterwards, asks whether this p can be trusted: for the pairs of 13
groups that were written for another purpose, the kinds of Brown's words (the first eight of each that are tokens, one
form of each word; no kind with fewer, and no families) with stones and metals, it stores the effects and for which
pairs p is that small in either direction. Three pairs of groups that are related are left out. A first run had all 91
pairs of 14 groups, some with the singular and the plural of a word among their eight; p was small for 12 of them with
pleasant and unpleasant words, for 26 with career and family. The words of WEAT 6 itself (Caliskan et al. 2017) were
added after the first outcome, too; our groups for names and careers are largely others.

"senses": five words, each in five sentences of either of two senses. A sentence counts as right if, of the nine others
with the same word, the one with the nearest vector has its sense. Vectors: the word's static one (the same everywhere;
of equal neighbours each counts its share), the mean of the static vectors of the other words of the sentence, and the
states of each layer at the word. Criterion, set before the run: contextual vectors tell senses apart better than the
order-free mean if more sentences are right, with p < 0.05 in the exact sign test on the sentences where the two differ.
Two stronger means were added after the first outcome: the first one leaves out words that are not tokens of two letters
or more, so "mean of all tokens" takes the pieces of all other words; "weighted mean" takes the same words as the first,
with the weights of tf-idf, from the pages of Python's manual.

"search": which of these pages are nearest to a question, all as weighted means of static vectors.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from functools import cache
from itertools import combinations
from math import comb, log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plm_chapters.experiments.word_texts import KINDS
from plm_core.data.corpora import python_documentation
from plm_core.evaluation.word_vectors import analogies, association, cosines, nearest, weat
from plm_core.interop.pretrained_models import pretrained
from plm_core.models.transformer import Trace

VARIANTS = ["analogies", "associations", "unrelated", "senses", "search"]
SEEDS = [0]
RELATIONS = {
    "country of a capital": "paris france|rome italy|berlin germany|madrid spain|lisbon portugal|london england|"
    "vienna austria|athens greece|cairo egypt|tokyo japan|beijing china|moscow russia|warsaw poland|budapest hungary|"
    "oslo norway|stockholm sweden|helsinki finland|dublin ireland|ottawa canada|havana cuba|baghdad iraq|tehran iran|"
    "kabul afghanistan|hanoi vietnam|bangkok thailand|lima peru|prague czech|ankara turkey|nairobi kenya|"
    "brussels belgium",
    "female counterpart": "king queen|man woman|boy girl|father mother|son daughter|brother sister|uncle aunt|"
    "husband wife|prince princess|actor actress|he she|his her|nephew niece|grandfather grandmother|waiter waitress|"
    "hero heroine|duke duchess|lord lady|emperor empress|god goddess",
    "plural": "cat cats|dog dogs|car cars|house houses|tree trees|book books|road roads|river rivers|king kings|"
    "bird birds|song songs|door doors|window windows|student students|teacher teachers|farmer farmers|boat boats|"
    "game games|wall walls|horse horses",
    "past tense": "go went|take took|make made|see saw|give gave|find found|say said|know knew|think thought|come came|"
    "write wrote|speak spoke|run ran|begin began|fall fell|grow grew|draw drew|leave left|tell told|sing sang",
    "comparative": "big bigger|small smaller|old older|young younger|strong stronger|weak weaker|high higher|low lower|"
    "long longer|short shorter|fast faster|slow slower|large larger|great greater|close closer|deep deeper|rich richer|"
    "poor poorer|wide wider|cold colder",
}
"""Pairs of words for each relation."""
GROUPS = {
    "flowers": "rose lily daisy violet iris orchid jasmine poppy",
    "insects": "ant wasp flea beetle bug moth mosquito spider",
    "instruments": "guitar violin piano flute cello harp trumpet drum",
    "weapons": "gun sword knife rifle bomb dagger pistol spear",
    "men": "james david robert thomas peter andrew mark george",
    "women": "mary anna susan laura karen emma sarah alice",
    "pleasant": "love peace happy friend joy gift laughter paradise",
    "unpleasant": "hate war ugly enemy agony poison sickness prison",
    "career": "office salary business career manager profession company executive",
    "family": "home parents children family wedding cousins marriage relatives",
    "their men": "john paul mike kevin steve greg jeff bill",
    "their women": "amy joan lisa sarah diana kate ann donna",
    "their career": "executive management professional corporation salary office business career",
    "stone": "granite marble slate limestone basalt flint quartz chalk",
    "metal": "iron copper tin silver gold zinc lead nickel",
}
"""Words of the groups that are compared; "family" and the three groups called theirs are WEAT 6 of Caliskan et al."""
TESTS = {
    "flowers, insects": ("flowers", "insects", "pleasant", "unpleasant"),
    "instruments, weapons": ("instruments", "weapons", "pleasant", "unpleasant"),
    "men, women": ("men", "women", "career", "family"),
    "their men, women": ("their men", "their women", "their career", "family"),
    "stone, metal": ("stone", "metal", "career", "family"),
}
"""Two groups of targets and two groups of attributes; the last test was meant to find nothing."""
UNRELATED = [kind for kind in KINDS if kind != "family"]
"""Kinds of words that were listed for another purpose."""
RELATED = [{"month", "time"}, {"country", "state"}, {"stone", "metal"}]
"""Pairs of these groups that have to do with each other."""
QUESTIONS = ["handle an exception", "catch a failure"]
"""Questions to Python's manual."""
SENSES = {
    "bank": (
        ("She opened an account at the bank.",
         "The bank raised its interest rates again.",
         "He asked the bank for a loan.",
         "Our bank closes at four on Fridays.",
         "They robbed a bank in broad daylight."),
        ("We sat on the bank and watched the water.",
         "The bank of the stream was muddy.",
         "Willows grow along the bank.",
         "He pulled the boat up onto the bank.",
         "Otters dig their dens in the bank."),
    ),
    "bat": (
        ("A bat hung upside down in the cave.",
         "The bat finds moths by echo.",
         "At dusk a bat flew over the barn.",
         "Every bat sleeps through the winter.",
         "The bat spread its thin wings."),
        ("He swung the bat and missed the ball.",
         "The bat was made of ash wood.",
         "She held the bat with both hands.",
         "A cracked bat must be replaced before the game.",
         "The player dropped his bat and ran."),
    ),
    "spring": (
        ("The garden is green in spring.",
         "Last spring we planted beans.",
         "Birds return every spring.",
         "Snow melts late in spring up here.",
         "The term ends in spring."),
        ("A steel spring pulls the door shut.",
         "The spring in this clock is broken.",
         "He bent the wire into a spring.",
         "Each spring carries the weight of one wheel.",
         "Press the button and the spring is released."),
    ),
    "seal": (
        ("A seal lay on the ice.",
         "The seal dived after a fish.",
         "We saw a young seal on the beach.",
         "The seal barked at its keeper.",
         "Whales sometimes hunt a seal."),
        ("The letter bore the royal seal.",
         "He pressed his seal into the wax.",
         "Without the seal the paper is worthless.",
         "The notary put a seal on the contract.",
         "She broke the seal and read the message."),
    ),
    "match": (
        ("He struck a match and lit the lamp.",
         "The match burned down to his fingers.",
         "A wet match will not light.",
         "She held a match to the candle.",
         "One match was left in the box."),
        ("Our team lost the match.",
         "The match ended without a goal.",
         "They play a match every Sunday.",
         "He missed the match because he was ill.",
         "Rain stopped the match after an hour."),
    ),
}  # fmt: skip
"""Two senses of each word in five sentences each."""
MEANS = ["mean of the others", "mean of all tokens", "weighted mean"]
"""The means of static vectors, which know no order."""


@cache
def model() -> tuple[Any, Any]:
    """The model and its tokenizer; FileNotFoundError if its files are not on this machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its pretraining heads were never published, and are not used here
        return pretrained("all-minilm-l6-v2")


@cache
def static() -> tuple[Tensor, dict[str, int]]:
    """The static vectors of all words, centred, (V, D), and the row of each word."""
    bert, tokenizer = model()
    table = bert.encoder.embeddings.word_embeddings.weight.detach()
    tokens = {tokenizer.backend.id_to_token(place): place for place in range(len(tokenizer))}
    words = {token: place for token, place in tokens.items() if re.fullmatch("[a-z]{2,}", token)}
    vectors = table[list(words.values())]
    return vectors - vectors.mean(dim=0), {word: row for row, word in enumerate(words)}


def of_words(text: str) -> Tensor:
    """The static vectors of some words; KeyError for one that is not a token."""
    vectors, row = static()
    return vectors[[row[word] for word in text.split()]]


def questions(relation: str) -> Tensor:
    """All questions of a relation: rows of a, b, c and the right answer d; (N, 4)."""
    row = static()[1]
    pairs = [[row[word] for word in pair.split()] for pair in RELATIONS[relation].split("|")]
    return torch.tensor([[*first, *second] for first in pairs for second in pairs if first is not second])


def measure_analogies(relation: str) -> dict[str, float]:
    """The shares of right answers of one relation."""
    vectors = static()[0]
    asked = questions(relation)
    a, b, c, d = asked.unbind(dim=1)
    unit = F.normalize(vectors, dim=-1)
    free = analogies(vectors, asked[:, :3], exclude=False)
    barred = asked[:, :3].tolist()
    found = {
        "barred": analogies(vectors, asked[:, :3]) == d,
        "not barred": free == d,
        "returns c": free == c,
        "returns b": free == b,
        "returns a": free == a,
        "nearest to c": nearest(vectors, unit[c], exclude=barred)[:, 0] == d,
        "nearest to b + c": nearest(vectors, unit[b] + unit[c], exclude=barred)[:, 0] == d,
    }
    offset, total = unit[b] - unit[a], unit[b] - unit[a] + unit[c]
    geometry = {
        "length of the difference": offset.norm(dim=-1),
        "cosine of differences": F.cosine_similarity(offset, unit[d] - unit[c], dim=-1),
        "cosine needed": (unit[d] - unit[c]).norm(dim=-1) / (2 * offset.norm(dim=-1)),
        "d nearer than c": (total * (unit[d] - unit[c])).sum(dim=-1) > 0,
        "cosine of sum and c": F.cosine_similarity(total, unit[c], dim=-1),
        "cosine of sum and d": F.cosine_similarity(total, unit[d], dim=-1),
    }
    means = {name: float(values.float().mean()) for name, values in (found | geometry).items()}
    return means | {"questions": len(asked)}


def measure_association(test: str) -> dict[str, Any]:
    """WEAT of four groups, and each target's association."""
    x, y, a, b = (of_words(GROUPS[group]) for group in TESTS[test])
    result = weat((x, y), (a, b))
    s = association(torch.cat([x, y]), (a, b))
    return {"effect": result.effect, "p": result.p, "divisions": result.divisions, "each": s.tolist()}


def one_form(words: list[str]) -> list[str]:
    """The words without the plurals in -s of others among them."""
    return [word for word in words if not (word.endswith("s") and word[:-1] in words)]


def unrelated_groups() -> dict[str, Tensor]:
    """The vectors of eight words of each group that was listed for another purpose."""
    row = static()[1]
    tokens = {kind: one_form([word for word in KINDS[kind].split() if word in row])[:8] for kind in UNRELATED}
    groups = {kind: " ".join(words) for kind, words in tokens.items() if len(words) == 8}
    return {name: of_words(words) for name, words in (groups | {n: GROUPS[n] for n in ("stone", "metal")}).items()}


def measure_unrelated(attributes: tuple[str, str]) -> dict[str, Any]:
    """The effects of all pairs of unrelated groups, and the pairs that have a small p in either direction."""
    groups = unrelated_groups()
    a, b = (of_words(GROUPS[group]) for group in attributes)
    pairs = [pair for pair in combinations(groups, 2) if set(pair) not in RELATED]
    found = {(x, y): weat((groups[x], groups[y]), (a, b)) for x, y in pairs}
    return {
        "groups": list(groups),
        "effects": {f"{x}, {y}": result.effect for (x, y), result in found.items()},
        "small p": [f"{x}, {y}" for (x, y), r in found.items() if min(r.p, 1 + 1 / r.divisions - r.p) < 0.05 / 4],
    }


@cache
def page_words() -> tuple[list[str], list[list[str]]]:
    """The titles of the pages of Python's manual, and the words of each."""
    pages = python_documentation()
    return [page.title for page in pages], [re.findall("[a-z]+", page.text.lower()) for page in pages]


@cache
def weight_of() -> dict[str, float]:
    """The weight that tf-idf gives each word of Python's manual; "" stands for a word that no page has."""
    pages = page_words()[1]
    counts = Counter(word for words in pages for word in set(words)) | Counter({"": 0})
    return {word: 1 + log((1 + len(pages)) / (1 + counts[word])) for word in ["", *counts]}


def weighted_mean(words: list[str]) -> Tensor:
    """The mean of the static vectors of those words that have one, weighed as in tf-idf; (D,)."""
    vectors, row = static()
    known = [word for word in words if word in row]
    weights = torch.tensor([weight_of().get(word, weight_of()[""]) for word in known])
    return weights @ vectors[[row[word] for word in known]] / weights.sum()


def find_pages(question: str) -> tuple[list[str], Tensor]:
    """The titles of all pages of the manual, the nearest to the question first, and their cosines."""
    titles, pages = page_words()
    scores = cosines(torch.stack([weighted_mean(words) for words in pages]), weighted_mean(question.split())[None])[0]
    order = scores.argsort(descending=True)
    return [titles[place] for place in order.tolist()], scores[order]


@torch.no_grad()
def sense_vectors(word: str) -> tuple[dict[str, Tensor], Tensor]:
    """Vectors of the sentences with a word, (10, D) for each way to make them, and the sense of each sentence."""
    bert, tokenizer = model()
    vectors, row = static()
    texts = [text for sense in SENSES[word] for text in sense]
    batch = tokenizer.batch(texts, max_length=64, truncation="longest_first")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    place = (ids == tokenizer.backend.token_to_id(word)).int().argmax(dim=1)
    each = torch.arange(len(texts))
    found = {"static": vectors[[row[word]] * len(texts)]}
    others = [[w for w in re.findall("[a-z]+", text.lower()) if w != word] for text in texts]
    found["mean of the others"] = torch.stack([of_words(" ".join(w for w in ws if w in row)).mean(0) for ws in others])
    table = bert.encoder.embeddings.word_embeddings.weight
    centre = table[tokenizer.backend.token_to_id("the")] - vectors[row["the"]]
    tokens = [[tokenizer.backend.id_to_token(number) for number in each_ids] for each_ids in ids.tolist()]
    other_BT = torch.tensor(
        [[token != word and bool(re.search("[a-z]", token)) for token in sentence] for sentence in tokens]
    )
    means = [table[sentence[other]].mean(dim=0) - centre for sentence, other in zip(ids, other_BT, strict=True)]
    found["mean of all tokens"] = torch.stack(means)
    found["weighted mean"] = torch.stack([weighted_mean(ws) for ws in others])
    trace = Trace()
    bert.encoder(ids, attention_mask=mask, trace=trace)
    found |= {f"layer {number}": x_BTD[each, place] for number, x_BTD in enumerate(trace.hidden_states)}
    return found, torch.tensor([0] * 5 + [1] * 5)


def measure_senses() -> dict[str, Any]:
    """The sentences that each kind of vector gets right, and sign tests of the last layer against the three means."""
    right: dict[str, list[float]] = {}
    for word in SENSES:
        found, sense = sense_vectors(word)
        for name, vectors in found.items():
            similarity = cosines(vectors, vectors).fill_diagonal_(-torch.inf)
            best = similarity >= similarity.max(dim=1, keepdim=True).values - 1e-5
            same = sense[:, None] == sense
            right.setdefault(name, []).extend(((best & same).sum(dim=1) / best.sum(dim=1)).tolist())
    last = right[max(name for name in right if name.startswith("layer"))]
    tests = {}
    for name in MEANS:
        better = sum(a > b for a, b in zip(last, right[name], strict=True))
        worse = sum(a < b for a, b in zip(last, right[name], strict=True))
        tests[name] = {"better": better, "worse": worse, "p": sign_test(better, worse)}
    row = static()[1]
    texts = [text for senses in SENSES.values() for sense in senses for text in sense]
    return {
        "shares": {name: sum(of) / len(of) for name, of in right.items()},
        "tests": tests,
        "left out": sorted(w for text in texts for w in re.findall("[a-z]+", text.lower()) if w not in row),
        "right": right,
    }


def sign_test(better: int, worse: int) -> float:
    """The two-sided exact sign test."""
    n = better + worse
    return min(1.0, 2 * sum(comb(n, k) for k in range(min(better, worse) + 1)) / 2**n)


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """One of the measurements."""
    if variant == "analogies":
        return {relation: measure_analogies(relation) for relation in RELATIONS}
    if variant == "associations":
        return {test: measure_association(test) for test in TESTS}
    if variant == "unrelated":
        pairs = dict.fromkeys((a, b) for _, _, a, b in TESTS.values())
        return {", ".join(pair): measure_unrelated(pair) for pair in pairs}
    if variant == "search":
        found = {question: find_pages(question) for question in QUESTIONS}
        return {q: {"titles": titles, "cosines": scores.tolist()} for q, (titles, scores) in found.items()}
    return measure_senses()
