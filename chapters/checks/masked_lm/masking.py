"""Checks of the exercises on masked language modelling: what is chosen, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plm_chapters.checks.feedback import Check, CheckFailed, Draw, expect_close, expect_frequencies, expect_tensor
from plm_core.data.labels import IGNORE

Function = Callable[..., Any]

pencil = Check("pencil: what stands in the gap")
prediction = Check("shares: what a corrupted text looks like")
corruption = Check("corrupt: the 80/10/10 recipe")
whole_words = Check("spread: whole words")


def _number(value: Any, what: str) -> Tensor:
    """One number of the student's answer."""
    return expect_tensor(value, (), what=what)


# Exercise 1


@pencil.stage("the gap")
def _(ann: Any, cat: Any, doubt: Any, draw: Draw) -> None:
    expect_close(
        _number(ann, "ann"),
        torch.tensor(3 / 4),
        what="ann",
        tolerance=0.01,
        message="Count, among the sentences that fit the visible words, those that begin with ann.",
        mistakes={
            "this is the probability before the other words are read: use what stands after the gap.": torch.tensor(
                0.5
            ),
            "this is bob's probability.": torch.tensor(1 / 4),
        },
    )


@pencil.stage("a visible word")
def _(ann: Any, cat: Any, doubt: Any, draw: Draw) -> None:
    expect_close(
        _number(cat, "cat"),
        torch.tensor(28 / 29),
        what="cat",
        tolerance=0.01,
        message="Weigh each candidate by p(w) (0.1 [w = s] + 0.1 / V), then divide by the sum.",
        mistakes={
            "the random words are missing: a visible word can be a drawn one.": torch.tensor(1.0),
            "the prior is missing: cat and dog are not equally likely here.": torch.tensor(7 / 8),
            "this is the probability of the other word.": torch.tensor(1 / 29),
        },
    )


@pencil.stage("an impossible word")
def _(ann: Any, cat: Any, doubt: Any, draw: Draw) -> None:
    expect_close(
        _number(doubt, "doubt"),
        torch.tensor(4 / 5),
        what="doubt",
        tolerance=0.01,
        message="A word that cannot stand there was drawn at random, whatever the original: what does it tell?",
        mistakes={
            "the shown word tells nothing, but the other words do: after bob, cat is likelier than dog.": (
                torch.tensor(1 / 2)
            ),
            "the visible word still sways you: it cannot stand there, so it was drawn, and tells nothing.": (
                torch.tensor(2 / 5)
            ),
            "this is the probability of the other word.": torch.tensor(1 / 5),
        },
    )


# Exercise 2


def _corrupted(draw: Draw, *, rows: int, length: int, vocab_size: int = 1000) -> tuple[Tensor, Tensor, Tensor]:
    """Original ids, corrupted ids and labels by the recipe; id 4 is [MASK], ids below 7 are special."""
    ids_BT = torch.randint(7, vocab_size, (rows, length), generator=draw.generator)
    chosen_BT = torch.rand(ids_BT.shape, generator=draw.generator) < 0.15
    act_BT = torch.rand(ids_BT.shape, generator=draw.generator)
    random_BT = torch.randint(7, vocab_size, ids_BT.shape, generator=draw.generator)
    shown_BT = torch.where(act_BT < 0.8, 4, torch.where(act_BT < 0.9, random_BT, ids_BT))
    return ids_BT, torch.where(chosen_BT, shown_BT, ids_BT), torch.where(chosen_BT, ids_BT, IGNORE)


def measure_shares(draws: int = 400, *, seed: int = 0) -> dict[str, float]:
    """Shares of a text of ``draws`` x 500 tokens after corruption at a rate of 15 %, by 80/10/10."""
    ids_BT, shown_BT, labels_BT = _corrupted(Draw("shares", seed), rows=draws, length=500)
    return {
        "masks": (shown_BT == 4).float().mean().item(),
        "wrong": ((shown_BT != ids_BT) & (shown_BT != 4)).float().mean().item(),
        "kept_of_visible_chosen": (shown_BT == ids_BT)[(labels_BT != IGNORE) & (shown_BT != 4)].float().mean().item(),
    }


def _predicted(value: Any, key: str, draw: Draw, message: str, mistakes: dict[str, Tensor]) -> None:
    measured = measure_shares(seed=draw.seed)[key]
    number = float(_number(value, key))
    if abs(number - measured) <= 0.1 * measured:
        return
    for mistake, wrong in mistakes.items():
        if abs(number - float(wrong)) <= 0.02 * float(wrong):
            raise CheckFailed(mistake)
    raise CheckFailed(f"measured {measured:.3f}, you predicted {number:.3f}. {message}")


@prediction.stage("share of [MASK]")
def _(masks: Any, wrong: Any, kept: Any, draw: Draw) -> None:
    _predicted(
        masks,
        "masks",
        draw,
        "A token must first be chosen, then become [MASK]: multiply.",
        {
            "these are the chosen tokens; not all of them become [MASK].": torch.tensor(0.15),
            "this is the share of the chosen tokens; asked is the share of all tokens.": torch.tensor(0.8),
        },
    )


@prediction.stage("share of wrong words")
def _(masks: Any, wrong: Any, kept: Any, draw: Draw) -> None:
    _predicted(
        wrong,
        "wrong",
        draw,
        "A token must first be chosen, then be replaced: multiply.",
        {
            "[MASK] is no wrong word: count replaced words only.": torch.tensor(0.135),
            "this is the share of the chosen tokens; asked is the share of all tokens.": torch.tensor(0.1),
        },
    )


@prediction.stage("trust")
def _(masks: Any, wrong: Any, kept: Any, draw: Draw) -> None:
    _predicted(
        kept,
        "kept_of_visible_chosen",
        draw,
        "Of the chosen places that show a word, how many were kept, and how many replaced?",
        {"this is the share of all chosen places; [MASK] is to be left out.": torch.tensor(0.1)},
    )


# Exercise 3


def _batch(draw: Draw, *, rows: int = 40, length: int = 250, vocab_size: int = 60) -> tuple[Tensor, Tensor]:
    """Rows [CLS] words [SEP] padding; special ids 0 to 4, [MASK] is 4."""
    ids_BT = torch.randint(5, vocab_size, (rows, length), generator=draw.generator)
    lengths_B1 = torch.randint(length // 2, length, (rows, 1), generator=draw.generator)
    places_T = torch.arange(length)
    ids_BT[:, 0] = 2
    ids_BT = torch.where(places_T == lengths_B1, 3, torch.where(places_T > lengths_B1, 0, ids_BT))
    return ids_BT, torch.tensor([0, 1, 2, 3, 4])


def _run(corrupt: Function, draw: Draw, **sizes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    ids_BT, special = _batch(draw, **sizes)
    vocab_size = sizes.get("vocab_size", 60)
    before = ids_BT.clone()
    answer = corrupt(ids_BT, special, 4, vocab_size, draw.generator)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise CheckFailed("corrupt should return two tensors: the corrupted ids and the labels")
    shown_BT = expect_tensor(answer[0], before.shape, what="the corrupted ids")
    labels_BT = expect_tensor(answer[1], before.shape, what="the labels")
    if not torch.equal(ids_BT, before):
        raise CheckFailed("the input was changed in place: the next epoch would corrupt a corrupted text. Make a copy")
    return before, shown_BT, labels_BT, torch.isin(before, special)


@corruption.stage("shapes, and the input stays")
def _(corrupt: Function, draw: Draw) -> None:
    _run(corrupt, draw, rows=3, length=20)
    ids_BT, special = _batch(draw, rows=6, length=60)
    first, again, other = (
        corrupt(ids_BT.clone(), special, 4, 60, torch.Generator().manual_seed(seed))
        for seed in (draw.seed, draw.seed, draw.seed + 1)
    )
    if not all(map(torch.equal, first, again)):
        raise CheckFailed("two calls with equal generators differ: take all random numbers from `generator`")
    if all(map(torch.equal, first, other)):
        raise CheckFailed("generators with different seeds give the same: take all random numbers from `generator`")


@corruption.stage("labels")
def _(corrupt: Function, draw: Draw) -> None:
    ids_BT, shown_BT, labels_BT, special_BT = _run(corrupt, draw)
    chosen_BT = labels_BT != IGNORE
    if not bool(chosen_BT.any()):
        raise CheckFailed("no label at all: chosen places keep their original id as label, the others have -100")
    if bool((chosen_BT & special_BT).any()):
        raise CheckFailed("special tokens are chosen: [CLS], [SEP] and padding must never be asked for")
    if not torch.equal(labels_BT[chosen_BT], ids_BT[chosen_BT]):
        raise CheckFailed("a label must be the original id, not what the place shows after the corruption")
    if not torch.equal(shown_BT[~chosen_BT], ids_BT[~chosen_BT]):
        raise CheckFailed("a token that was not chosen has changed")


@corruption.stage("replacements")
def _(corrupt: Function, draw: Draw) -> None:
    for _ in range(4):
        ids_BT, shown_BT, labels_BT, _ = _run(corrupt, draw, vocab_size=9)
        drawn = shown_BT[(labels_BT != IGNORE) & (shown_BT != ids_BT) & (shown_BT != 4)]
        if not len(drawn):
            raise CheckFailed("no chosen place shows a random word: a tenth of them should")
        if bool((drawn < 5).any()):
            raise CheckFailed("a special token was drawn as a replacement: draw from the ordinary ids only")
        if bool((drawn >= 9).any()):
            raise CheckFailed("a replacement lies beyond the vocabulary: ids run from 0 to vocab_size - 1")
        if len(drawn.unique()) < 3:
            raise CheckFailed(
                f"of the four ordinary ids only {drawn.unique().tolist()} were drawn in a whole batch: draw a fresh "
                "number for each place, and not the one that decided between [MASK], random and kept"
            )


@corruption.stage("shares")
def _(corrupt: Function, draw: Draw) -> None:
    counts, chosen = torch.zeros(3), torch.zeros(2)
    for _ in range(12):
        ids_BT, shown_BT, labels_BT, special_BT = _run(corrupt, draw, vocab_size=2000)
        chosen_BT = labels_BT != IGNORE
        inner_BT = chosen_BT[:, 1:100]  # ordinary tokens in every row
        if torch.equal(inner_BT, inner_BT[:1].expand_as(inner_BT)):
            raise CheckFailed("the same places are chosen in every row: draw a number for each token of the batch")
        chosen += torch.tensor([int(chosen_BT.sum()), int((~special_BT & ~chosen_BT).sum())])
        masked, kept = int((shown_BT == 4)[chosen_BT].sum()), int((shown_BT == ids_BT)[chosen_BT].sum())
        counts += torch.tensor([masked, int(chosen_BT.sum()) - masked - kept, kept])
    expect_frequencies(
        chosen,
        torch.tensor([0.15, 0.85]),
        message="Each ordinary token is chosen with probability 0.15: outcome 0 is chosen, 1 is not.",
    )
    expect_frequencies(
        counts,
        torch.tensor([0.8, 0.1, 0.1]),
        message=(
            "Outcomes of a chosen token are [MASK], random, kept. Two independent coins do not give 80/10/10: "
            "use one uniform number and two borders, or toss the second coin with probability one half."
        ),
    )


# Exercise 5


def _spread_reference(starts_T: Tensor, coins_T: Tensor) -> Tensor:
    word_T = starts_T.long().cumsum(0) - 1
    return coins_T[starts_T][word_T]


def _words(draw: Draw, length: int) -> tuple[Tensor, Tensor]:
    starts_T = torch.rand(length, generator=draw.generator) < 0.4
    starts_T[0] = True
    return starts_T, torch.rand(length, generator=draw.generator) < 0.4


def _bools(value: Any, length: int) -> Tensor:
    value = expect_tensor(value, (length,), what="the mask")
    if value.dtype != torch.bool:
        raise CheckFailed(f"the mask should be bool, it is {value.dtype}")
    return value


@whole_words.stage("shape and type")
def _(spread: Function, draw: Draw) -> None:
    length = draw.integer(5, 12)
    _bools(spread(*_words(draw, length)), length)


@whole_words.stage("one word of three pieces")
def _(spread: Function, draw: Draw) -> None:
    starts_T = torch.tensor([True, True, False, False, True])
    coins_T = torch.tensor([False, True, False, False, False])
    chosen = _bools(spread(starts_T, coins_T), 5).tolist()
    if chosen == [False, True, False, False, False]:
        raise CheckFailed("only the first piece is chosen: the pieces after it share its coin")
    if chosen == [False, True, True, True, True]:
        raise CheckFailed("the coin runs on into the next word: a new start brings a new coin")
    if chosen != [False, True, True, True, False]:
        raise CheckFailed(f"word 2 has three pieces and its coin says yes: expected only these three, got {chosen}")


@whole_words.stage("reference")
def _(spread: Function, draw: Draw) -> None:
    for length in (1, 30, 31, 200):
        starts_T, coins_T = _words(draw, length)
        chosen_T = _bools(spread(starts_T, coins_T), length)
        if torch.equal(chosen_T, _spread_reference(starts_T, coins_T)):
            continue
        if torch.equal(chosen_T, coins_T):
            raise CheckFailed("every piece follows its own coin: a piece that starts no word follows its word's coin")
        raise CheckFailed(
            "some piece does not share the coin of its word's first piece. Coins at pieces that start no word count "
            "for nothing: one word, one coin"
        )
