"""Checks of the exercises on text: units, batches, windows and packed rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_tensor
from plm_core.data.bpe import join_pair
from plm_core.data.wordpiece import longest_match

Pair = tuple[str, str]


def _expect_list(value: Any, expected: Sequence[Any], *, what: str, mistakes: Mapping[str, Sequence[Any]]) -> None:
    """Compare a list item by item; pairs may be written as lists or tuples."""
    if not isinstance(value, list | tuple):
        raise CheckFailed(f"{what} should be a list, but it is {value!r}")
    found = [tuple(item) if isinstance(item, list) else item for item in value]
    if found == list(expected):
        return
    for mistake, wrong in mistakes.items():
        if found == list(wrong):
            raise CheckFailed(mistake)
    if len(found) != len(expected):
        raise CheckFailed(f"{what} has {len(found)} items, expected {len(expected)}: {found!r}")
    place = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
    raise CheckFailed(f"{what}: item {place} is {found[place]!r}, expected {expected[place]!r}")


# --- 1: pairs by pencil ---------------------------------------------------------------------------------------------

pencil = Check("Byte-pair encoding by pencil")


@pencil.stage("the merges")
def _(merges: Any, pieces: Any, draw: Draw) -> None:
    right = [("o", "n"), ("o", "on"), ("m", "oon"), ("n", "oon")]
    by_types = [("o", "n"), ("o", "on"), ("m", "oon"), ("moon", "s")]
    other_tie = [("o", "o"), ("oo", "n"), ("m", "oon"), ("n", "oon")]
    mistakes = {
        "each word was counted once: weigh every pair by how often its word occurs.": by_types,
        "o + o and o + n are equally frequent: the alphabetically first pair is joined.": other_tie,
    }
    _expect_list(merges, right, what="merges", mistakes=mistakes)


@pencil.stage("a new word")
def _(merges: Any, pieces: Any, draw: Draw) -> None:
    mistakes = {
        "o + on is one of the merges: apply all four, in their order.": ["s", "p", "o", "on", "s"],
        "no merge makes s + p: letters without a merge stay alone.": ["sp", "oon", "s"],
    }
    _expect_list(pieces, ["s", "p", "oon", "s"], what="pieces", mistakes=mistakes)


# --- 2: a batch -----------------------------------------------------------------------------------------------------

batch = Check("A batch and its mask")

BatchFunction = Callable[[list[list[int]], int], tuple[Any, Any]]


def _sequences(draw: Draw) -> list[list[int]]:
    return [[draw.integer(1, 99) for _ in range(length)] for length in draw.sizes(3, 1, 8)]


def _batch_of(pad_batch: BatchFunction, sequences: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    answer = pad_batch(sequences, pad_id)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise CheckFailed(f"pad_batch should return two tensors, ids and mask, but it returned {type(answer).__name__}")
    shape = (len(sequences), max(map(len, sequences)))
    return expect_tensor(answer[0], shape, what="ids"), expect_tensor(answer[1], shape, what="mask")


@batch.stage("shapes and types")
def _(pad_batch: BatchFunction, draw: Draw) -> None:
    ids, mask = _batch_of(pad_batch, _sequences(draw), 0)
    if ids.dtype != torch.int64:
        raise CheckFailed(f"ids have type {ids.dtype}: an embedding looks rows up by int64")
    if mask.dtype != torch.bool:
        raise CheckFailed(f"the mask has type {mask.dtype}: masks are bool, True = real")


@batch.stage("the ids")
def _(pad_batch: BatchFunction, draw: Draw) -> None:
    sequences, pad_id = _sequences(draw), draw.integer(100, 200)
    length = max(map(len, sequences))
    rows = [sequence + [pad_id] * (length - len(sequence)) for sequence in sequences]
    zeros = [sequence + [0] * (length - len(sequence)) for sequence in sequences]
    left = [[pad_id] * (length - len(sequence)) + sequence for sequence in sequences]
    mistakes = {
        "the rows are filled with 0, not with pad_id.": torch.tensor(zeros),
        "the padding stands on the left; here it stands on the right.": torch.tensor(left),
    }
    expect_close(_batch_of(pad_batch, sequences, pad_id)[0], torch.tensor(rows), what="ids", mistakes=mistakes)


@batch.stage("a mask of lengths")
def _(pad_batch: BatchFunction, draw: Draw) -> None:
    sequences = _sequences(draw)
    pad_id = sequences[0][0]  # a real token may have this id: the mask must not be read off the ids
    mask = _batch_of(pad_batch, sequences, pad_id)[1]
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    right = torch.arange(int(lengths.max())) < lengths[:, None]
    mistakes = {"the mask is inverted: True means *real*.": (~right).int()}
    message = "A real token may have the id of padding: make the mask from the lengths, not from ids != pad_id."
    expect_close(mask.int(), right.int(), what="mask", message=message, mistakes=mistakes)


# --- 3: predict the lengths -----------------------------------------------------------------------------------------

lengths = Check("Bytes: predict, then run")


def _expect_counts(counts: Any, words: Sequence[str], names: slice, hint: str) -> None:
    if not isinstance(counts, list | tuple) or len(counts) != 5:
        raise CheckFailed("tokens should be a list of five numbers")
    right = [len(word.encode()) for word in words][names]
    for word, found, expected in zip(words[names], list(counts)[names], right, strict=True):
        if found is ... or found != expected:
            raise CheckFailed(f"{word!r} has not {found!r} tokens. {hint}")


LENGTH_WORDS = ("cat", "café", "猫", "小猫", "🙂")


@lengths.stage("letters")
def _(tokens: Any, draw: Draw) -> None:
    _expect_counts(tokens, LENGTH_WORDS, slice(0, 1), "Without merges every byte is a token; a letter of ASCII is one.")


@lengths.stage("accents and Chinese")
def _(tokens: Any, draw: Draw) -> None:
    hint = "In UTF-8 a letter with an accent takes two bytes, a Chinese character three."
    _expect_counts(tokens, LENGTH_WORDS, slice(1, 4), hint)


@lengths.stage("an emoji")
def _(tokens: Any, draw: Draw) -> None:
    _expect_counts(tokens, LENGTH_WORDS, slice(4, 5), "Characters beyond U+FFFF take four bytes.")


# --- 4: longest match -----------------------------------------------------------------------------------------------

matching = Check("WordPiece: the longest match")

MatchFunction = Callable[[str, set[str]], Any]


@matching.stage("one piece")
def _(match: MatchFunction, draw: Draw) -> None:
    vocabulary = {"a", "ab", "abc", "##c"}
    mistakes = {
        "it took the shortest piece: begin with the whole word and make it shorter.": ["a", "[UNK]"],
        "it stopped at a shorter piece than it could have.": ["ab", "##c"],
    }
    _expect_list(match("abc", vocabulary), ["abc"], what="match('abc')", mistakes=mistakes)


@matching.stage("pieces inside a word")
def _(match: MatchFunction, draw: Draw) -> None:
    vocabulary = {"play", "ing", "##ing", "##s", "s"}
    mistakes = {"inside a word a piece begins with ##: 'ing' and '##ing' are two pieces.": ["play", "ing"]}
    _expect_list(match("playing", vocabulary), ["play", "##ing"], what="match('playing')", mistakes=mistakes)
    mistakes = {"'##ing' stands inside a word only; at its start the piece is 'ing'.": ["##ing", "##s"]}
    _expect_list(match("ings", vocabulary), ["ing", "##s"], what="match('ings')", mistakes=mistakes)


@matching.stage("words that cannot be cut")
def _(match: MatchFunction, draw: Draw) -> None:
    mistakes = {
        "the whole word is unknown, not only the rest of it: return ['[UNK]'] alone.": ["play", "[UNK]"],
        "a word with an unknown part has no pieces at all: return ['[UNK]'].": ["play"],
    }
    _expect_list(match("playx", {"play"}), ["[UNK]"], what="match('playx')", mistakes=mistakes)


@matching.stage("random words")
def _(match: MatchFunction, draw: Draw) -> None:
    def word(low: int, high: int) -> str:
        return "".join("abc"[draw.integer(0, 2)] for _ in range(draw.integer(low, high)))

    for _ in range(40):
        vocabulary = {prefix + word(1, 3) for prefix in ("", "##") for _ in range(8)} | {"a", "##a", "##b"}
        one = word(1, 8)
        _expect_list(match(one, vocabulary), longest_match(one, vocabulary), what=f"match({one!r})", mistakes={})


# --- 5: a packed row ------------------------------------------------------------------------------------------------

packed_row = Check("A packed row: who sees whom, and where everybody stands")

RowFunction = Callable[[list[int], int], tuple[Any, Any]]


def _row_of(pack_row: RowFunction, sizes: list[int], row_length: int) -> tuple[Tensor, Tensor]:
    answer = pack_row(sizes, row_length)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise CheckFailed(f"pack_row should return mask and positions, but it returned {type(answer).__name__}")
    mask = expect_tensor(answer[0], (row_length, row_length), what="mask")
    return mask, expect_tensor(answer[1], (row_length,), what="positions")


def _owners(sizes: list[int], row_length: int) -> Tensor:
    owners = torch.full((row_length,), -1)
    owners[: sum(sizes)] = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return owners


@packed_row.stage("shapes and types")
def _(pack_row: RowFunction, draw: Draw) -> None:
    mask, _ = _row_of(pack_row, draw.sizes(2, 2, 5), 12)
    if mask.dtype != torch.bool:
        raise CheckFailed(f"the mask has type {mask.dtype}: masks are bool, True = may be attended")


@packed_row.stage("a full row")
def _(pack_row: RowFunction, draw: Draw) -> None:
    sizes = draw.sizes(3, 1, 6)
    mask, _ = _row_of(pack_row, sizes, sum(sizes))
    owner = _owners(sizes, sum(sizes))
    right = owner[:, None] == owner[None, :]
    mistakes = {
        "everybody sees everybody: two texts of a row must not see each other.": torch.ones_like(right).int(),
        "the mask is inverted: True means *may be attended*.": (~right).int(),
        "a token sees only itself: it should see its whole text.": torch.eye(len(owner)).int(),
    }
    expect_close(mask.int(), right.int(), what="mask", mistakes=mistakes)


@packed_row.stage("padding")
def _(pack_row: RowFunction, draw: Draw) -> None:
    sizes = draw.sizes(2, 2, 5)
    mask, _ = _row_of(pack_row, sizes, 13)
    owner = _owners(sizes, 13)
    same = owner[:, None] == owner[None, :]
    right = same & (owner >= 0)[:, None]
    mistakes = {"padding sees padding: it belongs to no text, and its rows and columns are all False.": same.int()}
    expect_close(mask.int(), right.int(), what="mask", mistakes=mistakes)


@packed_row.stage("positions")
def _(pack_row: RowFunction, draw: Draw) -> None:
    sizes = draw.sizes(3, 2, 6)
    row_length = sum(sizes) + draw.integer(1, 3)
    _, positions = _row_of(pack_row, sizes, row_length)
    used = sum(sizes)
    right = torch.cat([torch.arange(size) for size in sizes])
    mistakes = {
        "the positions run on: they start again at 0 with each text.": torch.arange(used),
        "positions start at 0, not at 1.": right + 1,
    }
    expect_close(positions[:used], right, what="positions", mistakes=mistakes)


# --- 6: windows -----------------------------------------------------------------------------------------------------

windows = Check("Windows that lose no answer")

WindowFunction = Callable[[int, int, int], Any]


def _windows(num_tokens: int, size: int, overlap: int) -> list[tuple[int, int]]:
    starts = range(0, max(num_tokens - overlap, 1), size - overlap)
    return [(start, min(start + size, num_tokens)) for start in starts]


@windows.stage("a short text")
def _(cut: WindowFunction, draw: Draw) -> None:
    n = draw.integer(3, 9)
    mistakes = {"a text that fits is one window, which ends where the text ends.": [(0, 10)]}
    _expect_list(cut(n, 10, 4), [(0, n)], what=f"cut({n}, 10, 4)", mistakes=mistakes)
    mistakes = {"the second window holds only what the first had already.": [(0, 10), (6, 10)]}
    _expect_list(cut(10, 10, 4), [(0, 10)], what="cut(10, 10, 4)", mistakes=mistakes)


@windows.stage("no token is lost")
def _(cut: WindowFunction, draw: Draw) -> None:
    size = draw.integer(7, 12)
    n = 5 * (size - 2) + 2 + draw.integer(1, size - 3)  # the last window is not full
    found = cut(n, size, 2)
    if not isinstance(found, list | tuple):
        raise CheckFailed(f"cut should return a list of (start, end), but it returned {type(found).__name__}")
    if any(end - start > size for start, end in found):
        raise CheckFailed(f"a window is longer than {size} tokens")
    lost = sorted(set(range(n)) - {token for start, end in found for token in range(start, end)})
    if lost:
        raise CheckFailed(f"tokens {lost[0]} to {lost[-1]} of {n} are in no window: the last window may be shorter")


@windows.stage("the overlap")
def _(cut: WindowFunction, draw: Draw) -> None:
    overlap = draw.integer(2, 4)
    for (_, end), (start, _) in pairwise(cut(50, 10, overlap)):
        if end < 50 and end - start != overlap:
            raise CheckFailed(f"two windows share {end - start} tokens, expected {overlap}: step by size - overlap")


@windows.stage("random texts")
def _(cut: WindowFunction, draw: Draw) -> None:
    for _ in range(30):
        n, size = draw.integer(1, 60), draw.integer(4, 12)
        overlap = draw.integer(0, size - 1)
        _expect_list(
            cut(n, size, overlap), _windows(n, size, overlap), what=f"cut({n}, {size}, {overlap})", mistakes={}
        )


# --- 7: training BPE ------------------------------------------------------------------------------------------------

training = Check("Byte-pair encoding, trained")

TrainFunction = Callable[[dict[str, int], int], Any]


def _train(
    word_counts: Mapping[str, int], num_merges: int, *, weighted: bool = True, latest: bool = False
) -> list[Pair]:
    words = {word: list(word) for word in word_counts}
    merges: list[Pair] = []
    for _ in range(num_merges):
        counts: Counter[Pair] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                counts[pair] += word_counts[word] if weighted else 1
        if not counts:
            break
        top = max(counts.values())
        ties = sorted(pair for pair, count in counts.items() if count == top)
        merges.append(ties[-1] if latest else ties[0])
        words = {word: join_pair(symbols, merges[-1]) for word, symbols in words.items()}
    return merges


@training.stage("one merge")
def _(train: TrainFunction, draw: Draw) -> None:
    word_counts = {"ab": draw.integer(6, 9), "cd": 1, "ce": 1, "cdx": 1}
    mistakes = {"each word was counted once: weigh a pair by how often its word occurs.": [("c", "d")]}
    _expect_list(train(word_counts, 1), [("a", "b")], what="train(...)", mistakes=mistakes)


@training.stage("merges of merges")
def _(train: TrainFunction, draw: Draw) -> None:
    mistakes = {"the words were not rewritten: after a merge, count the pairs of the new symbols.": [("a", "b")] * 2}
    _expect_list(train({"abc": 3, "ab": 2}, 2), [("a", "b"), ("ab", "c")], what="train(...)", mistakes=mistakes)


@training.stage("repeated letters")
def _(train: TrainFunction, draw: Draw) -> None:
    right = [("a", "a"), ("aa", "a")]
    _expect_list(train({"aaa": 4}, 2), right, what="train({'aaa': 4}, 2)", mistakes={})


@training.stage("nothing left to join")
def _(train: TrainFunction, draw: Draw) -> None:
    _expect_list(train({"ab": 1, "c": 5}, 9), [("a", "b")], what="train({'ab': 1, 'c': 5}, 9)", mistakes={})


@training.stage("random words")
def _(train: TrainFunction, draw: Draw) -> None:
    for _ in range(5):
        words = {
            "".join("abcd"[draw.integer(0, 3)] for _ in range(draw.integer(1, 7))): draw.integer(1, 9) for _ in range(8)
        }
        mistakes = {
            "of equally frequent pairs the alphabetically first is joined.": _train(words, 6, latest=True),
            "each word was counted once: weigh a pair by how often its word occurs.": _train(words, 6, weighted=False),
        }
        _expect_list(train(words, 6), _train(words, 6), what="train(...)", mistakes=mistakes)
