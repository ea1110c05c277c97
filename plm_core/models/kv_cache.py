"""The key-value cache: keys and values of the tokens so far, for generation token by token.

Shapes are written into names: B batch, T new tokens, S tokens in the cache, H heads, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """Keys and values of the tokens seen so far, for one attention layer, for generation without gradients.

    The buffers double when full: n tokens appended one by one cost O(n) copies, not O(n²), and at most twice the memory
    in use. Where the length is known beforehand, :meth:`reserve` makes them large enough at once. Appending writes in
    place, which autograd could not undo: use it under ``torch.no_grad()``.
    """

    def __init__(self) -> None:
        self.length = 0
        self._reserved = 0
        self._k: Tensor | None = None
        self._v: Tensor | None = None

    def reserve(self, tokens: int) -> None:
        """Let buffers that are made from now on hold at least that many tokens."""
        self._reserved = tokens

    def append(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Add new tokens and return all keys and values, (B, H, length, K) each.

        Raises:
            ValueError: shapes that differ from what is stored, or tensors that require gradients.
        """
        if torch.is_grad_enabled() and (k_BHTK.requires_grad or v_BHTK.requires_grad):
            raise ValueError("a KVCache is for inference: call the model under torch.no_grad()")
        if k_BHTK.shape[:3] != v_BHTK.shape[:3]:
            raise ValueError(
                f"k and v need the same batch, heads and tokens; got {tuple(k_BHTK.shape)}, {tuple(v_BHTK.shape)}"
            )
        k_buffer = store(self._k, k_BHTK, self.length, self._reserved)
        v_buffer = store(self._v, v_BHTK, self.length, self._reserved)
        self._k, self._v, self.length = k_buffer, v_buffer, self.length + k_BHTK.shape[2]
        return self.keys, self.values

    @property
    def keys(self) -> Tensor:
        """All keys, (B, H, length, K): a view of the buffer."""
        assert self._k is not None, "the cache is empty"
        return self._k[:, :, : self.length]

    @property
    def values(self) -> Tensor:
        """All values, (B, H, length, K): a view of the buffer."""
        assert self._v is not None, "the cache is empty"
        return self._v[:, :, : self.length]

    def select(self, index: Tensor) -> None:
        """Keep the given rows of the batch, in this order, repeats allowed: how beam search reorders its beams."""
        if self._k is not None and self._v is not None:
            self._k = self._k.index_select(0, index)
            self._v = self._v.index_select(0, index)

    def clear(self) -> None:
        """Forget everything and free the buffers."""
        self.length, self._k, self._v = 0, None, None


def store(buffer: Tensor | None, new: Tensor, start: int, reserved: int) -> Tensor:
    """Write new tokens at position ``start`` of a buffer that grows by doubling; return the buffer that holds them.

    A buffer that does not exist yet is made for at least ``reserved`` tokens.
    """
    batch, heads, tokens, width = new.shape
    end = start + tokens
    if buffer is None:
        buffer = new.new_empty(batch, heads, max(end, reserved), width)
    elif buffer.shape[:2] != new.shape[:2] or buffer.shape[3] != width or buffer.dtype != new.dtype:
        raise ValueError(
            f"the cache holds {tuple(buffer[:, :, :start].shape)} of {buffer.dtype} and cannot take "
            f"{tuple(new.shape)} of {new.dtype}: use one cache per layer and clear() it between batches"
        )
    if end > buffer.shape[2]:
        grown = buffer.new_empty(batch, heads, max(end, 2 * buffer.shape[2]), width)
        grown[:, :, :start] = buffer[:, :, :start]
        buffer = grown
    buffer[:, :, start:end] = new
    return buffer


class Cache:
    """The key-value caches of a stack, one pair for each block: self-attention and cross attention."""

    def __init__(self, num_layers: int) -> None:
        self.self_attention = [KVCache() for _ in range(num_layers)]
        self.cross_attention = [KVCache() for _ in range(num_layers)]

    @property
    def length(self) -> int:
        """Number of tokens that are already in the cache."""
        return self.self_attention[0].length if self.self_attention else 0

    def reserve(self, tokens: int) -> None:
        """Let the buffers of self-attention hold that many tokens from the start."""
        for cache in self.self_attention:
            cache.reserve(tokens)

    def select(self, index: Tensor) -> None:
        """Keep the given rows of the batch, in this order, repeats allowed (beam search)."""
        for cache in (*self.self_attention, *self.cross_attention):
            cache.select(index)

    def clear(self) -> None:
        """Forget everything."""
        for cache in (*self.self_attention, *self.cross_attention):
            cache.clear()
