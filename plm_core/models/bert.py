"""BERT: a bidirectional encoder with a masked-language-model head and a next-sentence head (Devlin et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from plm_core.models.blocks import NormPosition, activate, make_norm
from plm_core.models.config import TransformerConfig, make_position
from plm_core.models.inputs import Embeddings, expand_mask
from plm_core.models.positions import PositionScheme
from plm_core.models.transformer import Stack, Trace, initialise
from plm_core.models.varlen import PackedSequences
from plm_core.weights import shared_parameters


@dataclass(frozen=True)
class BertConfig(TransformerConfig):
    """The shape of a :class:`Bert`."""

    norm_position: NormPosition = "post"
    """BERT normalises after each sum."""
    layer_norm_eps: float = 1e-12
    """Epsilon of every norm."""
    type_vocab_size: int = 2
    """Number of token types: first and second sentence. 0 for none."""

    @classmethod
    def tiny(cls, vocab_size: int) -> BertConfig:
        """0.4 million parameters besides the embeddings: learns in a minute on two CPU cores."""
        return cls(vocab_size=vocab_size, hidden_size=128, num_hidden_layers=2, num_attention_heads=4)

    @classmethod
    def small(cls, vocab_size: int) -> BertConfig:
        """13 million parameters besides the embeddings, the shape of Turc et al. (2019): for one small GPU."""
        return cls(
            vocab_size=vocab_size,
            hidden_size=512,
            num_hidden_layers=4,
            num_attention_heads=8,
            intermediate_size=2048,
            max_position_embeddings=512,
        )

    @classmethod
    def base(cls) -> BertConfig:
        """BERT-base, uncased: 110 million parameters (Devlin et al. 2019)."""
        return cls(
            vocab_size=30522,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            max_position_embeddings=512,
        )


@dataclass(frozen=True)
class BertOutput:
    """What a forward pass of :class:`Bert` returns, named as in Hugging Face."""

    last_hidden_state: Tensor | None
    """(B, T, D); None if only the heads were asked for."""
    pooler_output: Tensor
    """(B, D): tanh of a linear layer on the first token."""
    prediction_logits: Tensor | None
    """(N, V), the N masked positions in reading order; None if no positions were given."""
    seq_relationship_logits: Tensor
    """(B, 2): class 0, the second sentence follows the first; class 1, it does not."""


class Pooler(nn.Module):
    """The first token's state through a linear layer and tanh: one vector for the whole sequence."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, D)."""
        return self.dense(x_BTD[:, 0]).tanh()


class MaskedLMHead(nn.Module):
    """States to logits over the vocabulary: linear, activation, norm, then the word embeddings and a bias."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.hidden_act = config.hidden_act
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = make_norm(config.hidden_size, norm=config.norm, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, x_ND: Tensor) -> Tensor:
        """(N, D) -> (N, V); N states that somebody has picked, not whole sequences."""
        return self.decoder(self.norm(activate(self.dense(x_ND), self.hidden_act)))


class Bert(nn.Module):
    """A bidirectional encoder with both pretraining heads.

    Args:
        config: its shape.
        position: a position scheme to use instead of the one that the configuration names.
    """

    def __init__(self, config: BertConfig, *, position: PositionScheme | None = None) -> None:
        super().__init__()
        self.config = config
        position = make_position(config, bidirectional=True) if position is None else position
        self.embeddings = Embeddings(config, position, type_vocab_size=config.type_vocab_size, norm=True)
        self.encoder = Stack(config, position)
        self.pooler = Pooler(config.hidden_size)
        self.mlm_head = MaskedLMHead(config)
        self.nsp_head = nn.Linear(config.hidden_size, 2)
        if config.tie_word_embeddings:
            self.mlm_head.decoder.weight = self.embeddings.word_embeddings.weight
        self._ties = shared_parameters(self)
        self.init_weights()

    def init_weights(self) -> None:
        """Draw all weights anew. (The paper truncates the normal distribution at two deviations.)

        ======================================  ===================================
        linear layers, word and type vectors    N(0, initializer_range²)
        learned positions                       N(0, initializer_range²)
        word embeddings, sinusoidal positions   N(0, 1/D), as they are multiplied by sqrt(D)
        biases                                  0
        norms                                   scale 1, shift 0
        other position parameters               by their classes
        ======================================  ===================================
        """
        initialise(self, std=self.config.initializer_range)

    def tied_weights(self) -> dict[str, str]:
        """Each alias and the parameter it shares: the MLM decoder, and what a position scheme shares over layers."""
        return dict(self._ties)

    def hidden_states(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | PackedSequences | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        trace: Trace | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """The trunk's last state, (B, T, D); arguments as in :meth:`forward`.

        ``wanted``, bool (B, T), names the tokens whose state will be read; those of others may be zeros.
        """
        return run_trunk(
            self,
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            trace=trace,
            wanted=wanted,
        )

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | PackedSequences | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        masked_positions: Tensor | None = None,
        heads_only: bool = False,
        trace: Trace | None = None,
    ) -> BertOutput:
        """Trunk, pooler and heads.

        Args:
            input_ids: integers, (B, T).
            attention_mask: bool, True = real, (B, T), or (B, T, T) for packed documents, or the sequences themselves
                (:class:`~plm_core.models.varlen.PackedSequences`). None: all are real.
            token_type_ids: integers, (B, T): 0 for the first sentence, 1 for the second. None: all 0.
            position_ids: integers, (B, T); see :class:`~plm_core.models.inputs.Embeddings`.
            masked_positions: bool, (B, T), True where a token is to be predicted, or integers, (N,): the numbers of
                these tokens in reading order. The head runs there only: at 15 % of the tokens it costs 15 % of the
                time and memory, and ``labels[masked_positions]`` lines up with it.
            heads_only: return no ``last_hidden_state``: then the last block may be run on the tokens that the heads
                read, the masked ones and the first, which ask all others. Values and gradients stay the same.
            trace: an empty :class:`~plm_core.models.transformer.Trace`, to be filled.

        Raises:
            ValueError: a sequence longer than the model, an id outside the vocabulary, a mask of the wrong shape.
        """
        wanted = None
        if masked_positions is not None:
            is_mask = masked_positions.dtype == torch.bool
            if masked_positions.shape != input_ids.shape if is_mask else masked_positions.dim() != 1:
                raise ValueError(
                    f"masked_positions must be bool of shape {tuple(input_ids.shape)} or integers of shape (N,), got "
                    f"{masked_positions.dtype} of shape {tuple(masked_positions.shape)}"
                )
            if heads_only:
                wanted = read_by_heads(input_ids, masked_positions)
        x_BTD = self.hidden_states(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            trace=trace,
            wanted=wanted,
        )
        prediction_logits = None
        if masked_positions is not None:
            is_mask = masked_positions.dtype == torch.bool
            states_ND = x_BTD[masked_positions] if is_mask else x_BTD.flatten(0, 1)[masked_positions]
            prediction_logits = self.mlm_head(states_ND)
        pooled_BD = self.pooler(x_BTD)
        return BertOutput(None if heads_only else x_BTD, pooled_BD, prediction_logits, self.nsp_head(pooled_BD))


class HasTrunk(Protocol):
    """A model that turns ids into states by embeddings and an encoder."""

    embeddings: Embeddings
    encoder: Stack


def run_trunk(
    model: HasTrunk,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | PackedSequences | None = None,
    token_type_ids: Tensor | None = None,
    position_ids: Tensor | None = None,
    trace: Trace | None = None,
    wanted: Tensor | None = None,
) -> Tensor:
    """The last state of embeddings and encoder, (B, T, D); arguments as in :meth:`Bert.hidden_states`."""
    batch, tokens = input_ids.shape
    x_BTD = model.embeddings(input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
    mask = attention_mask
    if not isinstance(mask, PackedSequences):
        mask = expand_mask(mask, batch=batch, queries=tokens, keys=tokens)
    return model.encoder(x_BTD, mask=mask, trace=trace, wanted=wanted)


def read_by_heads(input_ids: Tensor, masked_positions: Tensor) -> Tensor | None:
    """The tokens whose last state a head reads, bool (B, T): the first of each row and the masked ones.

    None on devices where the look at the positions would make the host wait.
    """
    if input_ids.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    read_BT = torch.zeros_like(input_ids, dtype=torch.bool)
    if masked_positions.dtype == torch.bool:
        read_BT |= masked_positions
    else:
        read_BT.view(-1)[masked_positions] = True
    read_BT[:, 0] = True
    return read_BT
