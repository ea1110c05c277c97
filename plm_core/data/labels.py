"""Labels: the token that is to be predicted at each position of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORE = -100
"""The label of a position without a prediction; ``torch.nn.functional.cross_entropy`` skips it by default."""


def next_token_labels(
    input_ids: Tensor, *, attention_mask: Tensor | None = None, document_ids: Tensor | None = None
) -> Tensor:
    """For each position the token that follows it, or :data:`IGNORE` where none does.

    Nothing follows the last position of a row, the last real token before padding, and the last token of a document in
    a packed row: the next document's first token is no continuation.

    Args:
        input_ids: integers, (B, T).
        attention_mask: bool, (B, T), True = real. None: all are real.
        document_ids: integers, (B, T): which document of a packed row a token belongs to. None: one document a row.

    Returns:
        Labels, (B, T): ``labels[:, t]`` is ``input_ids[:, t + 1]`` or IGNORE. The logits at t are scored against it, so
        that labels are not shifted again.

    >>> next_token_labels(torch.tensor([[5, 6, 7]]))
    tensor([[   6,    7, -100]])
    """
    labels = torch.full_like(input_ids, IGNORE)
    labels[:, :-1] = input_ids[:, 1:]
    if attention_mask is not None:
        follows = attention_mask[:, 1:] & attention_mask[:, :-1]
        labels[:, :-1] = labels[:, :-1].masked_fill(~follows, IGNORE)
    if document_ids is not None:
        same = document_ids[:, 1:] == document_ids[:, :-1]
        labels[:, :-1] = labels[:, :-1].masked_fill(~same, IGNORE)
    return labels
