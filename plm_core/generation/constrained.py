"""Constrained decoding: only tokens are drawn with which the output can still become one of a set of allowed ones.

A constraint is an automaton over tokens. :class:`OneOf` allows a list of outputs, :class:`Grammar` those that a regular
expression describes. The distribution is the model's, with forbidden tokens removed at each step. That is not the
model's distribution over allowed outputs: a token is not avoided because what must follow it is improbable.

Source: Willard & Louf (2023), "Efficient guided generation for large language models".
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from plm_core.data.tokenizers import Tokenizer
from plm_core.generation.regular import NOTHING, Expression, derivative, nullable, restrict


class Constraint(Protocol):
    """An automaton over tokens, whose states are the beginnings that need not be told apart."""

    def start(self) -> Hashable:
        """The state in which nothing was written."""
        ...

    def step(self, state: Hashable, token: int) -> Hashable:
        """The state after a further token, which must be allowed."""
        ...

    def allowed(self, state: Hashable) -> Sequence[int]:
        """The tokens that may follow."""
        ...

    def accepts(self, state: Hashable) -> bool:
        """Whether the output may end."""
        ...


class OneOf:
    """The constraint that the output is one of a list: labels of a classifier, names, the words of a closed set.

    Args:
        outputs: token ids of each allowed output. Encode them as they stand in a text, with the space before them.

    Raises:
        ValueError: no outputs, or an empty one.
    """

    def __init__(self, outputs: Sequence[Sequence[int]]) -> None:
        if not outputs or not all(map(len, outputs)):
            raise ValueError(f"at least one output is needed, and none may be empty; got {[list(o) for o in outputs]}")
        self._next: dict[tuple[int, ...], set[int]] = {}
        self._whole = {tuple(output) for output in outputs}
        for output in self._whole:
            for length, token in enumerate(output):
                self._next.setdefault(output[:length], set()).add(token)

    def start(self) -> tuple[int, ...]:
        """The empty beginning."""
        return ()

    def step(self, state: Hashable, token: int) -> tuple[int, ...]:
        """The beginning with a further token."""
        assert isinstance(state, tuple)
        return (*state, token)

    def allowed(self, state: Hashable) -> Sequence[int]:
        """The tokens that follow this beginning in one of the outputs."""
        assert isinstance(state, tuple)
        return sorted(self._next.get(state, ()))

    def accepts(self, state: Hashable) -> bool:
        """Whether the beginning is one of the outputs."""
        return state in self._whole


class Grammar:
    """The constraint that the text of the output matches a regular expression.

    Characters without a token of their own are never written: that way each beginning can be completed.

    Args:
        expression: made with :func:`~plm_core.generation.regular.parse`.
        texts: what each token adds to the text, by id; empty for tokens that are never allowed. See
            :func:`token_texts`.

    Raises:
        ValueError: a match needs characters that are no tokens.
    """

    def __init__(self, expression: Expression, texts: Sequence[str]) -> None:
        self.expression = restrict(expression, frozenset(texts))
        if self.expression is NOTHING:
            missing = sorted(expression.alphabet() - set(texts))
            raise ValueError(f"no match can be written: the vocabulary has no token for {missing} alone")
        self._tree = _tree(texts)
        self._tokens: dict[Hashable, dict[int, Expression]] = {}

    def start(self) -> Expression:
        """The expression itself: what may still be written."""
        return self.expression

    def step(self, state: Hashable, token: int) -> Expression:
        """What may be written after a further token."""
        return self._following(state)[token]

    def allowed(self, state: Hashable) -> Sequence[int]:
        """The tokens after which the text can still become a match."""
        return list(self._following(state))

    def accepts(self, state: Hashable) -> bool:
        """Whether the text is a match."""
        assert isinstance(state, Expression)
        return nullable(state)

    def _following(self, state: Hashable) -> dict[int, Expression]:
        """The allowed tokens and the states that they lead to; beginnings that tokens share are read once."""
        assert isinstance(state, Expression)
        if state not in self._tokens:
            found: dict[int, Expression] = {}
            waiting: list[tuple[_Node, Expression]] = [(self._tree, state)]
            while waiting:
                node, reached = waiting.pop()
                found.update(dict.fromkeys(node.tokens, reached))
                for character, child in node.children.items():
                    rest = derivative(reached, character)
                    if rest is not NOTHING:
                        waiting.append((child, rest))
            self._tokens[state] = dict(sorted(found.items()))
        return self._tokens[state]


class _Node:
    """A beginning of the tokens' texts: the tokens that end here, and how their texts go on."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.children: dict[str, _Node] = {}


def _tree(texts: Sequence[str]) -> _Node:
    root = _Node()
    for token, text in enumerate(texts):
        if text:
            node = root
            for character in text:
                node = node.children.setdefault(character, _Node())
            node.tokens.append(token)
    return root


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """What each token adds to a text, for :class:`Grammar`; empty for special tokens and parts of characters.

    Args:
        tokenizer: characters or byte-level BPE, in which the texts of tokens add up to the text.

    Raises:
        ValueError: a tokenizer whose text depends on neighbouring tokens, such as WordPiece.
    """
    texts = [
        "" if token in tokenizer.special_ids else tokenizer.decode([token]) for token in range(tokenizer.vocab_size)
    ]
    texts = ["" if "\ufffd" in text else text for text in texts]
    whole = [token for token, text in enumerate(texts) if text]
    if tokenizer.decode(whole) != "".join(texts):
        raise ValueError(
            "the text of a token depends on its neighbours in this tokenizer: use one of characters or byte-level BPE, "
            "or constrain to a list of outputs"
        )
    return texts


class ConstraintFilter:
    """A constraint for sequences that grow side by side: everything that it does not allow gets the logit -inf.

    Args:
        constraint: the automaton.
        sequences: how many sequences.
        stop_token_id: the token that ends a sequence; it is allowed where the constraint accepts.
        vocab_size: V.
    """

    def __init__(self, constraint: Constraint, sequences: int, stop_token_id: int, vocab_size: int) -> None:
        self.constraint, self.stop_token_id, self.vocab_size = constraint, stop_token_id, vocab_size
        self.states = [constraint.start()] * sequences
        self._masks: dict[Hashable, Tensor] = {}

    def apply(self, logits_BV: Tensor, rows: Sequence[int]) -> Tensor:
        """The logits, (B, V), with -inf for tokens that are not allowed.

        Raises:
            ValueError: a sequence has come to a dead end, or a token is not in the vocabulary.
        """
        forbidden_BV = torch.stack([self._forbidden(self.states[row]) for row in rows]).to(logits_BV.device)
        return logits_BV.masked_fill(forbidden_BV, -torch.inf)

    def update(self, written: Sequence[tuple[int, int]]) -> None:
        """Take note of new tokens, as pairs of a sequence's number and a token."""
        for row, token in written:
            if token != self.stop_token_id:
                self.states[row] = self.constraint.step(self.states[row], token)

    def _forbidden(self, state: Hashable) -> Tensor:
        if state not in self._masks:
            tokens = [token for token in self.constraint.allowed(state) if token != self.stop_token_id]
            tokens += [self.stop_token_id] if self.constraint.accepts(state) else []
            if not tokens:
                raise ValueError("the constraint allows no further token and does not accept what was written")
            if not 0 <= min(tokens) <= max(tokens) < self.vocab_size:
                raise ValueError(
                    f"the constraint allows tokens {min(tokens)} to {max(tokens)}, but the model's ids are 0 to "
                    f"{self.vocab_size - 1}"
                )
            forbidden_V = torch.ones(self.vocab_size, dtype=torch.bool)
            forbidden_V[tokens] = False
            self._masks[state] = forbidden_V
        return self._masks[state]
