"""The baseline of every classifier of texts: logistic regression on which words a text has, whatever their order.

Shapes are written into names: N texts, V words, C classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

WORD = re.compile(r"\w+|[^\w\s]")
"""A run of letters and digits, or one other mark."""


def words_of(text: str) -> list[str]:
    """The words and marks of a text, in lower case; of a text without spaces between words, its characters serve.

    >>> words_of("No, don't!")
    ['no', ',', 'don', "'", 't', '!']
    """
    return [piece for word in WORD.findall(text.lower()) for piece in (word if _is_han(word) else [word])]


def _is_han(word: str) -> bool:
    return any("\u3400" <= character <= "\u9fff" for character in word)


class BagOfWords:
    """Logistic regression on tf-idf: a word counts by how often it occurs in the text and how rare it is in others.

    The loss is the sum of -log p(class) over the texts plus ``|weights|² / (2·strength)``, whose minimum is unique.

    Args:
        texts: the training texts.
        labels: their classes, (N,) numbers from 0 to C - 1.
        num_labels: number of classes C.
        strength: inverse strength of the penalty; larger fits the training texts closer.
        max_words: the most frequent words that are kept.

    Raises:
        ValueError: no text, lists of different lengths, or a class outside the range.
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[int],
        num_labels: int,
        *,
        strength: float = 1.0,
        max_words: int = 50_000,
    ) -> None:
        if not texts or len(texts) != len(labels):
            raise ValueError(f"need at least one text and a label for each, got {len(texts)} and {len(labels)}")
        if min(labels) < 0 or max(labels) >= num_labels:
            raise ValueError(f"labels are numbers from 0 to {num_labels - 1}, got {min(labels)} to {max(labels)}")
        bags = [Counter(words_of(text)) for text in texts]
        frequency = Counter(word for bag in bags for word in bag)
        kept = sorted(frequency, key=lambda word: (-frequency[word], word))[:max_words]
        self.places = {word: place for place, word in enumerate(kept)}
        documents_V = torch.tensor([frequency[word] for word in kept], dtype=torch.float64)
        self.idf_V = ((1 + len(texts)) / (1 + documents_V)).log() + 1
        x_NV, labels_N = self._features(bags), torch.tensor(labels)
        self.weight_VC = torch.zeros(len(kept), num_labels, dtype=torch.float64, requires_grad=True)
        self.bias_C = torch.zeros(num_labels, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [self.weight_VC, self.bias_C], max_iter=300, history_size=10, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            logits_NC = torch.sparse.mm(x_NV, self.weight_VC) + self.bias_C
            total = F.cross_entropy(logits_NC, labels_N, reduction="sum")
            total = total + self.weight_VC.square().sum() / (2 * strength)
            total.backward()
            return total

        optimizer.step(loss)

    def _features(self, bags: Sequence[Counter[str]]) -> Tensor:
        """The tf-idf of each text, of length 1, as a sparse matrix (N, V)."""
        rows, columns, values = [], [], []
        for number, bag in enumerate(bags):
            known = [(self.places[word], count) for word, count in bag.items() if word in self.places]
            if known:
                weights = torch.tensor([count for _, count in known]) * self.idf_V[[place for place, _ in known]]
                rows += [number] * len(known)
                columns += [place for place, _ in known]
                values.append(weights / weights.norm())
        content = torch.cat(values) if values else torch.zeros(0, dtype=torch.float64)
        size = (len(bags), len(self.places))
        return torch.sparse_coo_tensor(
            torch.tensor([rows, columns]).long(), content, size, check_invariants=True
        ).coalesce()

    @torch.no_grad()
    def logits(self, texts: Sequence[str]) -> Tensor:
        """Log-probabilities of the classes up to a constant, (N, C), fp64."""
        x_NV = self._features([Counter(words_of(text)) for text in texts])
        return torch.sparse.mm(x_NV, self.weight_VC) + self.bias_C

    def predict(self, texts: Sequence[str]) -> list[int]:
        """The likeliest class of each text."""
        return self.logits(texts).argmax(dim=1).tolist()
