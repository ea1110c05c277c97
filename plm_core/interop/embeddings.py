"""One vector for a whole text: the mean of an encoder's last states, of length one.

Vectors of texts that mean similar things have a large inner product, if the encoder was trained for that (Reimers and
Gurevych 2019). This is what the library sentence-transformers computes for a model with mean pooling and normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from plm_core.data.tokenizers import Tokenizer
from plm_core.models.bert import Bert
from plm_core.models.classifier import BertClassifier


def mean_pooling(x_BTD: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the real tokens of each sequence.

    Args:
        x_BTD: states, (B, T, D).
        attention_mask: bool, (B, T), True = real.

    Returns:
        (B, D); zeros for a sequence without a real token.
    """
    mask_BT1 = attention_mask[:, :, None].to(x_BTD.dtype)
    return (x_BTD * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1).clamp(min=1e-9)


@torch.no_grad()
def embed_texts(
    model: Bert | BertClassifier,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    max_length: int = 256,
    batch_size: int = 32,
) -> Tensor:
    """The normalised mean of the last states of each text.

    Args:
        model: an encoder; it is computed in evaluation mode, and left in the mode that it was in.
        tokenizer: that of the model.
        texts: N texts.
        max_length: longer texts are cut to so many tokens, special ones included: 256 for all-MiniLM-L6-v2.
        batch_size: texts that are computed at once; texts of similar lengths are put together.

    Returns:
        (N, D) on the CPU, each row of length 1: inner products are cosines.

    Example: ``embed_texts(*pretrained("all-minilm-l6-v2"), ["A cat sleeps.", "一只猫在睡觉。"])``.
    """
    device = model.encoder.embeddings.word_embeddings.weight.device
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    vectors = torch.zeros(len(texts), model.config.hidden_size)
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            numbers = order[start : start + batch_size]
            chosen = [texts[number] for number in numbers]
            batch = tokenizer.batch(chosen, max_length=max_length, truncation="longest_first")
            mask = batch["attention_mask"].to(device)
            x_BTD = model.encoder(batch["input_ids"].to(device), attention_mask=mask)
            vectors[numbers] = F.normalize(mean_pooling(x_BTD, mask), dim=-1).float().cpu()
    finally:
        model.train(was_training)
    return vectors
