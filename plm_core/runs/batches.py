"""Batches of a run: from documents to the source that its objective needs.

All text comes through token files (:mod:`plm_core.data.tokenize`): that of training, that of validation, and that which
``plm evaluate --text`` measures, so that the same text has the same loss everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from plm_core.data.batch import Batch
from plm_core.data.batches import MaskedBatches, MaskedPairBatches
from plm_core.data.masking import Masker
from plm_core.data.sentence_pairs import SentencePairs
from plm_core.data.splits import TokenDocuments
from plm_core.data.token_files import TokenFile
from plm_core.data.token_rows import DocumentBatches, RowWordStarts, SentenceDocuments, SentenceRows
from plm_core.data.tokenizers import Tokenizer
from plm_core.objectives.base import Joint, Objective
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence, SentenceOrder
from plm_core.runs.config import RunConfig
from plm_core.runs.corpus import Texts, own_documents
from plm_core.runs.text_report import TokenCounts

LEAST_PAIRED = 0.1
"""With a smaller share of its tokens in pairs of segments a text is refused: its lines are not sentences."""
MOSTLY_PAIRED = 0.9
"""With a smaller share the report says how much of the text is used."""

TRAIN, VALID, TEXT = "train.tokens", "valid.tokens", "text.tokens"


class Source(Protocol):
    """Training batches by number, and every example once in order."""

    def batch(self, index: int) -> Batch: ...

    def in_order(self) -> Sequence[Batch]: ...


class PairSource(MaskedPairBatches):
    """Pairs of segments, and the share of the text's tokens that stand in one.

    Args:
        pairs: the pairs.
        paired: the share of the tokens that are in a pair.
        **settings: of :class:`~plm_core.data.batches.MaskedPairBatches`.
    """

    def __init__(self, pairs: SentencePairs, paired: float, **settings: Any) -> None:
        super().__init__(pairs, **settings)
        self.paired = paired


@dataclass(frozen=True)
class Sources:
    """Objective, training batches and validation batches: what a trainer needs besides the model."""

    objective: Objective | Joint
    train: Source
    valid: Sequence[Batch]
    """The batches of a validation: all, or as many as ``validation_batches`` allows."""
    train_tokens: TokenCounts
    """Size and unknown tokens of the training text."""
    valid_tokens: TokenCounts
    """Size and unknown tokens of the validation text."""
    all_valid: int
    """How many batches the validation text has."""
    paired: tuple[float, float] | None = None
    """Shares of the training and of the validation tokens that stand in pairs of segments; None without pairs."""

    def lines(self) -> list[str]:
        """Lines for the user: how much text there is, how much of it is [UNK], and how much validation leaves out."""
        train, valid = self.train_tokens, self.valid_tokens
        lines = [f"training text: {train.shown()}", f"validation text: {valid.shown()}"]
        if len(self.valid) < self.all_valid:
            lines.append(f"each validation uses {len(self.valid)} of {self.all_valid} batches, evenly spread")
        for name, counts in (("training", train), ("validation", valid)):
            lines += [f"of the {name} text, {line}" for line in counts.warnings()]
        if self.paired is not None and min(self.paired) < MOSTLY_PAIRED:
            lines.append(
                f"{self.paired[0]:.0%} of the training tokens and {self.paired[1]:.0%} of the validation tokens make "
                "pairs of segments; the rest is not used: documents of one line (write one sentence a line), and "
                "sentences too long to stand beside another within the context"
            )
        return lines


def make_sources(config: RunConfig, texts: Texts, tokenizer: Tokenizer, folder: Path, *, write: bool = True) -> Sources:
    """Build the objective and the batches of a run.

    Args:
        config: the run.
        texts: its documents.
        tokenizer: converts them to ids.
        folder: where token files go.
        write: whether to write them; else they are there.

    Raises:
        ValueError: a corpus too small for the context, the batch or the objective.
    """
    files = [
        documents.write(tokenizer, folder / name) if write else TokenFile(folder / name)
        for name, documents in ((TRAIN, texts.train), (VALID, texts.valid))
    ]
    train, valid = (_source(config, file, tokenizer) for file in files)
    if config.objective == "causal_lm" and files[0].predicted_tokens < config.context:
        raise ValueError(
            f"the corpus {config.corpus} is shorter than the context: it has {len(files[0].tokens)} tokens for "
            f"training, one row needs {config.context}. Use a shorter context or more text"
        )
    estimated = any(isinstance(each, TokenDocuments) and each.is_part for each in (texts.train, texts.valid))
    return _with(config, train, valid, *files, estimated=estimated)


def text_sources(config: RunConfig, path: Path, tokenizer: Tokenizer, folder: Path) -> Sources:
    """Batches of a text to evaluate a trained model on, divided into documents as the run's own text was.

    Args:
        config: the run.
        path: a text file, a folder of text files, or a token file.
        tokenizer: the run's.
        folder: where the token file goes.

    Raises:
        FileNotFoundError, ValueError: no such text, or none that fits.
    """
    file = own_documents(config, path).write(tokenizer, folder / TEXT)
    source = _source(config, file, tokenizer)
    return _with(config.replace(validation_batches=None), source, source, file, file)


def _with(
    config: RunConfig,
    train: Source,
    valid: Source,
    train_file: TokenFile,
    valid_file: TokenFile,
    *,
    estimated: bool = False,
) -> Sources:
    batches = valid.in_order()
    step = -(-len(batches) // min(config.validation_batches or len(batches), len(batches)))
    return Sources(
        make_objective(config),
        train,
        batches[::step],
        TokenCounts.of(train_file, estimated=estimated),
        TokenCounts.of(valid_file, estimated=estimated),
        len(batches),
        (train.paired, valid.paired) if isinstance(train, PairSource) and isinstance(valid, PairSource) else None,
    )


def make_objective(config: RunConfig) -> Objective | Joint:
    """The objective that a run's configuration names."""
    if config.objective == "causal_lm":
        return CausalLM(label_smoothing=config.label_smoothing, sliced=True)
    predict = MaskedLM(label_smoothing=config.label_smoothing)
    if config.objective == "masked_lm":
        return predict
    return Joint([predict, NextSentence() if config.objective == "masked_lm+next_sentence" else SentenceOrder()])


def causal_source(config: RunConfig, file: TokenFile, tokenizer: Tokenizer) -> DocumentBatches:
    """Rows of the documents of a token file, for a causal model."""
    return DocumentBatches(
        file, row_length=config.context, batch_size=config.batch_size, pad_id=tokenizer.pad_id, seed=config.seed
    )


def _source(config: RunConfig, file: TokenFile, tokenizer: Tokenizer) -> Source:
    if config.objective == "causal_lm":
        return causal_source(config, file, tokenizer)
    masker = Masker(
        vocab_size=tokenizer.vocab_size,
        mask_token_id=tokenizer.mask_id,
        special_ids=sorted(tokenizer.special_ids),
        config=config.masking,
        seed=config.seed,
    )
    if config.objective == "masked_lm":
        rows = SentenceRows(file, config.context - 2)
        return MaskedBatches(
            rows,
            tokenizer=tokenizer,
            masker=masker,
            max_length=config.context,
            batch_size=config.batch_size,
            seed=config.seed,
            word_starts=None if config.masking.unit == "token" else RowWordStarts(rows, tokenizer),
        )
    try:
        pairs = SentencePairs(
            SentenceDocuments(file),
            max_tokens=config.context - 3,
            task="next_sentence" if config.objective == "masked_lm+next_sentence" else "sentence_order",
            seed=config.seed,
        )
    except ValueError as error:
        where = config.corpus if file.path.name != TEXT else "the text"
        part = {TRAIN: "training", VALID: "validation"}.get(file.path.name, "this")
        raise ValueError(
            f"{where}: {error}. The {part} part has {len(file)} document(s) (documents: {config.documents}). Write one "
            "sentence a line with a blank line between documents (plm_core.data.documents.sentences cuts paragraphs), "
            "give more documents or a validation file, or use the objective masked_lm"
        ) from error
    lengths = [[len(sentence) for sentence in document] for document in pairs.documents]
    paired = sum(sum(lengths[number][start:end]) for number, start, end in pairs.runs) / sum(map(sum, lengths))
    if paired < LEAST_PAIRED:
        lonely = sum(len(document) == 1 for document in lengths)
        raise ValueError(
            f"{config.corpus}: only {paired:.0%} of the tokens make pairs of segments; {lonely} of {len(lengths)} "
            f"documents have a single line. The objective {config.objective} needs one sentence a line "
            "(plm_core.data.documents.sentences cuts paragraphs) and room for two sentences in the context of "
            f"{config.context} tokens; or use the objective masked_lm"
        )
    return PairSource(pairs, paired, tokenizer=tokenizer, masker=masker, batch_size=config.batch_size, seed=config.seed)
