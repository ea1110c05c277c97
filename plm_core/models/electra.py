"""ELECTRA: a small masked language model fills gaps, and an encoder finds the tokens that it changed.

The generator is a :class:`~plm_core.models.bert.Bert`. A token is drawn from its prediction at every masked position,
and the discriminator says of each token of the result whether it was replaced. After pretraining only the
discriminator is kept (:meth:`Discriminator.as_bert`).

Shapes are written into names: B batch, T tokens, D model width, V vocabulary, N masked positions.
Source: Clark et al. (2020), "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plm_core.models.bert import Bert, BertConfig, BertEncoder
from plm_core.models.blocks import activate
from plm_core.models.positions import Learned
from plm_core.models.transformer import initialise
from plm_core.models.varlen import PackedSequences
from plm_core.weights import shared_parameters, tie_weights

SHARED_SIZES = ("hidden_size", "type_vocab_size", "position", "max_position_embeddings")
"""What two configurations must have in common for their networks to share embeddings."""


@dataclass(frozen=True)
class ElectraOutput:
    """What a forward pass of :class:`Electra` returns."""

    prediction_logits: Tensor
    """The generator's logits at the masked positions in reading order, (N, V)."""
    corrupted_ids: Tensor
    """What the discriminator read: the input with a sample of the generator at each masked position, (B, T)."""
    replaced_logits: Tensor
    """The discriminator's logit that a token was replaced, (B, T); those of padding mean nothing."""


class ReplacedTokenHead(nn.Module):
    """States to one logit for each token: linear, activation, linear."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.hidden_act = config.hidden_act
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, 1)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T)."""
        return self.out(activate(self.dense(x_BTD), self.hidden_act)).squeeze(-1)


class Discriminator(nn.Module):
    """An encoder that says of each token whether it was replaced.

    Args:
        config: its shape.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertEncoder(config)
        self.head = ReplacedTokenHead(config)
        self._ties = shared_parameters(self)
        initialise(self, std=config.initializer_range)

    def tied_weights(self) -> dict[str, str]:
        """What a position scheme shares over layers: each alias and its parameter."""
        return dict(self._ties)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """The logit that each token was replaced, (B, T); arguments and errors as for
        :class:`~plm_core.models.bert.BertEncoder`."""
        x_BTD = self.encoder(
            input_ids,
            attention_mask=attention_mask,
            sequences=sequences,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
        )
        return self.head(x_BTD)

    def as_bert(self) -> Bert:
        """A Bert on a copy of the encoder, to be fine-tuned; its heads have their initial weights.

        The heads' initial weights are drawn from torch's global generator.
        """
        made = Bert(self.config)
        made.encoder.load_state_dict(self.encoder.state_dict())
        made.untrained_heads = ("pooler", "mlm_head", "nsp_head")
        return made


class Electra(nn.Module):
    """A generator and a discriminator that are trained together.

    The published generator is narrower than the discriminator, and a linear layer leads from the shared embeddings to
    its width. A :class:`~plm_core.models.bert.Bert` has no such layer: a generator that shares embeddings is made small
    by fewer blocks and narrower feed-forward networks, and one of another width has embeddings of its own.

    Args:
        generator: the shape of the generator.
        discriminator: the shape of the discriminator.
        share_embeddings: whether the two have the tables of words, token types and learned positions in common (the
            paper shares tokens and positions, section 3.2). Norms are not shared.

    Raises:
        ValueError: vocabularies of different sizes, or shapes that cannot share embeddings.
    """

    def __init__(self, generator: BertConfig, discriminator: BertConfig, *, share_embeddings: bool = True) -> None:
        super().__init__()
        if generator.vocab_size != discriminator.vocab_size:
            raise ValueError(
                f"the discriminator reads the generator's tokens, so both need the same vocab_size; got "
                f"{generator.vocab_size} and {discriminator.vocab_size}"
            )
        self.discriminator = Discriminator(discriminator)
        self.generator = Bert(generator)
        if share_embeddings:
            self.share_embeddings()
        self._ties = shared_parameters(self)

    def share_embeddings(self) -> None:
        """Give the generator the discriminator's tables of words, token types and learned positions.

        Raises:
            ValueError: the two shapes differ in what the tables depend on.
        """
        for name in SHARED_SIZES:
            ours, theirs = getattr(self.discriminator.config, name), getattr(self.generator.config, name)
            if ours != theirs:
                raise ValueError(
                    f"shared embeddings need the same {name}: the generator has {theirs}, the discriminator {ours}; "
                    "make the generator small by num_hidden_layers and intermediate_size, or set share_embeddings=False"
                )
        source, target = self.discriminator.encoder.embeddings, self.generator.encoder.embeddings
        target.word_embeddings.weight = source.word_embeddings.weight
        if source.token_type_embeddings is not None and target.token_type_embeddings is not None:
            target.token_type_embeddings.weight = source.token_type_embeddings.weight
        if isinstance(source.position, Learned) and isinstance(target.position, Learned):
            target.position.table.weight = source.position.table.weight
        tie_weights(self.generator)  # its MLM head, to the new table

    def tied_weights(self) -> dict[str, str]:
        """Each alias and the parameter it shares: the generator's embeddings and MLM decoder, and what a position
        scheme shares over layers."""
        return dict(self._ties)

    def forward(
        self,
        input_ids: Tensor,
        *,
        masked_positions: Tensor,
        attention_mask: Tensor | None = None,
        sequences: PackedSequences | None = None,
        query_positions: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        random_generator: torch.Generator | None = None,
    ) -> ElectraOutput:
        """Fill the masked positions with samples of the generator, and run the discriminator on the result.

        No gradient flows from the discriminator through the samples.

        Args:
            input_ids, attention_mask, sequences, token_type_ids, position_ids: as for
                :class:`~plm_core.models.bert.BertEncoder`.
            masked_positions, query_positions: as for :meth:`plm_core.models.bert.Bert.forward`, for the generator.
            random_generator: what the samples are drawn with, on the device of the ids; None for torch's global one,
                whose state is in every checkpoint.

        Raises:
            ValueError: as :meth:`plm_core.models.bert.Bert.forward`.
        """
        layout = {
            "attention_mask": attention_mask,
            "sequences": sequences,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
        }
        predicted = self.generator(
            input_ids, masked_positions=masked_positions, query_positions=query_positions, **layout
        )
        sampled_N = sample_tokens(predicted.prediction_logits, generator=random_generator)
        corrupted_BT = input_ids.clone(memory_format=torch.contiguous_format)
        corrupted_BT.view(-1)[masked_positions.flatten()] = sampled_N
        return ElectraOutput(predicted.prediction_logits, corrupted_BT, self.discriminator(corrupted_BT, **layout))


@torch.no_grad()
def sample_tokens(logits_NV: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw a token from each distribution by inversion, (N,).

    One random number is drawn for each row, in the order of the rows. On a CPU, rows in one call and the same rows in
    several calls therefore get the same tokens.

    Args:
        logits_NV: (N, V).
        generator: on the device of the logits; None for torch's global one.
    """
    cumulative_NV = logits_NV.float().softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    total_N = cumulative_NV[:, -1]
    uniform_N = torch.rand(len(logits_NV), generator=generator, dtype=torch.float64, device=logits_NV.device)
    point_N = torch.minimum(uniform_N * total_N, torch.nextafter(total_N, torch.zeros_like(total_N)))
    return torch.searchsorted(cumulative_NV, point_N[:, None], right=True).squeeze(1)  # never one of probability 0
