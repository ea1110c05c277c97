"""Batches of a run: from documents to the source that its objective needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from plm_core.data.batch import Batch
from plm_core.data.batches import MaskedBatches, MaskedPairBatches, PackedBatches, WindowBatches
from plm_core.data.masking import Masker
from plm_core.data.sentence_pairs import SentencePairs, sentence_runs
from plm_core.data.token_files import TokenFile, TokenFileWriter
from plm_core.data.tokenizers import Tokenizer
from plm_core.objectives.base import Joint, Objective
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence, SentenceOrder
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import Texts

BLOCK_CHARACTERS = 2**20
MAX_VALIDATION_BATCHES = 40

Documents = Sequence[Sequence[str]]


class Source(Protocol):
    """Training batches by number, and every example once in order."""

    def batch(self, index: int) -> Batch: ...

    def in_order(self) -> list[Batch]: ...


@dataclass(frozen=True)
class Sources:
    """What a trainer needs besides the model."""

    objective: Objective | Joint
    train: Source
    valid: list[Batch]


def make_sources(config: RunConfig, texts: Texts, tokenizer: Tokenizer, folder: Path, *, write: bool = True) -> Sources:
    """Build the objective and the batches of a run.

    Args:
        config: the run.
        texts: its documents.
        tokenizer: turns them into ids.
        folder: where token files go.
        write: whether to write them; else another process of the run has.

    Raises:
        ValueError: a corpus too small for the context, the batch or the objective.
    """
    if config.objective == "causal_lm":
        train, valid = (
            causal_source(config, documents, tokenizer, folder / f"{name}.tokens", write=write)
            for name, documents in (("train", texts.train), ("valid", texts.valid))
        )
        return Sources(
            CausalLM(label_smoothing=config.label_smoothing, sliced=True),
            train,
            valid.in_order()[:MAX_VALIDATION_BATCHES],
        )
    masker = Masker(
        vocab_size=tokenizer.vocab_size,
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        config=config.masking,
        seed=config.seed,
    )
    encoded = [[encode_documents(d, tokenizer) for d in documents] for documents in (texts.train, texts.valid)]
    predict = MaskedLM(label_smoothing=config.label_smoothing)
    if config.objective == "masked_lm":
        masked = [masked_source(config, documents, tokenizer, masker) for documents in encoded]
        return Sources(predict, masked[0], masked[1].in_order()[:MAX_VALIDATION_BATCHES])
    task = "next_sentence" if config.objective == "masked_lm+next_sentence" else "sentence_order"
    pairs = [
        MaskedPairBatches(
            SentencePairs(documents, max_tokens=config.context - 3, task=task, seed=config.seed),  # type: ignore[arg-type]
            tokenizer=tokenizer,
            masker=masker,
            batch_size=config.batch_size,
            seed=config.seed,
        )
        for documents in encoded
    ]
    joint = Joint([predict, NextSentence() if task == "next_sentence" else SentenceOrder()])
    return Sources(joint, pairs[0], pairs[1].in_order()[:MAX_VALIDATION_BATCHES])


def causal_source(
    config: RunConfig, documents: Documents, tokenizer: Tokenizer, path: Path, *, write: bool = True
) -> Source:
    """Packed rows where every document fits into one, else windows of the whole text through a token file.

    A document is framed as ``[BOS] text [EOS]``, so that its first word is predicted as well, and its end.
    """
    if write:
        write_tokens(documents, tokenizer, path)
    file = TokenFile(path)
    if path.stem == "train" and len(file.tokens) <= config.context:
        raise ValueError(
            f"the corpus is shorter than the context: it has {len(file.tokens)} tokens for training, one row needs "
            f"{config.context + 1}. Use a shorter context or more text"
        )
    if file.lengths.max() <= config.context:
        whole = [file[number] for number in range(len(file))]
        return PackedBatches(
            whole,
            row_length=config.context,
            batch_size=config.batch_size,
            pad_id=tokenizer.pad_id,
            seed=config.seed,
        )
    return WindowBatches(file.tokens, context=config.context, batch_size=config.batch_size, seed=config.seed)


def write_tokens(documents: Documents, tokenizer: Tokenizer, path: Path) -> None:
    """Write documents to a token file, each as ``[BOS] text [EOS]``."""
    with TokenFileWriter(
        path, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint, overwrite=True
    ) as writer:
        for document in documents:
            writer.write([tokenizer.bos_id])
            for block in text_blocks(document):
                writer.write(tokenizer.encode(block))
            writer.write([tokenizer.eos_id])
            writer.end_document()


def masked_source(
    config: RunConfig, documents: list[list[list[int]]], tokenizer: Tokenizer, masker: Masker
) -> MaskedBatches:
    """Rows of whole consecutive sentences of one document, as many as fit."""
    rows = []
    for sentences in documents:
        for start, end in sentence_runs([len(sentence) for sentence in sentences], config.context - 2):
            rows.append([token for sentence in sentences[start:end] for token in sentence])
    return MaskedBatches(
        rows,
        tokenizer=tokenizer,
        masker=masker,
        max_length=config.context,
        batch_size=config.batch_size,
        seed=config.seed,
        word_starts=[word_starts(row, tokenizer) for row in rows] if config.masking.unit == "word" else None,
    )


def encode_documents(document: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The sentences of a document as ids; sentences without a token are dropped."""
    return [ids for ids in tokenizer.encode_all(document) if ids]


def word_starts(ids: list[int], tokenizer: Tokenizer) -> list[bool]:
    """True at the tokens that begin a word: those that continue one are spelt ``##...`` (WordPiece) or do not begin
    with a space (byte-level BPE, which writes a space as Ġ)."""
    tokens = [tokenizer.backend.id_to_token(token) or "" for token in ids]
    if any(token.startswith("Ġ") for token in tokens):
        return [token.startswith(("Ġ", "Ċ")) or not token[:1].isalnum() for token in tokens]
    return [not token.startswith("##") for token in tokens]


def text_blocks(document: Iterable[str]) -> Iterator[str]:
    """The sentences of a document joined by line ends, in blocks of about a megabyte, cut at spaces."""
    block = ""
    for number, sentence in enumerate(document):
        block += ("\n" if number else "") + sentence
        while len(block) > BLOCK_CHARACTERS:
            cut = block.rfind(" ", 1, BLOCK_CHARACTERS)
            cut = BLOCK_CHARACTERS if cut < 0 else cut
            yield block[:cut]
            block = block[cut:]
    yield block
