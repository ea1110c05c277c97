"""From text to a token file, as a stream: memory holds a few megabytes of the text, whatever its size.

Training, validation, ``plm evaluate --text`` and ``plm data tokenize`` all come through :func:`write_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from plm_core.data.documents import DEFAULT_RULE, END_BYTES, DocumentRule, Part, document_parts
from plm_core.data.texts import read_blocks
from plm_core.data.token_files import TokenFile, TokenFileWriter
from plm_core.data.tokenizers import Tokenizer
from plm_core.data.words import white_space_tokens

BATCH_CHARACTERS = 2**20
"""Text that is encoded in one call, on all cores."""
TOKENIZER_CHARACTERS = 2**24
"""How much text a tokenizer is trained on, spread evenly over a larger corpus: more changes the vocabulary little, and
takes memory for every different word."""


def frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The tokens before and after every document that a causal model reads: ``[BOS] text [EOS]``.

    A prompt begins with the first of them, so that generation begins as training did. A tokenizer without these tokens
    (BERT's) lends ``[CLS]`` and ``[SEP]``.
    """
    has = tokenizer.settings.special_tokens
    first = "bos_token" if "bos_token" in has else "cls_token"
    last = "eos_token" if "eos_token" in has else "sep_token"
    return [tokenizer.token_id(first)], [tokenizer.token_id(last)]


def unknown_id(tokenizer: Tokenizer) -> int:
    """The id of [UNK], or -1 for a tokenizer without."""
    return tokenizer.unk_id if "unk_token" in tokenizer.settings.special_tokens else -1


def unknown_share(tokenizer: Tokenizer, text: str) -> float:
    """The share of [UNK] among the tokens of a text, such as a prompt; 0 for an empty one."""
    ids = tokenizer.encode(text)
    return ids.count(unknown_id(tokenizer)) / max(1, len(ids))


def _unknown_bytes(tokenizer: Tokenizer, text: str, unknown: int) -> int:
    """The UTF-8 bytes of a text that its [UNK] stand for."""
    encoding = tokenizer.encoding(text)
    places = zip(encoding.ids, encoding.offsets, strict=True)
    return sum(len(text[start:end].encode()) for token, (start, end) in places if token == unknown)


def write_text(
    parts: Iterable[Part],
    tokenizer: Tokenizer,
    output: str | Path,
    *,
    rule: DocumentRule = DEFAULT_RULE,
    max_length: int | None = None,
    overwrite: bool = False,
    save_tokenizer: bool = False,
    progress: bool = False,
) -> TokenFile:
    """Write documents to a token file, each as ``[BOS] text [EOS]``, with the places of its lines.

    Args:
        parts: the documents (:func:`~plm_core.data.documents.document_parts`).
        tokenizer: what makes the ids.
        output: the token file to make.
        rule: how the text was divided; decides how many bytes the end of a document counts.
        max_length: the longest document allowed, in tokens with the framing ones; None for any length.
        overwrite: replace a token file that is there.
        save_tokenizer: save the tokenizer with the ids.
        progress: show a bar.

    Raises:
        ValueError: a document is longer than ``max_length``.
    """
    first, last = frame(tokenizer)
    unknown, spaces = unknown_id(tokenizer), white_space_tokens(tokenizer)
    with (
        TokenFileWriter(
            output, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint, overwrite=overwrite
        ) as writer,
        tqdm(desc="tokens", unit=" tokens", unit_scale=True, disable=not progress) as bar,
    ):
        line: tuple[int, int] | None = None
        document_start = 0
        in_document = False
        for group in _by_size(parts):
            ids: list[int] = []
            place = writer.num_tokens
            for part, own in zip(group, tokenizer.encode_all([part.text for part in group]), strict=True):
                if not in_document:
                    document_start, in_document = place + len(ids), True
                    ids += first
                start = place + len(ids)
                ids += own
                end = place + len(ids)
                if unknown in own:
                    writer.unknown += own.count(unknown)
                    writer.unknown_bytes += _unknown_bytes(tokenizer, part.text, unknown)
                writer.text_bytes += len(part.text.encode())
                writer.characters += len(part.text)
                if part.begins_line:
                    if line is not None:
                        writer.add_line(*line)
                    leading = 0
                    while leading < len(own) and spaces[own[leading]]:
                        leading += 1
                    line = (start + leading, end)
                elif line is not None and not part.text.isspace() and own:
                    line = (line[0], end)
                if part.ends_document:
                    if line is not None:
                        writer.add_line(*line)
                    line, in_document = None, False
                    ids += last
                    if max_length is not None and place + len(ids) - document_start > max_length:
                        raise ValueError(
                            f"document {writer.num_documents + 1} has {place + len(ids) - document_start} tokens, the "
                            f"limit is {max_length}: split the text, or raise the limit; training cuts documents that "
                            "are longer than its context by itself"
                        )
                    writer.text_bytes += END_BYTES[rule]
                    writer.characters += END_BYTES[rule]
                    writer.write(ids)
                    place, ids = place + len(ids), []
                    writer.end_document()
            writer.write(ids)
            bar.update(writer.num_tokens - bar.n)
        if save_tokenizer:
            writer.save_tokenizer(tokenizer)
    return TokenFile(output)


def tokenize_files(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    output: str | Path,
    *,
    documents: DocumentRule = DEFAULT_RULE,
    max_length: int | None = None,
    overwrite: bool = False,
    save_tokenizer: bool = False,
    progress: bool = False,
) -> TokenFile:
    """Turn text files into a token file.

    Args:
        paths: UTF-8 files, also ``.gz``, or ``.zip`` with one file inside.
        documents: what a document is.
        tokenizer, output, max_length, overwrite, save_tokenizer, progress: as for :func:`write_text`.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read (see :func:`plm_core.data.texts.read_blocks`), holds
            nothing but white space, or a document longer than ``max_length``.
    """
    if not paths:
        raise ValueError("no text files given: name at least one")
    return write_text(
        document_parts(map(read_text_blocks, paths), documents),
        tokenizer,
        output,
        rule=documents,
        max_length=max_length,
        overwrite=overwrite,
        save_tokenizer=save_tokenizer,
        progress=progress,
    )


def read_text_blocks(path: Path) -> Iterator[str]:
    """The blocks of a text file, as :func:`~plm_core.data.texts.read_blocks` gives them.

    Raises:
        ValueError: also where the file holds nothing but white space.
    """
    empty = True
    for block in read_blocks(path):
        empty = empty and (not block or block.isspace())
        yield block
    if empty:
        raise ValueError(f"{path} holds no text, only white space")


def _by_size(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Group parts into lists of about :data:`BATCH_CHARACTERS`."""
    group: list[Part] = []
    size = 0
    for part in parts:
        group.append(part)
        size += len(part.text)
        if size >= BATCH_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def sample(texts: Iterable[str], *, characters: int, total: int) -> Iterator[str]:
    """A part of a long series of texts, spread evenly over it; all of a short one.

    Args:
        texts: the series.
        characters: how much to take, about.
        total: how much there is, about.
    """
    share = min(1.0, characters / max(1, total))
    due = taken = 0.0
    for text in texts:
        due += share * len(text)
        if taken < due:
            taken += len(text)
            yield text
