"""Translation runs: train an encoder-decoder on pairs of texts from a configuration, open it, and translate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from plm_core.config import Config
from plm_core.data.batch import padding_mask
from plm_core.data.datasets import multi30k
from plm_core.data.examples import Translation
from plm_core.data.sequence_pairs import ParallelTexts, SequencePairBatches
from plm_core.data.tokenizer_training import train_tokenizer_of_kind
from plm_core.data.tokenizers import Tokenizer, pad
from plm_core.files import read_text, read_yaml
from plm_core.generation.beam import Beam, translate
from plm_core.models.seq2seq import Seq2Seq, Seq2SeqConfig
from plm_core.objectives.seq2seq import Seq2SeqLM
from plm_core.ownership import sha256
from plm_core.runs.config import TOKENIZER_KINDS, apply_override
from plm_core.runs.corpus import ready_tokenizer
from plm_core.runs.folder import check_new_run, check_run_files, only_user, tokenizer_files, write_run_files
from plm_core.runs.open import trained_weights
from plm_core.runtime import resolve_device, setup
from plm_core.storyworld import EOS, StoryWorld
from plm_core.storyworld.pairs import parallel
from plm_core.training.arithmetic import choose_arithmetic
from plm_core.training.checkpoints.directory import LAST, complete
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.progress import Progress
from plm_core.training.trainer import Trainer
from plm_core.weights import load_weights

TRANSLATION_FILE = "translation.yaml"
"""The configuration in the folder of a translation run."""
MULTI30K_CORPUS = "multi30k"
STORY_CORPORA = ("storyworld-small", "storyworld-full")
STORIES, VALIDATION_STORIES = 500, 50
TOGETHER = 32
"""How many texts are translated together."""


@dataclass(frozen=True)
class TranslationConfig(Config):
    """A translation run."""

    corpus: str
    """multi30k (English to German), storyworld-small or storyworld-full (English to Chinese, sentence by sentence), or
    the path of a text file with a pair in each line, source and target with a tabulator between them."""
    output: Path
    """The folder for checkpoints, tokenizer and logs."""
    objective: Literal["seq2seq"] = "seq2seq"
    """What makes a configuration file one of a translation run."""
    reverse: bool = False
    """Whether to translate from the second language to the first."""
    validation: Path | None = None
    """A file of pairs to validate on; if null, the corpus's own validation part, or else the last tenth of a file."""
    max_pairs: int | None = None
    """How many pairs to train on at most; for StoryWorld, how many stories to take them from (500 if null)."""
    tokenizer: str = "bpe"
    """characters, words, bpe or wordpiece, trained on both languages together, or the path of a ready one."""
    vocab_size: int = 8000
    """Upper limit of the vocabulary, special tokens included."""
    max_length: int = 128
    """The longest source and target in tokens; longer pairs are left out of training, and refused in validation."""
    batch_size: int = 64
    """Pairs of a batch."""
    seed: int = 0
    """Seed of weights and order."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of Seq2SeqConfig other than vocab_size."""
    label_smoothing: float = 0.1
    """Share of a target's probability that training spreads over the vocabulary; evaluation does not."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Steps, learning rate, evaluation and checkpoints."""

    def validate(self) -> None:
        """Check sizes, and the model's shape by building its configuration."""
        self.require_positive("vocab_size", "max_length", "batch_size")
        self.require_not_negative("seed")
        self.require_at_most(vocab_size=2**20, max_length=2**20, batch_size=2**20)
        self.require_probability("label_smoothing")
        if self.max_pairs is not None:
            self.require_positive("max_pairs")
        if "vocab_size" in self.model:
            raise ValueError("TranslationConfig.model: vocab_size follows from the tokenizer; set the run's instead")
        self.model_config(vocab_size=1)

    def model_config(self, vocab_size: int) -> Seq2SeqConfig:
        """The model's shape for a vocabulary."""
        return Seq2SeqConfig.from_dict(
            {"vocab_size": vocab_size, "max_position_embeddings": self.max_length, **self.model}
        )


def read_translation_config(path: Path, overrides: Sequence[str] = ()) -> TranslationConfig | None:
    """Read the configuration of a translation run; None if the file's objective is not ``seq2seq``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a key that does not exist, or a value that does not fit.
    """
    values = read_yaml(path)
    if not isinstance(values, dict) or values.get("objective") != "seq2seq":
        return None
    for override in overrides:
        apply_override(values, override)
    try:
        return TranslationConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def load_pairs(config: TranslationConfig) -> tuple[list[Translation], list[Translation]]:
    """The pairs of texts to train on and those to validate on.

    Raises:
        FileNotFoundError: neither a known corpus nor a file.
        ValueError: a file without pairs, or too few to hold some out.
    """
    own = None if config.validation is None else read_pairs(config.validation)
    if config.corpus == MULTI30K_CORPUS:
        train, valid = multi30k("train"), own or multi30k("validation")
    elif config.corpus in STORY_CORPORA:
        train = story_pairs(config.corpus, config.max_pairs or STORIES, "train", config.seed)
        valid = own or story_pairs(config.corpus, VALIDATION_STORIES, "valid", 0)
    else:
        train = read_pairs(Path(config.corpus))
        held_out = max(1, len(train) // 10)
        if own is None and len(train) < 2:
            raise ValueError(f"{config.corpus} has one pair: give more, or a file of pairs to validate on")
        train, valid = (train, own) if own is not None else (train[:-held_out], train[-held_out:])
    if config.max_pairs is not None and config.corpus not in STORY_CORPORA:
        train = train[: config.max_pairs]
    if config.reverse:
        train, valid = ([Translation(each.target, each.source) for each in pairs] for pairs in (train, valid))
    return train, valid


def read_pairs(path: Path) -> list[Translation]:
    """The pairs in a text file: source, tabulator, target in each line that is not empty.

    Raises:
        FileNotFoundError: there is no such file; the known corpora are named.
        ValueError: a line without exactly one tabulator, or no pair.
    """
    if not path.is_file():
        known = ", ".join((MULTI30K_CORPUS, *STORY_CORPORA))
        raise FileNotFoundError(f"no corpus and no file {str(path)!r}: expected a file of pairs or one of {known}")
    pairs = []
    for number, line in enumerate(read_text(path, "file of pairs").split("\n"), start=1):
        if not line.strip():
            continue
        parts = line.rstrip("\r").split("\t")
        if len(parts) != 2:
            raise ValueError(f"{path}, line {number}: expected source, one tabulator, target; got {len(parts)} parts")
        pairs.append(Translation(parts[0].strip(), parts[1].strip()))
    if not pairs:
        raise ValueError(f"{path} holds no pair of texts")
    return pairs


def story_pairs(corpus: str, stories: int, split: str, seed: int) -> list[Translation]:
    """The sentences of StoryWorld's stories in English and in Chinese."""
    size = corpus.removeprefix("storyworld-")
    told = parallel(StoryWorld(size, "en"), StoryWorld(size, "zh"), stories, seed=seed, split=split)
    return [
        Translation(*(" ".join(word for word in sentence.words if word != EOS) for sentence in both))
        for english, chinese in told
        for both in zip(english.sentences, chinese.sentences, strict=True)
    ]


def encode_pairs(pairs: Sequence[Translation], tokenizer: Tokenizer) -> ParallelTexts:
    """Pairs of texts as token ids."""
    sides = ([pair.source for pair in pairs], [pair.target for pair in pairs])
    return ParallelTexts(*(tokenizer.encode_all(side) for side in sides))


def train_translation(config: TranslationConfig, *, resume: bool = False, quiet: bool = False) -> Progress:
    """Train a translation run, into its output folder.

    Args:
        config: the run.
        resume: continue from the newest complete checkpoint in the output folder.
        quiet: show no progress bar.

    Returns:
        Where the run ended.

    Raises:
        FileExistsError: the folder holds a run, and ``resume`` is not set.
        FileNotFoundError: nothing to resume from, or no such corpus.
        ValueError: a corpus or a configuration that does not fit.
        Interrupted: Ctrl-C or SIGTERM, after the state was saved.
    """
    output = config.output
    if resume:
        if TRANSLATION_FILE not in check_run_files(output):
            raise FileNotFoundError(f"{output} holds no translation run to resume")
        if sha256((output / TRANSLATION_FILE).read_bytes()) != sha256(config.to_yaml().encode()):
            raise ValueError(
                f"the configuration is not the one in {output / TRANSLATION_FILE}: resume with that one, or choose "
                "another folder (output=...)"
            )
    else:
        check_new_run(output)
    arithmetic = choose_arithmetic(config.precision, resolve_device(), width=config.model_config(2).hidden_size)
    runtime = setup(seed=config.seed, precision=arithmetic.precision)
    train, valid = load_pairs(config)
    with only_user(output):
        tokenizer = Tokenizer.load(output) if resume else make_tokenizer(config, train)
        training = encode_pairs(train, tokenizer).within(config.max_length - 1)
        validation = encode_pairs(valid, tokenizer)
        if not resume:
            write_run_files(output, {TRANSLATION_FILE: config.to_yaml().encode(), **tokenizer_files(tokenizer)})
        torch.manual_seed(config.seed)
        trainer = Trainer(
            Seq2Seq(config.model_config(tokenizer.vocab_size)).to(runtime.device),
            Seq2SeqLM(label_smoothing=config.label_smoothing),
            make_batches(config, training, tokenizer),
            config.train,
            valid_batches=make_batches(config, validation, tokenizer).in_order(),
            folder=output,
            hardware=Hardware(runtime.device, runtime.precision),
            quiet=quiet,
        )
        if resume and complete(output, LAST):
            trainer.resume()
        return trainer.fit()


def make_tokenizer(config: TranslationConfig, pairs: Sequence[Translation]) -> Tokenizer:
    """One tokenizer for both languages, trained on the training pairs and on nothing else, unless it is given."""
    if config.tokenizer not in TOKENIZER_KINDS:
        return ready_tokenizer(config.tokenizer)
    texts = [text for pair in pairs for text in (pair.source, pair.target)]
    return train_tokenizer_of_kind(config.tokenizer, texts, config.vocab_size)


def make_batches(config: TranslationConfig, texts: ParallelTexts, tokenizer: Tokenizer) -> SequencePairBatches:
    """The batches of a run's pairs."""
    return SequencePairBatches(
        texts,
        start_id=tokenizer.bos_id,
        end_id=tokenizer.eos_id,
        pad_id=tokenizer.pad_id,
        batch_size=config.batch_size,
        seed=config.seed,
        max_length=config.max_length,
    )


@dataclass(frozen=True)
class Translator:
    """A trained translation run."""

    config: TranslationConfig
    """The configuration that it was trained with."""
    tokenizer: Tokenizer
    model: Seq2Seq
    """The model with its best weights, in evaluation mode, on the CPU."""

    @classmethod
    def open(cls, folder: Path) -> Translator:
        """Open the output folder of ``plm train`` with the objective ``seq2seq``, finished or interrupted.

        Raises:
            FileNotFoundError: the folder is not the output of such a run, or holds no checkpoint yet.
            ValueError: a part of it was changed or damaged since it was written.
        """
        if TRANSLATION_FILE not in check_run_files(folder):
            raise FileNotFoundError(
                f"{folder} is not the output of a translation run: train one (objective: seq2seq), or use the command "
                "that fits it"
            )
        config = TranslationConfig.load(folder / TRANSLATION_FILE)
        tokenizer = Tokenizer.load(folder)
        model = Seq2Seq(config.model_config(tokenizer.vocab_size))
        load_weights(model, trained_weights(folder))
        return cls(config, tokenizer, model.eval())

    def translate(self, texts: Sequence[str], *, beam: Beam | None = None) -> list[str]:
        """Translate texts, one output for each.

        Args:
            texts: one or more sources; empty ones stay empty.
            beam: how to search; by default width 4 and outputs of at most the model's length.

        Raises:
            ValueError: a source longer than the model takes, or settings that do not fit it.
        """
        beam = Beam(max_new_tokens=self.config.max_length) if beam is None else beam
        sources = [[*ids, self.tokenizer.eos_id] for ids in self.tokenizer.encode_all(list(texts))]
        for text, ids in zip(texts, sources, strict=True):
            if len(ids) > self.config.max_length:
                raise ValueError(
                    f"the text {text[:60]!r} has {len(ids)} tokens, the model takes {self.config.max_length}: "
                    "divide it into sentences"
                )
        outputs = [""] * len(texts)
        order = sorted((number for number, text in enumerate(texts) if text.strip()), key=lambda n: len(sources[n]))
        for start in range(0, len(order), TOGETHER):
            numbers = order[start : start + TOGETHER]
            rows = [sources[number] for number in numbers]
            found = translate(
                self.model,
                pad(rows, self.tokenizer.pad_id),
                attention_mask=padding_mask([len(row) for row in rows]),
                start_token_id=self.tokenizer.bos_id,
                stop_token_id=self.tokenizer.eos_id,
                beam=beam,
            )
            for number, best in zip(numbers, found, strict=True):
                outputs[number] = self.tokenizer.decode(best[0].tokens, skip_special_tokens=True).strip()
        return outputs
