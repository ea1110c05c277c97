"""A classifier of whole texts: the encoder of a BERT, its pooler, and a new linear layer over the classes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from plm_core.models.bert import Bert, BertConfig, BertEncoder, Pooler
from plm_core.models.transformer import Trace, initialise
from plm_core.models.varlen import PackedSequences
from plm_core.weights import shared_parameters


@dataclass(frozen=True)
class ClassifierConfig(BertConfig):
    """The shape of a :class:`BertClassifier`."""

    num_labels: int = 2
    """Number of classes."""

    def validate(self) -> None:
        """Refuse fewer than two classes."""
        super().validate()
        if self.num_labels < 2:
            raise ValueError(f"ClassifierConfig.num_labels must be at least 2, got {self.num_labels}")
        self.require_at_most(num_labels=2**20)


class BertClassifier(nn.Module):
    """Encoder, pooler and a linear layer over the classes (Devlin et al. 2019, section 4.1).

    Args:
        config: its shape.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertEncoder(config)
        self.pooler = Pooler(config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self._ties = shared_parameters(self)
        initialise(self, std=config.initializer_range)

    @classmethod
    def from_pretrained(cls, bert: Bert, num_labels: int) -> BertClassifier:
        """A classifier with a copy of a pretrained model's encoder and pooler; only the last layer is new.

        The initial weights of the last layer are drawn from torch's global generator.
        """
        made = cls(ClassifierConfig(**{**vars(bert.config), "num_labels": num_labels}))
        made.encoder.load_state_dict(bert.encoder.state_dict())
        made.pooler.load_state_dict(bert.pooler.state_dict())
        return made

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
        trace: Trace | None = None,
    ) -> Tensor:
        """Logits of the classes, (B, C).

        Args:
            input_ids: integers, (B, T), beginning with [CLS].
            attention_mask, sequences, token_type_ids, position_ids, trace: as for
                :class:`~plm_core.models.bert.BertEncoder`.

        Raises:
            ValueError: a sequence longer than the model, an id outside the vocabulary, a mask of the wrong shape.
        """
        x_BTD = self.encoder(
            input_ids,
            attention_mask=attention_mask,
            sequences=sequences,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            trace=trace,
        )
        return self.classifier(self.dropout(self.pooler(x_BTD)))
