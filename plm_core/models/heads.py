"""Heads for a task on the trunk of a pretrained Bert or Gpt: whole texts, single tokens, spans, and marked pairs.

====================================  ====================================  ===========================================
class                                 output                                source
====================================  ====================================  ===========================================
:class:`SequenceClassifier`           (B, C), one label for a text          Radford et al. (2018), section 3.3
:class:`TokenClassifier`              (B, T, C), one label for each token   Devlin et al. (2019), section 5.3
:class:`SpanExtractor`                where an answer begins and ends       Devlin et al. (2019), section 4.2
:class:`RelationClassifier`           (B, C), how two marked words relate   Baldini Soares et al. (2019), section 3.3
====================================  ====================================  ===========================================

A pair of *texts* needs no head of its own: it is one sequence, ``[CLS] first [SEP] second [SEP]``. BERT's own
classifier, which reads the first token through the pretrained pooler, is
:class:`~plm_core.models.classifier.BertClassifier`; :func:`sequence_classifier` chooses between the two.

Shapes are written into names: B batch, T tokens, D model width, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from plm_core.models.bert import Bert, BertConfig, BertEncoder
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.config import make_position
from plm_core.models.dropout import Dropout
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.inputs import Embeddings, check_ids, expand_mask
from plm_core.models.transformer import Stack, Trace, initialise
from plm_core.models.varlen import PackedSequences
from plm_core.weights import shared_parameters

Pooling = Literal["first", "last", "mean"]
"""What stands for a whole text: the state of its first or of its last real token, or the mean over the real ones."""


@dataclass(frozen=True)
class BertHeadConfig(ClassifierConfig):
    """The shape of a Bert's trunk with one of the heads."""

    pooling: Pooling = "first"
    """What a :class:`SequenceClassifier` reads; the other heads make no use of it."""


@dataclass(frozen=True)
class GptHeadConfig(GptConfig):
    """The shape of a Gpt's trunk with one of the heads."""

    num_labels: int = 2
    """Number of classes."""
    pooling: Pooling = "last"
    """What a :class:`SequenceClassifier` reads; the other heads make no use of it."""

    def validate(self) -> None:
        """Refuse fewer than two classes, and pooling by the first token, which has seen nothing but itself."""
        super().validate()
        if self.num_labels < 2:
            raise ValueError(f"GptHeadConfig.num_labels must be at least 2, got {self.num_labels}")
        self.require_at_most(num_labels=2**20)
        if self.pooling == "first":
            raise ValueError(
                "pooling 'first' of a causal model: its first token has seen no other token; use 'last' or 'mean'"
            )


HeadConfig = BertHeadConfig | GptHeadConfig


class GptEncoder(nn.Module):
    """The trunk of a Gpt: embeddings and a causal stack, without the output layer.

    Args:
        config: its shape.
    """

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        position = make_position(config, bidirectional=False)
        self.embeddings = Embeddings(config, position)
        self.decoder = Stack(config, position)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The last hidden state, (B, T, D); arguments and errors as for :meth:`plm_core.models.gpt.Gpt.hidden_states`.
        ``token_type_ids`` are not used, as a Gpt has no token types; one batch serves both kinds of trunk."""
        batch, tokens = input_ids.shape
        x_BTD = self.embeddings(input_ids, position_ids=position_ids)
        mask = expand_mask(attention_mask, batch=batch, queries=tokens, keys=tokens)
        return self.decoder(x_BTD, mask=mask, sequences=sequences, is_causal=True, trace=trace)


class HeadedModel(nn.Module):
    """A trunk and a linear layer on some of its states: what the heads of this module have in common.

    Args:
        config: the shape; its class decides whether the trunk is a Bert's or a Gpt's.
        outputs: outputs of the linear layer; the configuration's ``num_labels`` if None.
        states: number of states that the linear layer reads side by side.
    """

    def __init__(self, config: HeadConfig, *, outputs: int | None = None, states: int = 1) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertEncoder(config) if isinstance(config, BertConfig) else GptEncoder(config)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(states * config.hidden_size, config.num_labels if outputs is None else outputs)
        self._ties = shared_parameters(self)
        std, layers = config.initializer_range, config.num_hidden_layers
        branches = std / math.sqrt(2 * layers) if isinstance(config, GptConfig) and layers else None
        initialise(self, std=std, residual_std=branches)

    @classmethod
    def from_pretrained(cls, model: Bert | Gpt, num_labels: int = 2, *, pooling: Pooling | None = None) -> Self:
        """The head on a copy of a pretrained model's trunk; only the last layer is new.

        The initial weights of the last layer are drawn from torch's global generator.

        Args:
            model: its trunk is copied, its own heads are left out.
            num_labels: number of classes.
            pooling: see :data:`Pooling`; None for the first token of a Bert and the last one of a Gpt.

        Raises:
            ValueError: fewer than two classes, or pooling by the first token of a Gpt.
        """
        changes = {"num_labels": num_labels} | ({} if pooling is None else {"pooling": pooling})
        settings = {**vars(model.config), **changes}
        made = cls(BertHeadConfig(**settings) if isinstance(model, Bert) else GptHeadConfig(**settings))
        trunk = model.encoder.state_dict() if isinstance(model, Bert) else model.state_dict()
        made.encoder.load_state_dict({name: tensor for name, tensor in trunk.items() if name != "lm_head.weight"})
        return made

    def tied_weights(self) -> dict[str, str]:
        """What a position scheme shares over layers: each alias and its parameter."""
        return dict(self._ties)

    def states(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The trunk's last state, (B, T, D); arguments and errors as for :class:`~plm_core.models.bert.BertEncoder`. A
        Gpt makes no use of ``token_type_ids``."""
        return self.encoder(
            input_ids,
            attention_mask=attention_mask,
            sequences=sequences,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            trace=trace,
        )


class SequenceClassifier(HeadedModel):
    """One label for a text: a linear layer on one vector that stands for all of it (see :data:`Pooling`)."""

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """Logits of the classes, (B, C).

        Args:
            input_ids, inputs: as for :meth:`HeadedModel.states`.
            attention_mask: bool, (B, T), True = real. None: all are real.

        Raises:
            ValueError: as :meth:`HeadedModel.states`; a mask of packed documents, (B, T, T).
        """
        x_BTD = self.states(input_ids, attention_mask=attention_mask, **inputs)
        return self.classifier(self.dropout(pool_states(x_BTD, attention_mask, self.config.pooling)))


class TokenClassifier(HeadedModel):
    """One label for each token: a linear layer on every state."""

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """Logits of the classes, (B, T, C); those of padding mean nothing. Arguments and errors as for
        :meth:`HeadedModel.states`."""
        x_BTD = self.states(input_ids, attention_mask=attention_mask, **inputs)
        return self.classifier(self.dropout(x_BTD))


@dataclass(frozen=True)
class SpanLogits:
    """Scores of where a span begins and where it ends; the lowest number there is where neither may be."""

    start: Tensor
    """(B, T), fp32 or more."""
    end: Tensor
    """(B, T), fp32 or more."""


class SpanExtractor(HeadedModel):
    """Where an answer begins and ends in a text: two scores for each token.

    Args:
        config: the shape; ``num_labels`` is not used.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config, outputs=2)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        candidates: Tensor | None = None,
        **inputs: Any,
    ) -> SpanLogits:
        """Scores of both ends of the span.

        Args:
            input_ids, inputs: as for :meth:`HeadedModel.states`.
            attention_mask: bool, (B, T), True = real. None: all are real.
            candidates: bool, (B, T), the tokens at which a span may begin or end, such as those of the text without
                the question's. Padding never is one. None: every real token.

        Raises:
            ValueError: as :meth:`HeadedModel.states`; a mask of packed documents, (B, T, T).
        """
        x_BTD = self.states(input_ids, attention_mask=attention_mask, **inputs)
        allowed_BT = require_padding_mask(attention_mask, x_BTD)
        if candidates is not None:
            allowed_BT = allowed_BT & candidates
        logits_BT2 = self.classifier(self.dropout(x_BTD))
        logits_BT2 = logits_BT2.to(torch.promote_types(logits_BT2.dtype, torch.float32))
        logits_BT2 = logits_BT2.masked_fill(~allowed_BT[:, :, None], torch.finfo(logits_BT2.dtype).min)
        return SpanLogits(*logits_BT2.unbind(dim=-1))


class RelationClassifier(HeadedModel):
    """How two words or names of a text relate: a linear layer on the states of two tokens, side by side.

    The tokens are those of two markers that the data puts before the words, ``[E1] Ann [E2] Bob`` ("entity start" in
    the source). With a Gpt, put a marker after its words: a state knows only what stands before it.

    Args:
        config: the shape.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config, states=2)

    def forward(
        self,
        input_ids: Tensor,
        *,
        marker_positions: Tensor,
        attention_mask: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """Logits of the classes, (B, C).

        Args:
            marker_positions: integers, (B, 2), where in its row each of the two tokens stands.
            input_ids, attention_mask, inputs: as for :meth:`HeadedModel.states`.

        Raises:
            ValueError: as :meth:`HeadedModel.states`; positions of another shape or beyond the row.
        """
        batch, tokens = input_ids.shape
        if marker_positions.shape != (batch, 2):
            raise ValueError(f"marker_positions must have shape {(batch, 2)}, got {tuple(marker_positions.shape)}")
        check_ids(marker_positions, tokens, "marker_positions")
        x_BTD = self.states(input_ids, attention_mask=attention_mask, **inputs)
        x_B2D = x_BTD.gather(1, marker_positions[:, :, None].expand(-1, -1, x_BTD.shape[-1]))
        return self.classifier(self.dropout(x_B2D.flatten(1)))


def sequence_classifier(
    model: Bert | Gpt, num_labels: int, *, pooling: Pooling | Literal["pooler"] | None = None
) -> BertClassifier | SequenceClassifier:
    """A classifier of texts on a copy of a pretrained model's trunk; only the last layer is new.

    Args:
        model: the pretrained model.
        num_labels: number of classes.
        pooling: see :data:`Pooling`; ``"pooler"`` is a Bert's pretrained pooler on the first token. None for the pooler
            of a Bert, unless the model came without it, and the last token of a Gpt.

    Raises:
        ValueError: fewer than two classes; a pooler that the model does not have, or the first token of a Gpt.
    """
    if pooling is None and isinstance(model, Bert):
        pooling = "mean" if "pooler" in model.untrained_heads else "pooler"
    if pooling != "pooler":
        return SequenceClassifier.from_pretrained(model, num_labels, pooling=pooling)
    if not isinstance(model, Bert):
        raise ValueError("a Gpt has no pooler: use pooling 'last' or 'mean'")
    return BertClassifier.from_pretrained(model, num_labels)


def pool_states(x_BTD: Tensor, attention_mask: Tensor | None, pooling: Pooling) -> Tensor:
    """One vector for each row, (B, D), whichever side its padding is on; zeros or a padding's state if none is real.

    Args:
        x_BTD: states, (B, T, D).
        attention_mask: bool, (B, T), True = real. None: all are real.
        pooling: see :data:`Pooling`.

    Raises:
        ValueError: a mask of another shape.
    """
    real_BT = require_padding_mask(attention_mask, x_BTD).to(torch.uint8)
    if pooling == "mean":
        real_BT1 = real_BT[:, :, None].to(x_BTD.dtype)
        return (x_BTD * real_BT1).sum(dim=1) / real_BT1.sum(dim=1).clamp(min=1)
    at_B = real_BT.argmax(dim=1) if pooling == "first" else x_BTD.shape[1] - 1 - real_BT.flip(1).argmax(dim=1)
    return x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), at_B]


def require_padding_mask(attention_mask: Tensor | None, x_BTD: Tensor) -> Tensor:
    """Which tokens are real, bool (B, T), all of them without a mask; ValueError for a mask of another shape."""
    if attention_mask is None:
        return torch.ones(x_BTD.shape[:2], dtype=torch.bool, device=x_BTD.device)
    if attention_mask.shape != x_BTD.shape[:2]:
        raise ValueError(
            f"this head takes one text a row: attention_mask must have shape {tuple(x_BTD.shape[:2])}, got "
            f"{tuple(attention_mask.shape)}"
        )
    return attention_mask
