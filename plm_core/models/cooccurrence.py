"""Words as rows of counts: how often two words stand near each other, and what is made of these counts.

Letters: V words of the vocabulary, D numbers per word. A text is a list of ids and, beside each id, the number of the
sentence it stands in; a window never crosses the border of a sentence.
"""

from __future__ import annotations

import torch
from torch import Tensor


def windowed_pairs(ids: Tensor, sentences: Tensor, distance: int) -> tuple[Tensor, Tensor]:
    """The pairs of neighbours at one distance, each once: the left word and the right word.

    Args:
        ids: (N,), the words of a text.
        sentences: (N,), the number of the sentence in which each word stands.
        distance: at least 1.

    Returns:
        Places of the left and of the right word, each (M,).
    """
    left = torch.arange(len(ids) - distance) if len(ids) > distance else torch.zeros(0, dtype=torch.int64)
    left = left[sentences[left] == sentences[left + distance]]
    return left, left + distance


def cooccurrence(ids: Tensor, sentences: Tensor, *, window: int, vocab_size: int, dynamic: bool = False) -> Tensor:
    """How often each word stands within a window around each other word.

    Args:
        ids, sentences: a text, as for :func:`windowed_pairs`.
        window: the largest distance that counts.
        vocab_size: V.
        dynamic: weigh a pair at distance d by (window + 1 - d) / window, which is how often skip-gram meets it when it
            draws the size of each window uniformly (Mikolov et al. 2013).

    Returns:
        (V, V), symmetric; the row is the word, the column its context.

    Example:
        >>> cooccurrence(torch.tensor([0, 1, 0]), torch.tensor([0, 0, 0]), window=1, vocab_size=2).tolist()
        [[0.0, 2.0], [2.0, 0.0]]
    """
    counts = torch.zeros(vocab_size * vocab_size)
    for distance in range(1, window + 1):
        left, right = windowed_pairs(ids, sentences, distance)
        found = torch.bincount(ids[left] * vocab_size + ids[right], minlength=len(counts)).float()
        counts += found * ((window + 1 - distance) / window if dynamic else 1.0)
    counts = counts.view(vocab_size, vocab_size)
    return counts + counts.T


def pmi(counts: Tensor, *, smoothing: float = 1.0) -> Tensor:
    """Pointwise mutual information in nats: log p(w, c) / (p(w) p(c)).

    Args:
        counts: (V, V), of words and contexts, with no negative entry.
        smoothing: the power to which the counts of contexts are raised before p(c) is made of them; 0.75 takes weight
            away from rare contexts (Levy, Goldberg and Dagan 2015).

    Returns:
        (V, V), minus infinity where two words never meet.
    """
    words = counts.sum(dim=1, keepdim=True)
    contexts = counts.sum(dim=0, keepdim=True) ** smoothing
    return torch.log(counts / words) - torch.log(contexts / contexts.sum())


def shifted_ppmi(counts: Tensor, *, shift: float = 1.0, smoothing: float = 1.0) -> Tensor:
    """Positive PMI, max(PMI - log shift, 0), and 0 for words that never occur.

    Args:
        counts, smoothing: as for :func:`pmi`.
        shift: the number of negative samples of the skip-gram whose optimum this resembles (Levy and Goldberg 2014);
            1 shifts nothing.
    """
    shifted = pmi(counts, smoothing=smoothing) - torch.log(torch.tensor(shift))
    return torch.where(counts > 0, shifted, torch.zeros(())).clamp(min=0)


def svd_vectors(matrix: Tensor, size: int, *, power: float = 0.5, seed: int = 0) -> Tensor:
    """Short vectors by a truncated singular value decomposition: the first columns of U times a power of S.

    Args:
        matrix: (V, V), for example of :func:`shifted_ppmi`.
        size: D.
        power: of the singular values; 1 keeps inner products of rows as well as D columns can, 1/2 splits the values
            evenly between words and contexts (Levy, Goldberg and Dagan 2015).
        seed: of the random projection by which large matrices are decomposed (Halko et al. 2011).

    Returns:
        (V, D), the strongest column first.

    Raises:
        ValueError: more columns than the matrix has.
    """
    if not 1 <= size <= min(matrix.shape):
        raise ValueError(f"size must be between 1 and {min(matrix.shape)}, not {size}")
    if min(matrix.shape) <= max(1000, 2 * size):
        u, s, _ = torch.linalg.svd(matrix)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            u, s, _ = torch.svd_lowrank(matrix, q=size + 20, niter=4)
    return u[:, :size] * s[:size] ** power


def tf_idf(counts: Tensor) -> Tensor:
    """Counts of words in documents, weighed by how few documents have the word, each row of length 1.

    Args:
        counts: (N, V), how often document n has word v.

    Returns:
        (N, V): tf · (1 + log((1 + N) / (1 + df))), normalised; df is the number of documents with the word. This is the
        form that scikit-learn uses by default.
    """
    documents = (counts > 0).sum(dim=0)
    weighed = counts * (1 + torch.log((1 + len(counts)) / (1 + documents)))
    return torch.nn.functional.normalize(weighed, dim=1)
