"""The text that both sides train on: one tokenizer and one set of examples, in a folder that both read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from plm_core.data.batches import MaskedPairBatches
from plm_core.data.corpora import python_documentation
from plm_core.data.datasets import wikitext2
from plm_core.data.masking import Masker
from plm_core.data.sentence_pairs import SentencePairs
from plm_core.data.tokenizer_training import train_wordpiece
from plm_core.data.tokenizers import Tokenizer

PARAGRAPHS = "paragraphs.json"
PAIRS = "pairs.json"
_SENTENCE_END = re.compile(r"(?<= [.!?]) |(?<=[.!?]) (?=[A-Z])")

Paragraph = list[list[int]]


def read_paragraphs(corpus: str) -> list[list[str]]:
    """The paragraphs of a corpus as sentences: their lengths are what authors made them.

    Args:
        corpus: ``"wikitext-2"`` (its validation articles, 1.1 MB, fetched once) or ``"python-documentation"``.

    Raises:
        ValueError: another name.
    """
    if corpus == "wikitext-2":
        documents = wikitext2("validation")
    elif corpus == "python-documentation":
        documents = python_documentation()
    else:
        raise ValueError(f"unknown corpus {corpus!r}: use 'wikitext-2' or 'python-documentation'")
    lines = (line.strip() for document in documents for line in document.text.splitlines())
    return [
        [sentence for sentence in _SENTENCE_END.split(line) if sentence]
        for line in lines
        if line and not line.startswith("=")
    ]


def prepare_text(folder: Path, corpus: str, *, vocab_size: int, length: int) -> Tokenizer:
    """Train the tokenizer and write paragraphs and sentence pairs as ids, for both sides to read.

    A paragraph is a document; its runs of whole sentences that fit into ``length`` make pairs. Their lengths vary as
    the paragraphs' do.
    """
    paragraphs = read_paragraphs(corpus)
    tokenizer = train_wordpiece((" ".join(paragraph) for paragraph in paragraphs), vocab_size=vocab_size)
    encoded = [[ids for ids in tokenizer.encode_all(paragraph) if ids] for paragraph in paragraphs]
    encoded = [paragraph for paragraph in encoded if paragraph]
    pairs = SentencePairs(encoded, max_tokens=length - 3, seed=0)
    drawn = [pairs.pair(example) for example in range(len(pairs))]
    (folder / PARAGRAPHS).write_text(json.dumps(encoded), encoding="utf-8")
    (folder / PAIRS).write_text(json.dumps([[p.first, p.second, p.label] for p in drawn]), encoding="utf-8")
    return tokenizer


def pair_batches(folder: Path, tokenizer: Tokenizer, *, length: int, batch_size: int, seed: int) -> MaskedPairBatches:
    """Our source for BERT's objectives, as ``plm train`` makes it."""
    paragraphs: Sequence[Paragraph] = json.loads((folder / PARAGRAPHS).read_text(encoding="utf-8"))
    masker = Masker(
        vocab_size=tokenizer.vocab_size,
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        seed=seed,
    )
    pairs = SentencePairs(paragraphs, max_tokens=length - 3, seed=0)
    return MaskedPairBatches(pairs, tokenizer=tokenizer, masker=masker, batch_size=batch_size, seed=seed)


def their_pairs(folder: Path, tokenizer: Tokenizer) -> list[dict[str, list[int] | int]]:
    """The same pairs as items of a dataset for ``DataCollatorForLanguageModeling``."""
    items: list[dict[str, list[int] | int]] = []
    cls, sep = tokenizer.cls_id, tokenizer.sep_id
    for first, second, label in json.loads((folder / PAIRS).read_text(encoding="utf-8")):
        special = [1, *[0] * len(first), 1, *[0] * len(second), 1]
        items.append(
            {
                "input_ids": [cls, *first, sep, *second, sep],
                "token_type_ids": [0] * (len(first) + 2) + [1] * (len(second) + 1),
                "special_tokens_mask": special,
                "next_sentence_label": label,
            }
        )
    return items


def texts(folder: Path, tokenizer: Tokenizer, *, length: int) -> list[list[int]]:
    """Paragraphs as ``[BOS] text [EOS]``, cut at ``length``: the rows of causal language modelling."""
    paragraphs: Sequence[Paragraph] = json.loads((folder / PARAGRAPHS).read_text(encoding="utf-8"))
    joined = ([token for sentence in paragraph for token in sentence] for paragraph in paragraphs)
    return [[tokenizer.bos_id, *ids, tokenizer.eos_id][:length] for ids in joined]


def padding_share(lengths: Sequence[int], batch_size: int) -> float:
    """The share of padding where batches are drawn at random and filled up to the longest of each."""
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0)).tolist()
    batches = [[lengths[i] for i in order[k : k + batch_size]] for k in range(0, len(order), batch_size)]
    return 1 - sum(map(sum, batches)) / sum(max(batch) * len(batch) for batch in batches)
