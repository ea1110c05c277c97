"""Autoencoders: networks that give their input back through a code of fewer numbers.

Letters: B examples, I numbers of an input, Z numbers of the code, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.models.recurrent_seq2seq import Encoded, RecurrentSeq2Seq, RecurrentSeq2SeqConfig


class Autoencoder(nn.Module):
    """Encoder and decoder of linear layers with ReLU between them; the code itself and the output are linear.

    Without hidden layers, and trained on squared error, its best code spans the principal components of the data
    (Bourlard and Kamp 1988; Baldi and Hornik 1989).

    Args:
        input_size: numbers of an input, I.
        code_size: numbers of the code, Z.
        hidden_sizes: widths of the encoder's hidden layers; the decoder has them in reverse order.
    """

    def __init__(self, input_size: int, code_size: int, *, hidden_sizes: Sequence[int] = ()) -> None:
        super().__init__()
        if input_size < 1 or code_size < 1 or any(width < 1 for width in hidden_sizes):
            raise ValueError(f"sizes must be positive, got {input_size}, {code_size} and {tuple(hidden_sizes)}")
        self.encoder = _stack([input_size, *hidden_sizes, code_size])
        self.decoder = _stack([code_size, *reversed(hidden_sizes), input_size])

    def encode(self, x_BI: Tensor) -> Tensor:
        """The codes (B, Z) of inputs (B, I)."""
        return self.encoder(x_BI)

    def forward(self, x_BI: Tensor) -> Tensor:
        """What the decoder makes of the codes: reconstructions, (B, I)."""
        return self.decoder(self.encode(x_BI))


def principal_components(x_NI: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean of some points and the orthonormal directions in which they vary most.

    Args:
        x_NI: points, (N, I).
        count: number of directions, at most min(N, I).

    Returns:
        The mean (I,) and the directions (count, I), the largest variance first.

    Raises:
        ValueError: more directions than there can be.
    """
    if not 1 <= count <= min(x_NI.shape):
        raise ValueError(f"count must be between 1 and {min(x_NI.shape)}, got {count}")
    mean_I = x_NI.mean(dim=0)
    return mean_I, torch.linalg.svd(x_NI - mean_I, full_matrices=False).Vh[:count]


def project(x_NI: Tensor, mean_I: Tensor, components_ZI: Tensor) -> Tensor:
    """The points (N, I) of the plane through the mean along the components that are nearest to some points (N, I)."""
    return mean_I + (x_NI - mean_I) @ components_ZI.T @ components_ZI


def corrupt(ids: Tensor, vocab_size: int, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Replace tokens by random ones, as the input of a denoising autoencoder (Vincent et al. 2008).

    Args:
        ids: tokens of any shape.
        vocab_size: replacements are drawn evenly from this many ids; a token may be replaced by itself.
        probability: that a token is replaced.
        generator: the source of chance.

    Returns:
        The corrupted tokens and a bool mask, True where a token was replaced, both in the shape of ``ids``.
    """
    replaced = torch.rand(ids.shape, generator=generator) < probability
    drawn = torch.randint(vocab_size, ids.shape, generator=generator)
    return torch.where(replaced, drawn, ids), replaced


class SentenceAutoencoder(nn.Module):
    """A recurrent encoder turns a sentence into Z numbers, a recurrent decoder writes it again from these alone.

    Args:
        config: the shape of both; ``summary_size`` is the size Z of the code. Attention is refused: the decoder
            would look at the sentence past the code.
        start: the id that stands before the first token of the decoder.

    Raises:
        ValueError: a configuration with attention, or a start outside the vocabulary.
    """

    def __init__(self, config: RecurrentSeq2SeqConfig, *, start: int) -> None:
        super().__init__()
        if config.attention:
            raise ValueError("attention looks past the code: make the configuration with attention=False")
        if not 0 <= start < config.vocab_size:
            raise ValueError(f"start is {start}: expected an id of the vocabulary, 0 to {config.vocab_size - 1}")
        self.start = start
        self.network = RecurrentSeq2Seq(config)

    def encode(self, input_ids: Tensor, *, attention_mask: Tensor | None = None) -> Tensor:
        """The codes (B, Z) of sentences (B, T), padded on the right."""
        return self.network.encode(input_ids, attention_mask=attention_mask).summary_BZ

    def forward(
        self, input_ids: Tensor, *, attention_mask: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """Logits (B, T, V) for each token of the sentences, given the code and the tokens before it.

        Args:
            input_ids: sentences, (B, T).
            attention_mask: bool, (B, T), True where a token is real.
            source: what the encoder reads instead, (B, T): corrupted sentences, for denoising.
        """
        shifted = F.pad(input_ids[:, :-1], (1, 0), value=self.start)
        return self.network(input_ids if source is None else source, shifted, attention_mask=attention_mask)

    def decode(self, code_BZ: Tensor, *, max_new_tokens: int) -> Tensor:
        """The sentences (B, max_new_tokens) written from codes (B, Z), with the likeliest token at each step."""
        none_BSD = code_BZ.new_zeros(len(code_BZ), 0, 0)  # without attention nothing looks at the encoder's states
        return self.network.write(Encoded(code_BZ, none_BSD, None), start=self.start, max_new_tokens=max_new_tokens)


def _stack(sizes: list[int]) -> nn.Sequential:
    """Linear layers from size to size, with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
