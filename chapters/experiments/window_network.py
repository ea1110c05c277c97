"""The network language model of Bengio et al. (2003), its training, and windows of tokens to train it on.

It reads a fixed number of tokens: it looks up a vector for each, puts them side by side, and a hidden layer and an
output layer give a score for every token that may come next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WindowNetwork(nn.Module):
    """A window of tokens to the scores of the next one.

    Linear weights are drawn with standard deviation 1 / sqrt(inputs), embeddings from N(0, 0.3²), biases are zero.

    Args:
        vocab_size: number of token ids V; id V stands before the beginning of a document.
        context: number of tokens that it reads, n.
        embedding_size: numbers for each token, D.
        hidden_size: width of the hidden layer, F; 0 leaves the layer out, and scores are linear in the embeddings.
        dropout: the probability with which a hidden number is set to 0 in training.
    """

    def __init__(
        self, vocab_size: int, *, context: int, embedding_size: int, hidden_size: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size + 1, embedding_size)
        self.hidden = nn.Linear(context * embedding_size, hidden_size) if hidden_size else None
        self.output = nn.Linear(hidden_size or context * embedding_size, vocab_size)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=0.3)
        for layer in (self.hidden, self.output):
            if layer is not None:
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, ids_Bn: Tensor) -> Tensor:
        """Scores (B, V) of the token after each window (B, n)."""
        x_BE = self.embedding(ids_Bn).flatten(1)  # (B, n · D)
        if self.hidden is not None:
            x_BE = torch.tanh(self.hidden(x_BE))  # (B, F)
        return self.output(self.dropout(x_BE))  # (B, V)


def windows(documents: Sequence[Sequence[int]], context: int, start: int) -> tuple[Tensor, Tensor]:
    """Every token of some documents with the tokens before it.

    Args:
        documents: token ids.
        context: number of tokens before, n.
        start: the id that stands before the first token.

    Returns:
        The windows (N, n) and the tokens that follow them (N,), as int64.
    """
    rows = []
    for document in documents:
        padded = np.concatenate([np.full(context, start, dtype=np.int64), np.asarray(document, dtype=np.int64)])
        rows.append(np.lib.stride_tricks.sliding_window_view(padded, context + 1))
    both = torch.from_numpy(np.concatenate(rows))
    return both[:, :-1], both[:, -1]


@torch.no_grad()
def surprisals(model: nn.Module, ids_Nn: Tensor, next_N: Tensor) -> np.ndarray:
    """-log p of each next token, in nats, without dropout."""
    training = model.training
    model.eval()
    found = [
        F.cross_entropy(model(ids), following, reduction="none")
        for ids, following in zip(ids_Nn.split(4096), next_N.split(4096), strict=True)
    ]
    model.train(training)
    return torch.cat(found).double().numpy()


def train(
    model: nn.Module,
    ids_Nn: Tensor,
    next_N: Tensor,
    *,
    rate: float,
    steps: int,
    seed: int,
    batch_size: int = 256,
    weight_decay: float = 0.0,
    sgd: bool = False,
    corrupt: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    watch: Callable[[int], None] | None = None,
) -> nn.Module:
    """Train with AdamW, or plain stochastic gradient descent, at a rate that falls linearly to zero.

    Batches are drawn without replacement; when all windows have been read, they are shuffled anew.

    Args:
        model: gives scores for windows.
        ids_Nn, next_N: windows and the tokens that follow.
        rate: the first learning rate.
        steps: number of batches.
        seed: decides the order of the windows, dropout and noise.
        batch_size: windows in a batch.
        weight_decay: the share of each weight, times the rate, that AdamW takes off at each step.
        sgd: whether the optimiser is stochastic gradient descent.
        corrupt: changes the windows of a batch.
        watch: called after each step with its number, from 1.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer: torch.optim.Optimizer
    if sgd:
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay, fused=True)
    order = torch.randperm(len(next_N), generator=generator)
    place = 0
    model.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        if place + batch_size > len(order):
            order, place = torch.randperm(len(next_N), generator=generator), 0
        rows = order[place : place + batch_size]
        place += batch_size
        ids = ids_Nn[rows]
        if corrupt is not None:
            ids = corrupt(ids, generator)
        optimizer.zero_grad()
        F.cross_entropy(model(ids), next_N[rows]).backward()
        optimizer.step()
        if watch is not None:
            watch(step + 1)
    return model.eval()


def best_share(first: np.ndarray, second: np.ndarray) -> float:
    """The weight of the first of two models whose mixture has the lowest loss, on a grid of twentieths.

    Args:
        first, second: the models' surprisals of the same tokens, in nats.
    """
    shares = np.linspace(0, 1, 21)
    return float(min(shares, key=lambda share: mixed(first, second, share).mean()))


def mixed(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """The surprisals of a mixture of two models, in nats."""
    return -np.log(share * np.exp(-first) + (1 - share) * np.exp(-second))
