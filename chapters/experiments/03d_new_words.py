"""Vectors of words that the text does not have, from vectors of their pieces, on the Brown corpus.

A seed draws 200 of Brown's 5,000 known words and takes them out of four fifths of its documents. The other words get
vectors from the text: the singular value decomposition of positive PMI, with the settings that 03_word_embeddings chose
for Brown. Then each piece of a known word, a run of 3 to 6 characters, gets a vector by ridge regression: the mean of a
word's pieces should be close to the word's vector, and the vectors of pieces short. The new words get the means of
their own pieces, as far as these are known. A new word counts as right if the nearest known word, by the cosine of such
means, has its most frequent tag: noun, verb, adjective and so on. Compared on the same words:

- "spelling": the known word with the largest share of pieces in common, which no text has to be read for;
- "untrained": the same means, of vectors of pieces drawn at random;
- "noun": the most frequent tag;
- "seen", a reference and no strict ceiling: the words' own vectors from the text when they are left in it.

"endings", a floor that was added after the first outcome, without a criterion: of the known words whose ending is the
longest in common with the new word's, the most frequent tag. It needs the tags of the known words, but no vectors.

The strength of the regression is swept over five values or more with a draw of its own, whose words are in no other
draw; five other seeds are reported. Criterion, set before the runs: fitted pieces are better than spelling if their
share is higher with each of the five seeds; beside it stands a sign test over the words drawn. Where "seen" is not
above spelling, the text has nothing to add.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from plm_chapters.experiments import word_texts
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.experiments.word_texts import Text
from plm_core.evaluation.word_vectors import cosines
from plm_core.models.cooccurrence import cooccurrence, shifted_ppmi, svd_vectors
from plm_core.models.embeddings import character_ngrams, piece_matrix

VARIANTS = ["new words", "endings"]
SEEDS = [0]
"""The seeds of the draws are inside the run."""
DRAW_SEEDS = [1, 2, 3, 4, 5]
SWEEP_SEED = 100
DRAWN = 200
STRENGTHS = [0.01, 0.03, 0.1, 0.3, 1.0]
WINDOW, SMOOTHING, POWER, SIZE = 2, 0.75, 0.5, 50


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the strength of the regression, then measure every way with the other seeds; or the vote of endings."""
    if variant == "endings":
        return {"runs": [{"endings": endings_share(each)} for each in DRAW_SEEDS]}
    task = Draw(SWEEP_SEED)
    losses = sweep(lambda strength: 1 - share(task.right(task.fitted(strength))), STRENGTHS, factor=3, further=4)
    strength = best_rate(losses)
    tried = {f"{each:.3g}": 1 - losses[each] for each in sorted(losses)}
    return {"sweep": tried, "strength": strength, "runs": [Draw(each).measure(strength) for each in DRAW_SEEDS]}


def drawn(seed: int) -> list[str]:
    """The words that a seed takes out; none of them is among those of the sweep."""
    known = word_texts.brown_vocabulary()
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed)).tolist()
    kept = set() if seed == SWEEP_SEED else set(drawn(SWEEP_SEED))
    return [known[place] for place in order if known[place] not in kept][:DRAWN]


def text_vectors(text: Text) -> Tensor:
    """The vectors that the text gives to its words, (V, D)."""
    counts = cooccurrence(text.ids, text.sentences, window=WINDOW, vocab_size=len(text.words))
    return svd_vectors(shifted_ppmi(counts, smoothing=SMOOTHING), SIZE, power=POWER)


def coefficients(gram_VV: Tensor, vectors_VD: Tensor, strength: float) -> Tensor:
    """A, (V, D), for which Z = PᵀA are the vectors of pieces that minimise |PZ - X|² + strength |Z|².

    Args:
        gram_VV: PPᵀ; P makes means of words out of vectors of pieces.
        vectors_VD: X, the vectors of the words.
        strength: how much long vectors of pieces cost.
    """
    return torch.linalg.solve(gram_VV + strength * torch.eye(len(gram_VV)), vectors_VD)


def overlap(own: set[str], other: set[str]) -> float:
    """The share of pieces that two words have in common (Jaccard)."""
    return len(own & other) / len(own | other)


def share(right: list[bool]) -> float:
    """The share of right words."""
    return sum(right) / len(right)


@cache
def tags() -> dict[str, str]:
    """The most frequent tag of each word of Brown."""
    return word_texts.brown_tags()


def endings_share(seed: int) -> float:
    """The share of a draw's new words whose tag is that of :func:`ending_vote`."""
    new = drawn(seed)
    gone = set(new)
    known = [word for word in word_texts.brown_vocabulary() if word not in gone]
    return share([tags()[word] == ending_vote(word, known, tags()) for word in new])


def ending_vote(new: str, known: Sequence[str], tag_of: dict[str, str]) -> str:
    """The most frequent tag of the known words with the longest common ending; of equal ones that met first."""
    lengths = [shared_ending(new, word) for word in known]
    longest = max(lengths)
    votes = Counter(tag_of[word] for word, length in zip(known, lengths, strict=True) if length == longest)
    return votes.most_common(1)[0][0]


def shared_ending(first: str, second: str) -> int:
    """How many characters the common ending of two words has."""
    backwards = zip(reversed(first), reversed(second), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], backwards))


class Draw:
    """The words that one seed takes out, the known ones, and the pieces of both."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.new = drawn(seed)
        self.text = word_texts.brown_text(seed, without=self.new)
        split = [character_ngrams(word) for word in self.text.words]
        own = [character_ngrams(word) for word in self.new]
        rows = {piece: row for row, piece in enumerate(dict.fromkeys(piece for pieces in split for piece in pieces))}
        self.known_VR, self.new_NR = piece_matrix(split, rows), piece_matrix(own, rows)
        self.gram_VV = torch.sparse.mm(self.known_VR, self.known_VR.t()).to_dense()
        self.cross_NV = torch.sparse.mm(self.new_NR, self.known_VR.t()).to_dense()
        self.vectors_VD = text_vectors(self.text)
        known = [set(pieces) for pieces in split]
        self.overlap_NV = torch.tensor([[overlap(set(pieces), other) for other in known] for pieces in own])

    def found(self, scores_NV: Tensor) -> list[str]:
        """The known word with the largest score for each new word."""
        return [self.text.words[row] for row in scores_NV.argmax(dim=1).tolist()]

    def right(self, found: list[str]) -> list[bool]:
        """Whether each word found has the tag of the new word."""
        return [tags()[new] == tags()[known] for new, known in zip(self.new, found, strict=True)]

    def fitted(self, strength: float) -> list[str]:
        """The known word nearest to each new one if both are means of fitted vectors of their pieces."""
        fit_VD = coefficients(self.gram_VV, self.vectors_VD, strength)
        return self.found(cosines(self.gram_VV @ fit_VD, self.cross_NV @ fit_VD))

    def measure(self, strength: float) -> dict[str, Any]:
        """The share of right words of every way, and the words found by two of them."""
        nearest = self.fitted(strength)
        generator = torch.Generator().manual_seed(self.seed)
        random_RD = torch.randn(self.known_VR.shape[1], SIZE, generator=generator)
        whole = word_texts.brown_text(self.seed)
        rows, vectors_VD = whole.number, text_vectors(whole)
        seen_NV = cosines(vectors_VD[[rows[word] for word in self.text.words]], vectors_VD[[rows[w] for w in self.new]])
        right = {
            "pieces": self.right(nearest),
            "spelling": self.right(self.found(self.overlap_NV)),
            "untrained": self.right(
                self.found(cosines(*(torch.sparse.mm(p, random_RD) for p in (self.known_VR, self.new_NR))))
            ),
            "noun": [tags()[word] == "nn" for word in self.new],
            "seen": self.right(self.found(seen_NV)),
        }
        return {
            **{way: share(of) for way, of in right.items()},
            "better": sum(a and not b for a, b in zip(right["pieces"], right["spelling"], strict=True)),
            "worse": sum(b and not a for a, b in zip(right["pieces"], right["spelling"], strict=True)),
            "pieces known": self.known_VR.shape[1],
            "examples": [list(pair) for pair in zip(self.new, nearest, strict=True)][:12],
        }
