"""BERT: a bidirectional encoder with a masked-language-model head and a next-sentence head (Devlin et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

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

    def validate(self) -> None:
        """Refuse a negative or absurd number of token types."""
        super().validate()
        self.require_not_negative("type_vocab_size")
        self.require_at_most(type_vocab_size=2**16)

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
    """(B, T, D); None if only some tokens' states were computed (``query_positions``)."""
    pooler_output: Tensor
    """Tanh of a linear layer on the state of the first token, (B, D)."""
    prediction_logits: Tensor | None
    """(N, V), the N masked positions in reading order; None if no positions were given."""
    seq_relationship_logits: Tensor
    """(B, 2): class 0, the second sentence follows the first; class 1, it does not."""


class BertEncoder(nn.Module):
    """The trunk of every BERT: embeddings and a bidirectional stack of blocks, on which heads are put.

    Args:
        config: its shape.
        position: a position scheme to use instead of the one that the configuration names.
    """

    def __init__(self, config: BertConfig, *, position: PositionScheme | None = None) -> None:
        super().__init__()
        position = make_position(config, bidirectional=True) if position is None else position
        self.embeddings = Embeddings(config, position, type_vocab_size=config.type_vocab_size, norm=True)
        self.stack = Stack(config, position)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        query_positions: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The last hidden state, (B, T, D).

        Args:
            input_ids: integers, (B, T).
            attention_mask: bool, True = real, (B, T), or (B, T, T) for packed documents. None: all are real.
            sequences: the sequences that the mask describes, if the caller knows them; they make it unnecessary to read
                them off the mask.
            query_positions: bool, (B, T): the tokens whose state is needed; those of others may be zeros. None: all.
            token_type_ids: integers, (B, T): 0 for the first sentence, 1 for the second. None: all 0.
            position_ids: integers, (B, T); see :class:`~plm_core.models.inputs.Embeddings`.
            trace: an empty :class:`~plm_core.models.transformer.Trace`, to be filled.

        Raises:
            ValueError: a sequence longer than the model, an id outside the vocabulary, a mask of the wrong shape.
        """
        batch, tokens = input_ids.shape
        x_BTD = self.embeddings(input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
        mask = expand_mask(attention_mask, batch=batch, queries=tokens, keys=tokens)
        return self.stack(x_BTD, mask=mask, sequences=sequences, query_positions=query_positions, trace=trace)


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
        """(N, D) -> (N, V) for the states of N chosen tokens."""
        return self.decoder(self.norm(activate(self.dense(x_ND), self.hidden_act)))


class Bert(nn.Module):
    """A bidirectional encoder with both pretraining heads.

    Args:
        config: its shape.
        position: a position scheme to use instead of the one that the configuration names.
    """

    untrained_heads: tuple[str, ...] = ()
    """Heads with initial weights in a model whose other weights were trained elsewhere, such as ``"mlm_head"``."""

    def __init__(self, config: BertConfig, *, position: PositionScheme | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertEncoder(config, position=position)
        self.pooler = Pooler(config.hidden_size)
        self.mlm_head = MaskedLMHead(config)
        self.nsp_head = nn.Linear(config.hidden_size, 2)
        if config.tie_word_embeddings:
            self.mlm_head.decoder.weight = self.encoder.embeddings.word_embeddings.weight
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

    def require_trained(self, *heads: str) -> None:
        """Refuse to use heads that still have their initial weights.

        Raises:
            ValueError: names the first of :attr:`untrained_heads` among them.
        """
        for head in heads:
            if head in self.untrained_heads:
                raise ValueError(
                    f"this model came without its {head}: the published weights do not hold it, so that what it would "
                    "predict is random. Train the model first (plm train, init_from=...), or use its hidden states "
                    "(plm_core.interop.embed_texts)"
                )

    def tied_weights(self) -> dict[str, str]:
        """Each alias and the parameter it shares: the MLM decoder, and what a position scheme shares over layers."""
        return dict(self._ties)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        query_positions: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        masked_positions: Tensor | None = None,
        trace: Trace | None = None,
    ) -> BertOutput:
        """Run encoder, pooler and heads.

        Args:
            input_ids, attention_mask, sequences, token_type_ids, position_ids, trace: as for :class:`BertEncoder`.
            query_positions: bool, (B, T), the tokens whose last state the heads need: the first of each row and the
                masked ones (:func:`positions_of_heads`). The last block may then compute these alone. Logits and
                gradients stay the same, and ``last_hidden_state`` is None. None: all tokens.
            masked_positions: bool, (B, T), True where a token is to be predicted, or integers, (N,): the indices of
                these tokens in reading order. The head runs there only: at 15 % of the tokens it costs 15 % of the
                time and memory, and ``labels[masked_positions]`` lines up with it.

        Raises:
            ValueError: a sequence longer than the model, an id outside the vocabulary, a mask of the wrong shape.
        """
        check_masked_positions(masked_positions, input_ids)
        x_BTD = self.encoder(
            input_ids,
            attention_mask=attention_mask,
            sequences=sequences,
            query_positions=query_positions,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            trace=trace,
        )
        prediction_logits = None
        if masked_positions is not None:
            is_mask = masked_positions.dtype == torch.bool
            states_ND = x_BTD[masked_positions] if is_mask else x_BTD.flatten(0, 1)[masked_positions]
            prediction_logits = self.mlm_head(states_ND)
        pooled_BD = self.pooler(x_BTD)
        last_hidden_state = x_BTD if query_positions is None else None
        return BertOutput(last_hidden_state, pooled_BD, prediction_logits, self.nsp_head(pooled_BD))


def check_masked_positions(masked_positions: Tensor | None, input_ids: Tensor) -> None:
    """Raise ValueError if masked positions are neither a bool mask of the ids' shape nor a list of indices."""
    if masked_positions is None:
        return
    is_mask = masked_positions.dtype == torch.bool
    if masked_positions.shape != input_ids.shape if is_mask else masked_positions.dim() != 1:
        raise ValueError(
            f"masked_positions must be bool of shape {tuple(input_ids.shape)} or integers of shape (N,), got "
            f"{masked_positions.dtype} of shape {tuple(masked_positions.shape)}"
        )


def positions_of_heads(input_ids: Tensor, masked_positions: Tensor) -> Tensor:
    """The tokens whose last state the pretraining heads need: the first of each row and the masked ones.

    Args:
        input_ids: integers, (B, T).
        masked_positions: bool, (B, T), or indices in reading order, (N,).

    Returns:
        bool, (B, T): the ``query_positions`` of :class:`Bert`.
    """
    query_positions_BT = torch.zeros_like(input_ids, dtype=torch.bool)
    if masked_positions.dtype == torch.bool:
        query_positions_BT |= masked_positions
    else:
        query_positions_BT.view(-1)[masked_positions] = True
    query_positions_BT[:, 0] = True
    return query_positions_BT
