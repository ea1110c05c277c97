"""Generation token by token, with the key-value cache: prompts of any lengths side by side, as a whole or as a stream.

Shapes are written into names: B sequences that still grow, T tokens, S tokens in the cache, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, overload

import torch
from torch import Tensor, nn

from plm_core.evaluation.modes import evaluation_mode
from plm_core.generation.constrained import Constraint, ConstraintFilter
from plm_core.generation.filters import LogitsFilter, RepetitionPenalty
from plm_core.generation.sampling import Sampling, choose, uniform_numbers
from plm_core.models.kv_cache import Cache

MAX_NEW_TOKENS = 10**6
"""The largest number of new tokens that is accepted: more would take hours."""
RESERVED = 1024
"""Number of new tokens for which the cache has room from the start; it grows if more are generated."""


class CausalModel(Protocol):
    """The part of a model's interface that generation uses; :class:`~plm_core.models.gpt.Gpt` has it."""

    config: Any
    """With ``vocab_size`` and ``max_position_embeddings``, the longest context; None for no limit."""
    training: bool

    def __call__(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        cache: Cache,
        logits_to_keep: int,
    ) -> Tensor: ...

    def new_cache(self) -> Cache:
        """An empty cache."""

    def modules(self) -> Iterator[nn.Module]:
        """The model and its parts, each in training or evaluation mode."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""

    def parameters(self) -> Iterator[Tensor]:
        """The weights."""


@overload
def generate(
    model: CausalModel,
    prompts: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = ...,
    top_k: int | None = ...,
    top_p: float | None = ...,
    min_p: float | None = ...,
    typical_p: float | None = ...,
    repetition_penalty: float = ...,
    constraint: Constraint | None = ...,
    stop_token_id: int | None = ...,
    suppressed_token_ids: Sequence[int] = ...,
    seed: int | None = ...,
) -> Tensor: ...


@overload
def generate(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = ...,
    top_k: int | None = ...,
    top_p: float | None = ...,
    min_p: float | None = ...,
    typical_p: float | None = ...,
    repetition_penalty: float = ...,
    constraint: Constraint | None = ...,
    stop_token_id: int | None = ...,
    suppressed_token_ids: Sequence[int] = ...,
    seed: int | None = ...,
) -> list[list[int]]: ...


def generate(
    model: CausalModel,
    prompts: Tensor | Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    typical_p: float | None = None,
    repetition_penalty: float = 1.0,
    constraint: Constraint | None = None,
    stop_token_id: int | None = None,
    suppressed_token_ids: Sequence[int] = (),
    seed: int | None = None,
) -> Tensor | list[list[int]]:
    """Continue prompts, all of them at once.

    Each prompt is continued as it would be on its own, up to rounding: prompts of other lengths beside it change
    neither what it sees nor its random numbers.

    Args:
        model: a causal language model; it is put into evaluation mode and back.
        prompts: token ids, (B, T), or B lists of ids of any lengths; each has at least one token.
        max_new_tokens: how many tokens to add at most to each prompt.
        temperature, top_k, top_p, min_p, typical_p, repetition_penalty: see
            :class:`~plm_core.generation.sampling.Sampling`.
        constraint: what the continuations may be; see :mod:`plm_core.generation.constrained`.
        stop_token_id: a sequence ends where it has drawn this token.
        suppressed_token_ids: tokens that are never drawn.
        seed: seed of the draws; None takes one from torch's global generator.

    Returns:
        Prompts and continuations. For a tensor a tensor, (B, at most T + max_new_tokens), in which a sequence that has
        ended repeats the stop token; for lists a list for each prompt, which ends with the stop token where it was
        drawn.

    Raises:
        ValueError: a setting outside its range, an empty prompt, or one that is longer than the model's context.
    """
    rows = prompts.tolist() if isinstance(prompts, Tensor) else [list(prompt) for prompt in prompts]
    sampling = Sampling(temperature, top_k, top_p, min_p, typical_p, repetition_penalty)
    for tokens in stream(
        model,
        rows,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        constraint=constraint,
        stop_token_id=stop_token_id,
        suppressed_token_ids=suppressed_token_ids,
        seed=seed,
    ):
        for row, token in tokens:
            rows[row].append(token)
    if not isinstance(prompts, Tensor):
        return rows
    longest = max(map(len, rows))
    filled = [row if len(row) == longest else row + [row[-1]] * (longest - len(row)) for row in rows]
    return torch.tensor(filled, dtype=prompts.dtype, device=prompts.device)


def stream(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling,
    constraint: Constraint | None = None,
    stop_token_id: int | None = None,
    suppressed_token_ids: Sequence[int] = (),
    seed: int | None = None,
    first: int = 0,
    ends: Callable[[int, int], bool] | None = None,
) -> Iterator[list[tuple[int, int]]]:
    """Continue prompts token by token; arguments as of :func:`generate`.

    The cache makes a token cost one position instead of the whole text. When a sequence has filled the model's context,
    the older half of it is forgotten and the cache is filled again with what is left. Shorter sequences keep theirs.

    Args:
        first: the number of the first prompt, where these are a part of a larger set: the random numbers of a prompt
            follow from the seed and its number.
        ends: called once with each new token, a prompt's place and the token: whether the sequence ends with it.

    Yields:
        After each step the new tokens, as pairs of a prompt's place and a token; sequences that have ended are left
        out. The model is in evaluation mode until the last step.

    Raises:
        ValueError: as :func:`generate`, at the call.
    """
    context = model.config.max_position_embeddings
    check_prompts(prompts, context)
    vocabulary = model.config.vocab_size
    if not 0 <= max_new_tokens <= MAX_NEW_TOKENS:
        raise ValueError(f"max_new_tokens must lie between 0 and {MAX_NEW_TOKENS:,}, got {max_new_tokens}")
    for token in (*suppressed_token_ids, *(() if stop_token_id is None else (stop_token_id,))):
        if not 0 <= token < vocabulary:
            raise ValueError(f"token {token} is to be suppressed or to stop, but ids are 0 to {vocabulary - 1}")
    if len(set(suppressed_token_ids)) >= vocabulary:
        raise ValueError("all tokens of the vocabulary are suppressed: none is left to draw")
    device = next(iter(model.parameters())).device
    uniform = None if sampling.is_greedy else uniform_numbers(seed, len(prompts), first=first, device=device)
    suppressed = torch.tensor(sorted(set(suppressed_token_ids)), device=device) if suppressed_token_ids else None
    filters: list[LogitsFilter] = []
    if sampling.repetition_penalty != 1:
        filters.append(RepetitionPenalty(prompts, vocabulary, sampling.repetition_penalty, device))
    if constraint is not None:
        if stop_token_id is None:
            raise ValueError("a constraint needs a stop_token_id, the token that ends an output")
        filters.append(ConstraintFilter(constraint, len(prompts), stop_token_id, vocabulary))
    state = Sequences(model, prompts, context, max_new_tokens, device)

    def has_ended(row: int, token: int) -> bool:
        return bool(ends and ends(row, token)) or token == stop_token_id

    return _steps(model, state, max_new_tokens, sampling, filters, has_ended, suppressed, uniform)


def _steps(
    model: CausalModel,
    state: Sequences,
    max_new_tokens: int,
    sampling: Sampling,
    filters: Sequence[LogitsFilter],
    has_ended: Callable[[int, int], bool],
    suppressed: Tensor | None,
    uniform: Iterator[Tensor] | None,
) -> Iterator[list[tuple[int, int]]]:
    with evaluation_mode(model, keep_random_state=False):
        for _ in range(max_new_tokens):
            with torch.inference_mode():
                logits_BV = state.next_logits()
                if suppressed is not None:
                    logits_BV = logits_BV.index_fill(-1, suppressed, -torch.inf)
                for each in filters:
                    logits_BV = each.apply(logits_BV, state.growing)
                numbers_B = None if uniform is None else next(uniform)
                if numbers_B is not None and len(numbers_B) > len(state.growing):
                    numbers_B = numbers_B[state.growing]
                drawn = state.extend(choose(logits_BV, sampling, numbers_B))
                for each in filters:
                    each.update(drawn)
                state.end([row for row, token in drawn if has_ended(row, token)])
            yield drawn
            if not state.growing:
                break


class Sequences:
    """Sequences that grow side by side: their tokens, the cache, and the padding on the left of shorter ones.

    Args:
        model: the model that reads them.
        prompts: token ids of each sequence.
        context: the most tokens that the model takes; None for no limit.
        max_new_tokens: how many tokens will be added at most.
        device: where the model is.
    """

    def __init__(
        self,
        model: CausalModel,
        prompts: Sequence[Sequence[int]],
        context: int | None,
        max_new_tokens: int,
        device: torch.device,
    ) -> None:
        self.model, self.context, self.device = model, context, device
        self.growing = list(range(len(prompts)))
        """The prompts' numbers of the sequences that have not ended."""
        self.windows = [list(prompt) for prompt in prompts]
        """The tokens that each of these still sees."""
        self.cache = model.new_cache()
        room = max(map(len, prompts)) + min(max_new_tokens, RESERVED)
        self.capacity = room if context is None else min(context, room)
        self.unread_BT = torch.empty(0)
        self.mask_BS: Tensor | None = None
        self.fill()

    def fill(self) -> None:
        """Begin again with an empty cache: all windows are unread."""
        self.cache.clear()
        self.cache.reserve(self.capacity)
        lengths = [len(window) for window in self.windows]
        longest = max(lengths)
        padded = [[0] * (longest - len(window)) + window for window in self.windows]
        self.unread_BT = torch.tensor(padded, device=self.device)
        self.mask_BS = None
        if min(lengths) < longest:
            padding_B1 = longest - torch.tensor(lengths, device=self.device)[:, None]
            self.mask_BS = torch.arange(longest, device=self.device) >= padding_B1

    def next_logits(self) -> Tensor:
        """Read the unread tokens: the logits of the tokens that come next, (B, V)."""
        position_ids = None
        if self.mask_BS is not None:
            ends_B1 = self.mask_BS.sum(-1, keepdim=True)
            width = self.unread_BT.shape[1]
            position_ids = (ends_B1 - width + torch.arange(width, device=self.device)).clamp(min=0)
        logits_B1V = self.model(
            self.unread_BT,
            attention_mask=self.mask_BS,
            position_ids=position_ids,
            cache=self.cache,
            logits_to_keep=1,
        )
        return logits_B1V[:, -1]

    def extend(self, tokens_B: Tensor) -> list[tuple[int, int]]:
        """Add a token to each sequence; return pairs of a prompt's number and its token."""
        tokens = tokens_B.tolist()
        full = self.cache.length == self.context
        for window, token in zip(self.windows, tokens, strict=True):
            if len(window) == self.context:
                del window[: self.context - max(1, self.context // 2) + 1]
            window.append(token)
        if full:
            self.fill()
        else:
            self.unread_BT = tokens_B[:, None]
            if self.mask_BS is not None:
                self.mask_BS = torch.cat((self.mask_BS, torch.ones_like(self.mask_BS[:, :1])), dim=1)
        return list(zip(self.growing, tokens, strict=True))

    def end(self, rows: Sequence[int]) -> None:
        """Take sequences out, given their prompts' numbers."""
        if not rows:
            return
        ended = set(rows)
        kept = [place for place, row in enumerate(self.growing) if row not in ended]
        self.growing = [self.growing[place] for place in kept]
        self.windows = [self.windows[place] for place in kept]
        index_B = torch.tensor(kept, dtype=torch.long, device=self.device)
        self.cache.select(index_B)
        self.unread_BT = self.unread_BT[index_B]
        if self.mask_BS is not None:
            self.mask_BS = self.mask_BS[index_B]


def check_prompts(prompts: Sequence[Sequence[int]], context: int | None) -> None:
    """Raise ValueError if there is no prompt, one is empty, or one is longer than the model's context."""
    if not prompts:
        raise ValueError("there is no prompt: give at least one")
    for prompt in prompts:
        if not len(prompt):
            raise ValueError("the prompt is empty: give at least one token, for example the one that begins a document")
        if context is not None and len(prompt) > context:
            raise ValueError(f"the prompt has {len(prompt)} tokens and the model's context {context}: shorten it")
