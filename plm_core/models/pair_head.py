"""A head on pairs of tokens, and a Bert that has it beside its pretraining heads.

Shapes are written into names: B batch, T tokens, D model width, P pairs, C labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from plm_core.models.bert import Bert, BertConfig, BertOutput
from plm_core.models.blocks import activate, make_norm
from plm_core.models.positions import PositionScheme
from plm_core.models.transformer import initialise


@dataclass(frozen=True)
class PairOutput(BertOutput):
    """What a forward pass of :class:`BertWithPairs` returns."""

    pair_logits: Tensor | None = None
    """(P, C), the pairs that were asked for; None if none were."""


class PairHead(nn.Module):
    """Two states to logits: linear on both side by side, activation, norm, linear.

    A linear layer alone adds up what each state says on its own. That would do where the states hold their places
    linearly: scores ``2d·(j - i) - d²`` are highest at the distance d = j - i. The hidden layer asks less of them.

    Args:
        config: the model's width, activation and norm.
        num_labels: C.
    """

    def __init__(self, config: BertConfig, num_labels: int) -> None:
        super().__init__()
        self.hidden_act = config.hidden_act
        self.dense = nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.norm = make_norm(config.hidden_size, norm=config.norm, eps=config.layer_norm_eps)
        self.classifier = nn.Linear(config.hidden_size, num_labels)

    def forward(self, x_P2D: Tensor) -> Tensor:
        """(P, 2, D) -> (P, C); the order of the two states matters."""
        return self.classifier(self.norm(activate(self.dense(x_P2D.flatten(1)), self.hidden_act)))


class BertWithPairs(Bert):
    """A :class:`~plm_core.models.bert.Bert` with a third head, on pairs of tokens.

    One trunk for several stages of pretraining: a stage trains the trunk and the head that its objective asks for.

    Args:
        config: its shape.
        num_pair_labels: labels of a pair; :attr:`plm_core.data.token_pairs.TokenPairConfig.num_labels`.
        position: as of :class:`~plm_core.models.bert.Bert`.
    """

    def __init__(self, config: BertConfig, *, num_pair_labels: int, position: PositionScheme | None = None) -> None:
        super().__init__(config, position=position)
        self.pair_head = PairHead(config, num_pair_labels)
        initialise(self.pair_head, std=config.initializer_range)

    def forward(self, input_ids: Tensor, *, token_pairs: Tensor | None = None, **inputs: Any) -> PairOutput:
        """Run encoder, pooler and the heads that are asked for.

        Args:
            input_ids: integers, (B, T).
            token_pairs: integers, (P, 2): places of the two tokens of each pair among the B·T in reading order.
            inputs: as of :meth:`plm_core.models.bert.Bert.forward`; with pairs, the states of all tokens are computed.

        Raises:
            ValueError: pairs of another shape, or as the Bert's.
        """
        if token_pairs is not None:
            if token_pairs.dim() != 2 or token_pairs.shape[1] != 2:
                raise ValueError(f"token_pairs must have shape (P, 2), got {tuple(token_pairs.shape)}")
            inputs["query_positions"] = None
        output = super().forward(input_ids, **inputs)
        pair_logits = None
        if token_pairs is not None:
            assert output.last_hidden_state is not None
            states_ND = output.last_hidden_state.flatten(0, 1)
            pair_logits = self.pair_head(states_ND[token_pairs])  # (P, 2, D) -> (P, C)
        return PairOutput(**vars(output), pair_logits=pair_logits)
