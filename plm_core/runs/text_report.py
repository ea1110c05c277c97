"""Reports on the text of a run: its size, the share that is not in the vocabulary, and units of the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

from plm_core.data.documents import END_BYTES, DocumentRule
from plm_core.data.token_files import TokenFile


@dataclass(frozen=True)
class TokenCounts:
    """The size of a text in the units that a loss can be given in."""

    documents: int
    tokens: int
    """Tokens that a causal model predicts: those of the text and the end of each document."""
    text_bytes: int
    """UTF-8 bytes of the original text; a line end, and what ends a document, counted as it stands in a file with
    ``\\n``. 0 where it is not known."""
    characters: int
    """Characters of the original text, counted likewise."""
    unknown: int
    """How many of the tokens are [UNK]."""
    unknown_bytes: int
    """The bytes of the text that they stand for."""
    estimated: bool = False
    """Whether bytes, characters and unknown tokens are those of a larger text times this one's share of its tokens."""

    @classmethod
    def of(cls, file: TokenFile, *, estimated: bool = False) -> TokenCounts:
        """The counts of a token file; ``estimated``, if it was copied from a part of a larger one."""
        counts = (file.text_bytes, file.characters, file.unknown, file.unknown_bytes)
        return cls(len(file), file.predicted_tokens, *counts, estimated)

    @property
    def unknown_share(self) -> float:
        """The share of [UNK] among the tokens."""
        return self.unknown / max(1, self.tokens)

    def bits_per_byte(self, nats_per_token: float) -> float:
        """A causal loss in bits per UTF-8 byte of the original text: it compares models with different tokenizers.

        It is what a compressor that uses the model would need (Shannon 1948). Such a compressor must spell out what
        is not in the vocabulary, so every byte behind an [UNK] costs eight bits more. Where only a part of the text
        was scored, its tokens are taken to be as long as those of the whole.

        Raises:
            ValueError: the number of bytes is not known.
        """
        if not self.text_bytes:
            raise ValueError("bits per byte need the text: these tokens were given as ids")
        bits = nats_per_token / math.log(2) * self.tokens
        return (bits + 8 * self.unknown_bytes) / self.text_bytes

    def shown(self, rule: DocumentRule | None = None) -> str:
        """The size as text; with the rule of the documents, also how many of the bytes count for a document's end."""
        size = f", {'about ' * self.estimated}{self.text_bytes:,} bytes" if self.text_bytes else ""
        if size and rule is not None and END_BYTES[rule]:
            size += f" (with {END_BYTES[rule]} for the end of each document)"
        return f"{self.documents:,} document{'s' * (self.documents != 1)}, {self.tokens:,} tokens{size}"

    def warnings(self) -> list[str]:
        """Warnings for the reader of the loss."""
        if not self.unknown:
            return []
        share = f"{self.unknown_share:.2%}" if self.unknown_share >= 1e-4 else "fewer than 0.01%"
        return [
            f"{share} of the tokens are [UNK]: these characters or words are not in the vocabulary. "
            "Loss and perplexity are too low, as they need not be distinguished; bits per byte count eight bits for "
            "each byte of them"
        ]


def causal_lines(metrics: dict[str, float], counts: TokenCounts) -> list[str]:
    """A causal loss as lines of text: perplexity, bits per byte, and warnings; nothing for a masked model."""
    loss = metrics.get("causal_lm/loss")
    if loss is None:
        return counts.warnings()
    lines = [f"perplexity: {perplexity(loss):.2f} per token"]
    if counts.text_bytes:
        about = " (about: a part of a token file does not know its bytes)" if counts.estimated else ""
        lines.append(f"bits per byte: {counts.bits_per_byte(loss):.4f}{about}")
    return lines + counts.warnings()


def perplexity(nats_per_token: float) -> float:
    """exp of a loss; infinite where no float can hold it."""
    try:
        return math.exp(nats_per_token)
    except OverflowError:
        return math.inf
