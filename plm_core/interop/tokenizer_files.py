"""Tokenizers in Hugging Face's folders: read in every layout that BERT and GPT-2 have had, written so that they frame
texts as the model was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from plm_core.data.special_tokens import (
    USUAL_SPELLINGS,
    TokenizerSettings,
    parse_tokenizer,
    read_settings,
    usual_special_tokens,
)
from plm_core.data.tokenize import frame
from plm_core.data.tokenizers import Tokenizer
from plm_core.files import read_json_object, read_text

ENCODER_FRAME = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
"""What an encoder reads for one text and for two."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder: ``tokenizer.json``, or the vocabulary files of older versions.

    Raises:
        FileNotFoundError: no tokenizer that can be read here.
        ValueError: a damaged one.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.load(folder)
        if tokenizer.is_ours:  # an export for a causal model has another frame
            tokenizer.backend.post_processor = _frame(*ENCODER_FRAME, tokenizer.backend)
        return tokenizer
    if (folder / "vocab.txt").is_file():
        backend = _bert_backend(folder)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        backend = _gpt2_backend(folder)
    else:
        raise FileNotFoundError(
            f"{folder} holds no tokenizer that can be read here: expected tokenizer.json, vocab.txt (BERT), or "
            "vocab.json and merges.txt (GPT-2)"
        )
    return Tokenizer(backend, read_settings(folder, backend))


def _bert_backend(folder: Path) -> tokenizers.Tokenizer:
    """WordPiece from ``vocab.txt``, one piece a line, normalised as ``tokenizer_config.json`` says."""
    pieces = read_text(folder / "vocab.txt", "vocabulary").split("\n")
    vocabulary = {piece.removesuffix("\r"): number for number, piece in enumerate(pieces) if piece.strip()}
    config_file = folder / "tokenizer_config.json"
    config = read_json_object(config_file) if config_file.is_file() else {}
    for token in ("[UNK]", "[CLS]", "[SEP]"):
        if token not in vocabulary:
            raise ValueError(f"{folder / 'vocab.txt'} lacks {token}: it is not the vocabulary of a BERT")
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    lowercase, strip = config.get("do_lower_case", True), config.get("strip_accents")
    chinese = config.get("tokenize_chinese_chars", True)
    if not all(isinstance(each, bool) for each in (lowercase, chinese)) or not isinstance(strip, bool | None):
        raise ValueError(
            f"{config_file}: do_lower_case, strip_accents and tokenize_chinese_chars should be true or false"
        )
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lowercase
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    backend.add_special_tokens([t for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if t in vocabulary])
    backend.post_processor = _frame(*ENCODER_FRAME, backend)
    return backend


def _gpt2_backend(folder: Path) -> tokenizers.Tokenizer:
    """Byte-level BPE from ``vocab.json`` and ``merges.txt``."""
    vocabulary = read_json_object(folder / "vocab.json", "vocabulary")
    lines = read_text(folder / "merges.txt", "list of merges").splitlines()
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if not all(isinstance(number, int) for number in vocabulary.values()) or any(len(pair) != 2 for pair in merges):
        raise ValueError(f"{folder}: vocab.json should give every token a number, merges.txt two tokens a line")
    try:
        backend = tokenizers.Tokenizer(models.BPE(vocabulary, merges))  # type: ignore[arg-type]
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{folder}: vocab.json and merges.txt do not fit together: {error}") from error
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if "<|endoftext|>" in vocabulary:
        backend.add_special_tokens(["<|endoftext|>"])
    return backend


def as_tokenizer(
    tokenizer: Tokenizer | tokenizers.Tokenizer | str | Path, special_tokens: Mapping[str, str] | None = None
) -> Tokenizer:
    """A tokenizer of any origin as one of this library.

    Args:
        tokenizer: one of ours, one of the ``tokenizers`` library, or the path of a JSON file of the latter.
        special_tokens: role -> token, for one that is not ours; by default the usual spellings.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: an unknown role, or a token that is not in the vocabulary.
    """
    if isinstance(tokenizer, str | Path):
        tokenizer = parse_tokenizer(read_text(Path(tokenizer), "tokenizer file"), tokenizer)
    backend = tokenizer.backend if isinstance(tokenizer, Tokenizer) else tokenizer
    for role, token in (special_tokens or {}).items():
        if role not in USUAL_SPELLINGS:
            raise ValueError(f"unknown role {role!r} of a special token: use {', '.join(USUAL_SPELLINGS)}")
        if backend.token_to_id(token) is None:
            raise ValueError(f"{role} {token!r} is not in the tokenizer's vocabulary")
    if isinstance(tokenizer, Tokenizer) and special_tokens is None:
        return tokenizer
    copied = parse_tokenizer(backend.to_str(), "the tokenizer")
    return Tokenizer(copied, TokenizerSettings(special_tokens or usual_special_tokens(copied)))


def write_tokenizer(
    tokenizer: Tokenizer,
    folder: Path,
    *,
    is_causal: bool,
    has_types: bool,
    max_length: int | None,
    trained_here: bool = False,
) -> None:
    """Write ``tokenizer.json`` and its settings, so that Hugging Face frames texts as the model was trained.

    A causal model of ours has read ``[BOS] text``, an encoder ``[CLS] text [SEP]`` with token types. "[MASK]" in a text
    is the mask token for an encoder, as fill-mask pipelines need it, and plain text for a causal model. A tokenizer of
    another origin keeps its own frame, unless a causal model was trained here with it.

    Args:
        tokenizer: any tokenizer.
        folder: where to write.
        is_causal: whether the model is a Gpt.
        has_types: whether the model takes token types.
        max_length: the longest sequence of the model, in tokens; None for no limit.
        trained_here: whether the model read documents of :func:`~plm_core.data.tokenize.frame`.
    """
    tokenizer.save(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    if tokenizer.is_ours or (is_causal and trained_here):
        backend = parse_tokenizer(tokenizer.backend.to_str(), "the tokenizer")
        if is_causal:
            first = backend.id_to_token(frame(tokenizer)[0][0])
            backend.post_processor = _frame(f"{first} $A", f"{first} $A $B", backend)
        else:
            backend.post_processor = _frame(*ENCODER_FRAME, backend)
        backend.save(str(folder / "tokenizer.json"))
    if tokenizer.is_ours:
        settings["split_special_tokens"] = is_causal
    settings["model_input_names"] = ["input_ids", *(["token_type_ids"] if has_types else []), "attention_mask"]
    settings["clean_up_tokenization_spaces"] = False
    if max_length is not None:
        settings["model_max_length"] = max_length
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _frame(single: str, pair: str, backend: tokenizers.Tokenizer) -> processors.TemplateProcessing:
    used = sorted({token for token in single.split() + pair.split() if not token.startswith(("$", "[SEP]:"))})
    tokens = [(token, backend.token_to_id(token)) for token in used]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=tokens)
