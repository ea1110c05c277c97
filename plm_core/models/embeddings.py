"""Skip-gram with negative sampling: word vectors learned by telling real neighbours from drawn ones.

Letters: B pairs, K negative samples of each, V words, D numbers per word, R pieces of words. Source: Mikolov et al.,
Distributed representations of words and phrases and their compositionality (2013); with pieces, Bojanowski et al.,
Enriching word vectors with subword information (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.config import Config
from plm_core.models.cooccurrence import windowed_pairs

SCORED = 8
"""Of so many batches of training, the loss of one is computed."""


@dataclass(frozen=True)
class SkipGramConfig(Config):
    """The shape of a :class:`SkipGram` and how its examples are drawn."""

    vocab_size: int
    """Number of words V."""
    hidden_size: int = 100
    """Numbers per word, D."""
    window: int = 5
    """Largest distance of a word and its context; the window of each word is drawn uniformly from 1 to this."""
    num_negatives: int = 5
    """Contexts K that are drawn for each real one."""
    noise_power: float = 0.75
    """Power to which the counts are raised before negative samples are drawn in proportion to them."""
    subsampling: float = 1e-3
    """Words more frequent than this share of the text are dropped at random; 0 drops none."""

    def validate(self) -> None:
        self.require_positive("vocab_size", "hidden_size", "window", "num_negatives")
        self.require_probability("subsampling")


def noise_distribution(counts: Tensor, power: float = 0.75) -> Tensor:
    """The probabilities with which negative samples are drawn: counts to a power, normalised; (V,)."""
    raised = counts.double() ** power
    return (raised / raised.sum()).float()


def keep_probability(counts: Tensor, threshold: float) -> Tensor:
    """The probability with which an occurrence of each word is kept by subsampling: min(1, sqrt(threshold / share)).

    Args:
        counts: (V,), how often each word occurs.
        threshold: the share of the text above which words are dropped; 0 keeps all.
    """
    if threshold == 0:
        return torch.ones(len(counts))
    share = counts.float() / counts.sum()
    return torch.sqrt(threshold / share.clamp(min=1e-12)).clamp(max=1)


def skip_gram_pairs(ids: Tensor, sentences: Tensor, window: int, generator: torch.Generator) -> Tensor:
    """Every word with the words of its window, whose size is drawn uniformly from 1 to ``window`` for each word.

    Args:
        ids: (N,), the words of a text.
        sentences: (N,), the number of the sentence in which each stands; windows do not cross its border.
        window: the largest size.
        generator: the source of the sizes.

    Returns:
        (M, 2), word and context, in no useful order.
    """
    sizes = torch.randint(1, window + 1, (len(ids),), generator=generator)
    pairs = []
    for distance in range(1, window + 1):
        left, right = windowed_pairs(ids, sentences, distance)
        for word, context in ((left, right), (right, left)):
            inside = sizes[word] >= distance
            pairs.append(torch.stack([ids[word[inside]], ids[context[inside]]], dim=1))
    return torch.cat(pairs)


def character_ngrams(word: str, shortest: int = 3, longest: int = 6) -> list[str]:
    """The word between ``<`` and ``>``, and all pieces of 3 to 6 of these characters, each once.

    Example:
        >>> character_ngrams("rain", 3, 3)
        ['<rain>', '<ra', 'rai', 'ain', 'in>']
    """
    marked = f"<{word}>"
    pieces = [
        marked[start : start + length]
        for length in range(shortest, longest + 1)
        for start in range(len(marked) - length + 1)
    ]
    return list(dict.fromkeys([marked, *pieces]))


def piece_matrix(words: Sequence[Sequence[str]], rows: dict[str, int]) -> Tensor:
    """The sparse matrix that makes vectors of words out of vectors of pieces: each word is the mean of its pieces.

    Args:
        words: the pieces of each of N words; those without a row are left out.
        rows: the row of each known piece, 0 to R - 1.

    Returns:
        (N, R), sparse; a row of zeros for a word without a known piece.
    """
    places, values = [], []
    for number, pieces in enumerate(words):
        known = [rows[piece] for piece in pieces if piece in rows]
        places += [(number, row) for row in known]
        values += [1 / max(len(known), 1)] * len(known)
    indices = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).T
    shape = (len(words), len(rows))
    return torch.sparse_coo_tensor(indices, torch.tensor(values), shape, check_invariants=True).coalesce()


def negative_sampling_loss(v_BD: Tensor, u_BD: Tensor, negatives_BKD: Tensor, real_BK: Tensor) -> Tensor:
    """-log σ(v·u) - Σ log σ(-v·n) of each pair; (B,).

    Args:
        v_BD: vectors of the words.
        u_BD: vectors of their contexts.
        negatives_BKD: vectors of the negative samples.
        real_BK: bool, False for samples that are left out, since they are the context itself.
    """
    positive_B = (v_BD * u_BD).sum(dim=-1)
    negative_BK = torch.einsum("bd,bkd->bk", v_BD, negatives_BKD)
    return -F.logsigmoid(positive_B) - (F.logsigmoid(-negative_BK) * real_BK).sum(dim=-1)


def negative_sampling_gradients(
    v_BD: Tensor, u_BD: Tensor, negatives_BKD: Tensor, real_BK: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives of the summed :func:`negative_sampling_loss` by its three kinds of vectors, by hand."""
    error_B = torch.sigmoid((v_BD * u_BD).sum(dim=-1)) - 1
    error_BK = torch.sigmoid(torch.einsum("bd,bkd->bk", v_BD, negatives_BKD)) * real_BK
    by_v_BD = error_B[:, None] * u_BD + torch.einsum("bk,bkd->bd", error_BK, negatives_BKD)
    return by_v_BD, error_B[:, None] * v_BD, error_BK[:, :, None] * v_BD[:, None, :]


class SkipGram(nn.Module):
    """Two vectors for each word: one as a word, one as a context of others.

    Args:
        config: its shape.
        pieces: (V, R), sparse, from :func:`piece_matrix`: the vector of a word is the mean of its pieces' vectors.
            Without it each word has a vector of its own.

    Example:
        >>> model = SkipGram(SkipGramConfig(vocab_size=3, hidden_size=4, window=1))
        >>> _ = model.fit(torch.tensor([0, 1, 2, 1]), torch.zeros(4, dtype=torch.int64), epochs=1)
        >>> model.vectors().shape
        torch.Size([3, 4])
    """

    def __init__(self, config: SkipGramConfig, pieces: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        rows = config.vocab_size if pieces is None else pieces.shape[1]
        self.word_embeddings = nn.Parameter(torch.zeros(rows, config.hidden_size))
        self.context_embeddings = nn.Parameter(torch.zeros(config.vocab_size, config.hidden_size))
        self.pieces = pieces
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw the weights as word2vec does: words uniform in ±1/(2D), contexts 0."""
        self.word_embeddings.uniform_(-0.5 / self.config.hidden_size, 0.5 / self.config.hidden_size)
        self.context_embeddings.zero_()

    def vectors(self) -> Tensor:
        """The vectors of all words, (V, D), without gradient."""
        rows = self.word_embeddings.detach()
        return rows.clone() if self.pieces is None else torch.sparse.mm(self.pieces, rows)

    def compose(self, pieces: Tensor) -> Tensor:
        """The vectors of words that need not be in the vocabulary, (N, D), from their :func:`piece_matrix`."""
        return torch.sparse.mm(pieces, self.word_embeddings.detach())

    @torch.no_grad()
    def fit(
        self,
        ids: Tensor,
        sentences: Tensor,
        *,
        epochs: int = 5,
        learning_rate: float = 0.05,
        batch_size: int = 4096,
        seed: int = 0,
        drop_hits: bool = True,
    ) -> list[float]:
        """Train on a text: subsample, draw windows, draw negative samples, and follow the gradient by Adagrad.

        The rate falls linearly to zero. word2vec follows single pairs with plain gradient descent; for whole batches,
        in which a frequent word occurs many times, Adagrad (Duchi et al. 2011) scales each number's steps.

        Args:
            ids, sentences: the text, as for :func:`skip_gram_pairs`.
            epochs: how often the text is read; each time other words are dropped and other samples drawn.
            learning_rate: the rate at the beginning.
            batch_size: pairs per step.
            seed: of all that is drawn here; the weights were drawn before.
            drop_hits: leave out negative samples that are the context itself, as word2vec does.

        Returns:
            The mean loss per pair of each epoch, over every :data:`SCORED`-th batch before its step.
        """
        generator = torch.Generator().manual_seed(seed)
        counts = torch.bincount(ids, minlength=self.config.vocab_size)
        noise = noise_distribution(counts, self.config.noise_power)
        table = torch.multinomial(noise, 2**20, replacement=True, generator=generator)
        keep = keep_probability(counts, self.config.subsampling)
        squares = [torch.full_like(p, 1e-8) for p in (self.word_embeddings, self.context_embeddings)]
        losses = []
        for epoch in range(epochs):
            kept = torch.rand(len(ids), generator=generator) < keep[ids]
            pairs = skip_gram_pairs(ids[kept], sentences[kept], self.config.window, generator)
            pairs = pairs[torch.randperm(len(pairs), generator=generator)]
            total, scored = 0.0, 0
            for step, start in enumerate(range(0, len(pairs), batch_size)):
                words_B, contexts_B = pairs[start : start + batch_size].unbind(dim=1)
                shape = (len(words_B), self.config.num_negatives)
                negatives_BK = table[torch.randint(len(table), shape, generator=generator)]
                rate = learning_rate * (1 - (epoch + start / len(pairs)) / epochs)
                if step % SCORED == 0:
                    total += self.batch_loss(words_B, contexts_B, negatives_BK, drop_hits=drop_hits)
                    scored += len(words_B)
                self._step(words_B, contexts_B, negatives_BK, squares, rate, drop_hits)
            losses.append(total / max(scored, 1))
        return losses

    def batch_loss(self, words_B: Tensor, contexts_B: Tensor, negatives_BK: Tensor, *, drop_hits: bool = True) -> float:
        """The summed loss of a batch of pairs and their negative samples, all given by numbers of words."""
        real_BK = _real(negatives_BK, contexts_B, drop_hits)
        u, n = self.context_embeddings[contexts_B], self.context_embeddings[negatives_BK]
        return float(negative_sampling_loss(self.vectors()[words_B], u, n, real_BK).sum())

    def _step(
        self, words_B: Tensor, contexts_B: Tensor, negatives_BK: Tensor, squares: list[Tensor], rate: float, drop: bool
    ) -> None:
        """One step of Adagrad on a batch."""
        words_VD = self.word_embeddings if self.pieces is None else torch.sparse.mm(self.pieces, self.word_embeddings)
        gathered = words_VD[words_B], self.context_embeddings[contexts_B], self.context_embeddings[negatives_BK]
        by_word, by_context, by_negative = negative_sampling_gradients(*gathered, _real(negatives_BK, contexts_B, drop))
        word_gradient = torch.zeros_like(words_VD).index_add_(0, words_B, by_word)
        if self.pieces is not None:
            word_gradient = torch.sparse.mm(self.pieces.t(), word_gradient)
        context_gradient = torch.zeros_like(self.context_embeddings).index_add_(0, contexts_B, by_context)
        context_gradient.index_add_(0, negatives_BK.flatten(), by_negative.flatten(0, 1))
        parameters = (self.word_embeddings, self.context_embeddings)
        for parameter, gradient, square in zip(parameters, (word_gradient, context_gradient), squares, strict=True):
            square.addcmul_(gradient, gradient)
            parameter.addcdiv_(gradient, square.sqrt(), value=-rate)


def _real(negatives_BK: Tensor, contexts_B: Tensor, drop_hits: bool) -> Tensor:
    """Which negative samples count: those that are not the context itself, or all."""
    hits = negatives_BK == contexts_B[:, None]
    return ~hits if drop_hits else torch.ones_like(hits)
