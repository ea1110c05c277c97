"""Classification of marked pairs: how two words or names of a text relate."""

from __future__ import annotations

from typing import Any

from plm_core.data.batch import Batch
from plm_core.objectives.classification import Classification


class RelationClassification(Classification):
    """The sum of -log p(relation) over texts; labels and logits as for
    :class:`~plm_core.objectives.classification.Classification`.

    The batch also needs ``marker_positions``, integers (B, 2), for
    :class:`~plm_core.models.heads.RelationClassifier`.
    """

    name = "relation_classification"

    def for_evaluation(self) -> RelationClassification:
        """The same task without label smoothing."""
        return RelationClassification()

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The ids, with mask and token types where the batch has them, and where the markers stand."""
        return super().inputs(batch) | {"marker_positions": batch["marker_positions"]}
