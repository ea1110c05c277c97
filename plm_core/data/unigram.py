"""The unigram language model over pieces of words, in plain Python: a vocabulary found by taking pieces away.

A word is a sequence of pieces drawn independently of each other, so the probability of one way to cut it is the product
of the probabilities of its pieces. Training starts from many candidate pieces, fits their probabilities by
expectation-maximisation (EM), and removes the pieces that the likelihood needs least, again and again.

Chapter 02 builds a simpler form of these functions; tests compare the segmentation with the ``tokenizers`` library.

Source: Kudo (2018), section 3.2. SentencePiece and ``tokenizers`` add a Bayesian correction to EM and find the
candidates with a suffix array; the model and the pruning are the same.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping

UNKNOWN_PENALTY = 10.0
"""A character without a piece costs as much as the rarest piece and so many nats more, as in SentencePiece."""


def best_split(word: str, log_probabilities: Mapping[str, float], *, longest: int | None = None) -> list[str]:
    """The most probable way to cut a word into pieces, by the Viterbi algorithm.

    Args:
        word: any text; it is treated as one word.
        log_probabilities: log p of each piece, in nats. A character that has no piece of its own stands alone, at the
            price of :data:`UNKNOWN_PENALTY`.
        longest: the length of the longest piece, where it is known; finding it takes a look at every piece.

    Returns:
        The pieces, which joined give the word. Of equally probable ways the one with the longest last piece is taken.
    """
    longest = longest or _longest(log_probabilities)
    unknown = None
    best = [0.0] + [-math.inf] * len(word)  # log p of the best way to cut word[:end]
    begin = [0] * (len(word) + 1)  # where the last piece of that way begins
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - longest), end):
            gain = log_probabilities.get(word[start:end])
            if gain is None:
                if end - start > 1:
                    continue
                unknown = unknown or min(log_probabilities.values(), default=0.0) - UNKNOWN_PENALTY
                gain = unknown
            if best[start] + gain > best[end]:
                best[end], begin[end] = best[start] + gain, start
    pieces: list[str] = []
    end = len(word)
    while end:
        pieces.append(word[begin[end] : end])
        end = begin[end]
    return pieces[::-1]


def expected_counts(
    word: str, log_probabilities: Mapping[str, float], *, longest: int | None = None
) -> tuple[dict[str, float], float]:
    """How often each piece is used in a word, averaged over all ways to cut it (the E-step, by forward-backward).

    Args:
        word: a word that the pieces can spell.
        log_probabilities: log p of each piece, in nats.
        longest: the length of the longest piece, where it is known.

    Returns:
        The expected number of uses of each piece, and the log probability of the word, summed over all ways.

    Raises:
        ValueError: the pieces cannot spell the word.
    """
    longest = longest or _longest(log_probabilities)
    forward = [0.0] + [-math.inf] * len(word)
    for end in range(1, len(word) + 1):
        forward[end] = _log_sum(
            [
                forward[start] + log_probabilities[word[start:end]]
                for start in range(max(0, end - longest), end)
                if word[start:end] in log_probabilities
            ]
        )
    total = forward[-1]
    if total == -math.inf:
        raise ValueError(f"the pieces cannot spell {word!r}: every character must be a piece")
    backward = [-math.inf] * len(word) + [0.0]
    counts: defaultdict[str, float] = defaultdict(float)
    for start in range(len(word) - 1, -1, -1):
        ways = []
        for end in range(start + 1, min(len(word), start + longest) + 1):
            piece = word[start:end]
            if piece in log_probabilities and backward[end] > -math.inf:
                ways.append(log_probabilities[piece] + backward[end])
                counts[piece] += math.exp(forward[start] + ways[-1] - total)
        backward[start] = _log_sum(ways)
    return dict(counts), total


def _longest(log_probabilities: Mapping[str, float]) -> int:
    return max(map(len, log_probabilities), default=1)


def _log_sum(terms: list[float]) -> float:
    """log of the sum of exp of the terms; minus infinity where there is none."""
    top = max(terms, default=-math.inf)
    return top if top == -math.inf else top + math.log(sum(math.exp(term - top) for term in terms))


def candidate_pieces(word_counts: Mapping[str, int], size: int, *, max_length: int = 12) -> dict[str, float]:
    """The first, large vocabulary: all characters, and the substrings that cover most text (count times length).

    Args:
        word_counts: how often each word occurs.
        size: the number of candidates, characters included.
        max_length: longer substrings are not considered.

    Returns:
        log p of each candidate, proportional to its count.
    """
    counts: Counter[str] = Counter()
    for word, count in word_counts.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + max_length) + 1):
                counts[word[start:end]] += count
    single = [piece for piece in counts if len(piece) == 1]
    longer = [piece for piece, count in counts.items() if len(piece) > 1 and count > 1]
    longer.sort(key=lambda piece: (-counts[piece] * len(piece), piece))
    kept = single + longer[: max(size - len(single), 0)]
    return _normalised({piece: float(counts[piece]) for piece in kept})


def train_pieces(
    word_counts: Mapping[str, int],
    vocab_size: int,
    *,
    num_candidates: int | None = None,
    keep: float = 0.75,
    iterations: int = 2,
) -> dict[str, float]:
    """Learn pieces and their probabilities: EM, remove the least needed pieces, repeat.

    Args:
        word_counts: how often each word occurs; pieces never cross the border of a word.
        vocab_size: the number of pieces in the end. Single characters are never removed, so that every word of the
            training text can be spelled; there may be more of them than this.
        num_candidates: pieces at the start; ten times ``vocab_size`` if not given.
        keep: the share of pieces that survives one round.
        iterations: EM steps of each round.

    Returns:
        log p of each piece, in nats, the most probable first.

    Raises:
        ValueError: no words, or a share that keeps nothing or everything.
    """
    if not word_counts:
        raise ValueError("there is nothing to learn from: word_counts is empty")
    if not 0 < keep < 1:
        raise ValueError(f"keep must lie between 0 and 1, got {keep}")
    model = candidate_pieces(word_counts, num_candidates or 10 * vocab_size)
    while True:
        for _ in range(iterations):
            model = reestimate(word_counts, model)
        if len(model) <= vocab_size or all(len(piece) == 1 for piece in model):
            return dict(sorted(model.items(), key=lambda item: (-item[1], item[0])))
        model = prune(word_counts, model, max(vocab_size, int(keep * len(model))))


def reestimate(word_counts: Mapping[str, int], log_probabilities: Mapping[str, float]) -> dict[str, float]:
    """One EM step: new probabilities from the expected counts. The likelihood of the words never falls.

    Pieces that are hardly used, less than half a time, are dropped, single characters excepted.
    """
    uses: defaultdict[str, float] = defaultdict(float)
    longest = _longest(log_probabilities)
    for word, count in word_counts.items():
        for piece, expected in expected_counts(word, log_probabilities, longest=longest)[0].items():
            uses[piece] += count * expected
    kept = {
        piece: max(uses[piece], 1e-3)
        for piece in log_probabilities
        if uses[piece] >= 0.5 or len(piece) == 1
    }  # fmt: skip
    return _normalised(kept)


def prune(word_counts: Mapping[str, int], log_probabilities: Mapping[str, float], num_pieces: int) -> dict[str, float]:
    """Keep the characters and those longer pieces whose removal would cost the most likelihood.

    The cost of a piece is estimated from its best cut into other pieces: ``uses * (log p(piece) - log p(its parts))``,
    where uses are counted in the best cut of each word.
    """
    uses: Counter[str] = Counter()
    longest = _longest(log_probabilities)
    for word, count in word_counts.items():
        for piece in best_split(word, log_probabilities, longest=longest):
            uses[piece] += count
    cost = {}
    for piece in log_probabilities:
        if len(piece) > 1:
            parts = _best_parts(piece, log_probabilities, longest)
            cost[piece] = uses[piece] * (log_probabilities[piece] - sum(log_probabilities[part] for part in parts))
    single = [piece for piece in log_probabilities if len(piece) == 1]
    ranked = sorted(cost, key=lambda piece: (-cost[piece], piece))
    kept = single + ranked[: max(num_pieces - len(single), 0)]
    return _normalised({piece: math.exp(log_probabilities[piece]) for piece in kept})


def _best_parts(piece: str, log_probabilities: Mapping[str, float], longest: int) -> list[str]:
    """The best cut of a piece into at least two others."""
    cuts = (
        [*best_split(piece[:end], log_probabilities, longest=longest), piece[end:]]
        for end in range(1, len(piece))
        if piece[end:] in log_probabilities
    )
    return max(cuts, key=lambda parts: sum(log_probabilities[part] for part in parts))


def log_likelihood(word_counts: Mapping[str, int], log_probabilities: Mapping[str, float]) -> float:
    """Log probability of all words, each summed over all ways to cut it, in nats."""
    longest = _longest(log_probabilities)
    return sum(
        count * expected_counts(word, log_probabilities, longest=longest)[1] for word, count in word_counts.items()
    )


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.log(sum(weights.values()))
    return {piece: math.log(weight) - total for piece, weight in weights.items()}
