"""The candidates of beam search as a model sees them: rows side by side, with one key-value cache or state.

Shapes are written into names: B sources, K candidates of a source, N = B·K rows, S source tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from plm_core.generation.decoding import CausalModel
from plm_core.models.kv_cache import Cache
from plm_core.models.recurrent_cells import State
from plm_core.models.recurrent_seq2seq import Encoded, RecurrentSeq2Seq


class Rows(Protocol):
    """Candidates side by side, as a model sees them."""

    def next_logits(self, tokens_N: Tensor | None) -> Tensor:
        """Logits of the tokens that come next, (N, V), after each row was extended by a token; None at the start."""
        ...

    def select(self, rows_N: Tensor) -> None:
        """Keep the given rows, in this order, repeats allowed."""
        ...


class EncoderDecoder(Protocol):
    """What beam search needs of an encoder-decoder; :class:`~plm_core.models.seq2seq.Seq2Seq` has it."""

    config: Any
    """With ``max_position_embeddings``, the longest target; None for no limit."""

    def encode(self, input_ids: Tensor, *, attention_mask: Tensor | None) -> Tensor: ...

    def decode(
        self,
        decoder_input_ids: Tensor,
        encoder_hidden_states: Tensor,
        *,
        attention_mask: Tensor | None,
        cache: Cache,
        logits_to_keep: int,
    ) -> Tensor: ...

    def new_cache(self) -> Cache: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def eval(self) -> Any: ...


class TargetRows:
    """The candidates of an encoder-decoder: K rows of the decoder for each encoded source.

    Args:
        model: the model.
        input_ids: sources, (B, S).
        attention_mask: bool, (B, S), or None.
        start_token_id: the first token of every row.
        width: K.
    """

    def __init__(
        self, model: EncoderDecoder, input_ids: Tensor, attention_mask: Tensor | None, start_token_id: int, width: int
    ) -> None:
        self.model, self.cache = model, model.new_cache()
        encoded_BSD = model.encode(input_ids, attention_mask=attention_mask)
        self.encoded_NSD = encoded_BSD.repeat_interleave(width, dim=0)
        self.mask_NS = None if attention_mask is None else attention_mask.repeat_interleave(width, dim=0)
        self.start_N = torch.full((len(self.encoded_NSD),), start_token_id, device=input_ids.device)

    def next_logits(self, tokens_N: Tensor | None) -> Tensor:
        """Logits, (N, V), after each row was extended by a token."""
        tokens_N = self.start_N if tokens_N is None else tokens_N
        logits_N1V = self.model.decode(
            tokens_N[:, None], self.encoded_NSD, attention_mask=self.mask_NS, cache=self.cache, logits_to_keep=1
        )
        return logits_N1V[:, -1]

    def select(self, rows_N: Tensor) -> None:
        """Keep the given rows. The source's keys and values are copied only when sources have left."""
        for layer in self.cache.self_attention:
            layer.select(rows_N)
        if len(rows_N) == len(self.encoded_NSD):  # rows change places within their source only
            return
        for layer in self.cache.cross_attention:
            layer.select(rows_N)
        self.encoded_NSD = self.encoded_NSD[rows_N]
        self.mask_NS = None if self.mask_NS is None else self.mask_NS[rows_N]


class RecurrentRows:
    """The candidates of a recurrent encoder-decoder: K states of the decoder for each encoded source.

    Args:
        model, input_ids, attention_mask, start_token_id, width: as for :class:`TargetRows`.
    """

    def __init__(
        self, model: RecurrentSeq2Seq, input_ids: Tensor, attention_mask: Tensor | None, start_token_id: int, width: int
    ) -> None:
        self.model, self.start_token_id = model, start_token_id
        encoded = model.encode(input_ids, attention_mask=attention_mask)
        rows_N = torch.arange(len(input_ids), device=input_ids.device).repeat_interleave(width)
        self.encoded = encoded_rows(encoded, rows_N)
        self.state: State | None = None

    def next_logits(self, tokens_N: Tensor | None) -> Tensor:
        """Logits, (N, V), after each row was extended by a token."""
        if tokens_N is None:
            tokens_N = torch.full_like(self.encoded.summary_BZ[:, 0], self.start_token_id, dtype=torch.int64)
        logits_N1V, self.state, _ = self.model.decode(tokens_N[:, None], self.encoded, state=self.state)
        return logits_N1V[:, -1]

    def select(self, rows_N: Tensor) -> None:
        """Keep the given rows."""
        self.encoded = encoded_rows(self.encoded, rows_N)
        if isinstance(self.state, tuple):
            self.state = self.state[0].index_select(1, rows_N), self.state[1].index_select(1, rows_N)
        elif self.state is not None:
            self.state = self.state.index_select(1, rows_N)  # (layers, N, H)


def encoded_rows(encoded: Encoded, rows_N: Tensor) -> Encoded:
    """The given rows of what an encoder hands over."""
    mask_BS = encoded.attention_mask
    mask_NS = None if mask_BS is None else mask_BS[rows_N]
    return Encoded(encoded.summary_BZ[rows_N], encoded.outputs_BSD[rows_N], mask_NS)


class PromptRows:
    """The candidates of a causal model: K rows for each prompt, shorter prompts padded on the left.

    Args:
        model: the model.
        prompts: token ids of each.
        width: K.
        suppressed: tokens that are never written.
    """

    def __init__(
        self,
        model: CausalModel,
        prompts: Sequence[Sequence[int]],
        width: int,
        *,
        suppressed: Sequence[int] = (),
    ) -> None:
        self.model, self.cache, self.width = model, model.new_cache(), width
        device = self.device = next(iter(model.parameters())).device
        self.suppressed = torch.tensor(list(suppressed), dtype=torch.long, device=device)
        longest = max(map(len, prompts))
        rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        self.prompts_BT = torch.tensor(rows, device=device)
        padding_B1 = torch.tensor([[longest - len(prompt)] for prompt in prompts], device=device)
        self.mask_NS = torch.arange(longest, device=device) >= padding_B1

    def next_logits(self, tokens_N: Tensor | None) -> Tensor:
        """Logits, (N, V), after each row was extended by a token; -inf for suppressed tokens.

        The prompts are read once for all their rows.
        """
        unread_NT = self.prompts_BT if tokens_N is None else tokens_N[:, None]
        if tokens_N is not None:
            self.mask_NS = nn.functional.pad(self.mask_NS, (0, 1), value=True)
        width = unread_NT.shape[1]
        positions_NT = self.mask_NS.cumsum(dim=1)[:, -width:] - 1
        logits_N1V = self.model(
            unread_NT,
            attention_mask=self.mask_NS,
            position_ids=positions_NT.clamp(min=0),
            cache=self.cache,
            logits_to_keep=1,
        )
        logits_NV = logits_N1V[:, -1].index_fill(-1, self.suppressed, -math.inf)
        if tokens_N is not None:
            return logits_NV
        first = torch.arange(len(unread_NT), device=unread_NT.device).repeat_interleave(self.width)
        self.select(first)
        return logits_NV[first]

    def select(self, rows_N: Tensor) -> None:
        """Keep the given rows."""
        self.cache.select(rows_N)
        self.mask_NS = self.mask_NS[rows_N]
