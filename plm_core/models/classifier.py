"""A classifier of whole texts: the trunk of a BERT, its pooler, and one linear layer that is learned anew."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from plm_core.models.bert import Bert, BertConfig, Pooler, run_trunk
from plm_core.models.config import make_position
from plm_core.models.inputs import Embeddings
from plm_core.models.transformer import Stack, Trace, initialise
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


class BertClassifier(nn.Module):
    """Trunk, pooler and a linear layer over the classes (Devlin et al. 2019, section 4.1).

    Args:
        config: its shape.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        position = make_position(config, bidirectional=True)
        self.embeddings = Embeddings(config, position, type_vocab_size=config.type_vocab_size, norm=True)
        self.encoder = Stack(config, position)
        self.pooler = Pooler(config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self._ties = shared_parameters(self)
        initialise(self, std=config.initializer_range)

    @classmethod
    def from_pretrained(cls, bert: Bert, num_labels: int) -> BertClassifier:
        """A classifier with a copy of a pretrained model's trunk and pooler; only the last layer is new.

        The last layer is drawn from torch's global generator.
        """
        made = cls(ClassifierConfig(**{**vars(bert.config), "num_labels": num_labels}))
        for part in ("embeddings", "encoder", "pooler"):
            made.get_submodule(part).load_state_dict(bert.get_submodule(part).state_dict())
        return made

    def tied_weights(self) -> dict[str, str]:
        """What a position scheme shares over layers: each alias and its parameter."""
        return dict(self._ties)

    def hidden_states(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """The trunk's last state, (B, T, D); arguments as in :meth:`forward`."""
        return run_trunk(
            self,
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            trace=trace,
        )

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Logits of the classes, (B, C).

        Args:
            input_ids: integers, (B, T), beginning with [CLS].
            attention_mask: bool, (B, T), True = real. None: all are real.
            token_type_ids: integers, (B, T). None: all 0.
            position_ids: integers, (B, T). None: counted from 0.
            trace: an empty :class:`~plm_core.models.transformer.Trace`, to be filled.

        Raises:
            ValueError: a sequence longer than the model, an id outside the vocabulary, a mask of the wrong shape.
        """
        x_BTD = self.hidden_states(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            trace=trace,
        )
        return self.classifier(self.dropout(self.pooler(x_BTD)))
