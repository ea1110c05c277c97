"""Classification of relations as a task of fine-tuning: how two marked words of a text relate."""

from __future__ import annotations

from typing import Any

from torch import nn

from plm_core.data.label_names import LabelNames
from plm_core.data.labelled_rows import Row
from plm_core.data.relations import parse_marked, relation_row
from plm_core.data.tokenizers import Tokenizer
from plm_core.models.bert import Bert
from plm_core.models.gpt import Gpt
from plm_core.models.heads import RelationClassifier
from plm_core.objectives.base import Objective
from plm_core.objectives.relations import RelationClassification
from plm_core.runs.fine_tune_config import FineTuneConfig
from plm_core.runs.fine_tune_tasks import TextTask


class RelationTask(TextTask):
    """Classification of texts by the relation of two words in marks.

    Args:
        config: the run.
        tokenizer: the pretrained model's.
        names: the relations; None to take those of the training file.
        causal: whether the pretrained model is causal.
    """

    def __init__(
        self, config: FineTuneConfig, tokenizer: Tokenizer, names: LabelNames | None = None, *, causal: bool = False
    ) -> None:
        super().__init__(config, tokenizer, names)
        self.causal = causal
        self.objective: Objective = RelationClassification()

    def texts(self, table: Any) -> list[Any]:
        """The texts of a table, their marks replaced by punctuation."""
        pairs = zip(super().texts(table), table.lines, strict=True)
        return [parse_marked(text, f"{table.path}, line {line}") for text, line in pairs]

    def rows(self, texts: list[Any], numbers: list[int] | None) -> tuple[list[Row], int]:
        """Texts as rows, and how many of them were cut."""
        made = [
            relation_row(
                text,
                self.tokenizer,
                label=None if numbers is None else numbers[place],
                max_length=self.config.max_length,
                causal=self.causal,
                where=f"example {place + 1}",
            )
            for place, text in enumerate(texts)
        ]
        return [row for row, _ in made], sum(cut for _, cut in made)

    def make_model(self, source: Bert | Gpt) -> nn.Module:
        """The head on a copy of the pretrained trunk."""
        return RelationClassifier.from_pretrained(source, len(self.names))
