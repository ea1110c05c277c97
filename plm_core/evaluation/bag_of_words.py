"""The baseline of every classifier of texts: logistic regression on which words a text has, whatever their order.

Shapes are written into names: N texts, V words, C classes.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

WORD = re.compile(r"\w+|[^\w\s]")
"""A run of letters and digits, or one other mark."""
EXCESS = 1e-8
"""How far above its minimum the loss may stay, in nats for each training text."""
ROUND = 25
"""Iterations between two looks at the gradient."""


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

    The loss is the sum of -log p(class) over the texts plus ``|weights|² / (2·strength)``. Its curvature in the weights
    is at least 1/strength, so they are unique at the minimum, and a gradient of norm g leaves the loss no more than
    about g²·strength/2 above it. The fit goes on until this bound is at most 1e-8 nats for each text; the weaker the
    penalty, the more iterations that takes.

    Args:
        texts: the training texts.
        labels: their classes, (N,) numbers from 0 to C - 1.
        num_labels: number of classes C.
        strength: inverse strength of the penalty; larger fits the training texts closer.
        max_words: the most frequent words that are kept.
        max_iterations: iterations of L-BFGS after which the fit is given up with a warning.

    Attributes:
        gradient_norm: the norm of the loss's gradient where the fit ended (features taken from their mean).

    Warns:
        RuntimeWarning: the minimum was not reached in ``max_iterations``.

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
        max_iterations: int = 5_000,
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
        self._fit(self._features(bags), torch.tensor(labels), num_labels, strength, max_iterations)

    def _fit(self, x_NV: Tensor, labels_N: Tensor, num_labels: int, strength: float, max_iterations: int) -> None:
        """L-BFGS on features taken from their mean and parameters scaled to like curvature: fewer iterations."""
        count, places, values = len(labels_N), x_NV.indices()[1], x_NV.values()
        mean_V = torch.zeros_like(self.idf_V).index_add_(0, places, values) / count
        squares_V = torch.zeros_like(self.idf_V).index_add_(0, places, values.square()) - count * mean_V.square()
        # the curvature of -log p in a logit is at most 1/4
        scale_V1 = (squares_V.clamp(min=0) / 4 + 1 / strength).rsqrt().unsqueeze(1)
        scale = 2 / math.sqrt(count)
        scaled_weight_VC = torch.zeros(len(mean_V), num_labels, dtype=torch.float64, requires_grad=True)
        scaled_bias_C = torch.zeros(num_labels, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [scaled_weight_VC, scaled_bias_C],
            max_iter=ROUND,
            max_eval=10 * ROUND,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            self.weight_VC = scaled_weight_VC * scale_V1
            self.bias_C = scaled_bias_C * scale - mean_V @ self.weight_VC
            logits_NC = torch.sparse.mm(x_NV, self.weight_VC) + self.bias_C
            total = F.cross_entropy(logits_NC, labels_N, reduction="sum")
            total = total + self.weight_VC.square().sum() / (2 * strength)
            total.backward()
            return total

        allowed = math.sqrt(2 * EXCESS * count / strength)
        for _ in range(math.ceil(max_iterations / ROUND)):
            optimizer.step(loss)
            loss()  # the line search may have looked elsewhere last
            assert scaled_weight_VC.grad is not None
            assert scaled_bias_C.grad is not None
            self.gradient_norm = math.hypot(
                float((scaled_weight_VC.grad / scale_V1).norm()), float(scaled_bias_C.grad.norm()) / scale
            )
            if self.gradient_norm <= allowed:
                break
        else:
            warnings.warn(
                f"the bag of words did not reach its minimum in {max_iterations} iterations: the gradient's norm is "
                f"{self.gradient_norm:.2g}, wanted {allowed:.2g}; lower strength={strength:g} or raise max_iterations",
                RuntimeWarning,
                stacklevel=3,
            )
        self.weight_VC, self.bias_C = self.weight_VC.detach(), self.bias_C.detach()

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
