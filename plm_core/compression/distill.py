"""Distillation: a small model, the student, is trained to predict the probabilities of a large one, the teacher.

The teacher's probabilities hold more information than the label: how wrong every other answer is. Softened by a
temperature τ, they are the target of a second loss beside the usual one (Hinton et al. 2015):

    (1 - w)·CE(label, student) + w·τ²·KL(teacher/τ || student/τ)

τ² keeps the size of the gradient: softened logits have gradients 1/τ² as large. Hidden states and attention weights
can be matched as well (Jiao et al. 2020), and the student can start from layers of the teacher (Sanh et al. 2019).

Shapes are written into names: N predictions, V words of the vocabulary or classes. Losses are sums over predictions or
tokens, in nats, with the counts by which a trainer divides them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plm_core.compression.saved import describe, rebuild
from plm_core.config import Config
from plm_core.data.batch import Batch, real_tokens
from plm_core.data.labels import IGNORE
from plm_core.models.bert import Bert
from plm_core.models.classifier import BertClassifier
from plm_core.models.gpt import Gpt
from plm_core.models.transformer import Trace
from plm_core.objectives.base import LossParts, Objective
from plm_core.objectives.causal_lm import CausalLM
from plm_core.training.blocks import only_block_list

HIDDEN_STATES, ATTENTIONS = "hidden_states", "attentions"
"""Names of the terms that compare hidden states and attention weights of teacher and student."""

HasShape = Bert | Gpt | BertClassifier
"""A model with one stack of blocks and a configuration that gives its shape."""


@dataclass(frozen=True)
class DistillConfig(Config):
    """The parts of the loss that compare the student with the teacher, and their weights."""

    temperature: float = 2.0
    """Temperature τ: 1 keeps the teacher's probabilities; a larger one makes its less likely choices weigh more."""
    soft_weight: float = 0.5
    """Share w of the loss by the teacher's probabilities; 0 is ordinary training."""
    hidden_weight: float = 0.0
    """Weight of the mean squared difference of hidden states."""
    attention_weight: float = 0.0
    """Weight of the squared differences of attention weights, summed over keys; needs equally many heads."""

    def validate(self) -> None:
        """Refuse a temperature that is not positive and weights that are negative."""
        self.require_positive("temperature")
        if not 0 <= self.soft_weight <= 1:
            raise ValueError(f"DistillConfig.soft_weight is a share: expected 0 to 1, got {self.soft_weight}")
        if self.hidden_weight < 0 or self.attention_weight < 0:
            raise ValueError("DistillConfig.hidden_weight and attention_weight must not be negative")


class Distillation(Objective):
    """An objective with a teacher. It is trained with as any other, and evaluated without the teacher.

    Args:
        objective: the task: a causal or masked language model, or a classifier of texts.
        teacher: frozen here; its mode is set to evaluation.
        student: the model to be trained, for the shapes.
        config: temperature and weights.
        layers: the teacher's block, from 1, whose states and attention weights each block of the student is compared
            with; default: :func:`evenly_spaced`, the last with the last, as Jiao et al. (2020) do. These need not be
            the blocks that the student starts from (:func:`copy_layers`).

    Raises:
        ValueError: vocabularies of different size, a wrong list of layers, or hidden states or attention weights of
            different shape that should be matched.
    """

    def __init__(
        self,
        objective: Objective,
        teacher: HasShape,
        student: HasShape,
        config: DistillConfig,
        *,
        layers: Sequence[int] | None = None,
    ) -> None:
        if isinstance(objective, CausalLM) and objective.sliced:  # logits are compared over the whole vocabulary
            objective = CausalLM(label_smoothing=objective.label_smoothing)
        self.objective, self.config, self.name = objective, config, objective.name
        self.trace: Trace | None = None
        self.teacher = teacher.eval().requires_grad_(False)
        ours, theirs = student.config, teacher.config
        if ours.vocab_size != theirs.vocab_size:
            raise ValueError(
                f"teacher and student must share a vocabulary: {theirs.vocab_size} ids against {ours.vocab_size}"
            )
        if config.attention_weight and ours.num_attention_heads != theirs.num_attention_heads:
            raise ValueError(
                f"attention weights can be matched head by head only: {theirs.num_attention_heads} heads against "
                f"{ours.num_attention_heads}. Set attention_weight to 0"
            )
        if config.hidden_weight and ours.hidden_size != theirs.hidden_size:
            raise ValueError(
                f"hidden states can be matched at equal width only: {theirs.hidden_size} against {ours.hidden_size}. "
                "Set hidden_weight to 0, or give the student fewer layers instead of narrower ones"
            )
        self.layers = list(layers) if layers else evenly_spaced(ours.num_hidden_layers, theirs.num_hidden_layers)
        if len(self.layers) != ours.num_hidden_layers or not all(
            1 <= n <= theirs.num_hidden_layers for n in self.layers
        ):
            raise ValueError(
                f"expected one of the teacher's {theirs.num_hidden_layers} blocks for each of the student's "
                f"{ours.num_hidden_layers}; got {self.layers}"
            )

    def prepare(self, batch: Batch) -> Batch:
        """Prepare a batch as the task does."""
        return self.objective.prepare(batch)

    def for_evaluation(self) -> Objective:  # type: ignore[override]
        """The task without the teacher."""
        return self.objective.for_evaluation()

    def count(self, batch: Batch) -> int:
        """The number of predictions, as the task counts them."""
        return self.objective.count(batch)

    def inputs(self, batch: Batch) -> dict[str, Any]:
        """The task's keyword arguments of a forward pass, and an empty trace for the student's if states are compared.

        The trace is kept until :meth:`scores` reads it: score each output before the next batch is prepared.
        """
        inputs = self.objective.inputs(batch)
        self.trace = self.new_trace()
        return inputs if self.trace is None else {**inputs, "trace": self.trace}

    def new_trace(self) -> Trace | None:
        """An empty trace if states or attention weights are compared."""
        compares = self.config.hidden_weight or self.config.attention_weight
        return Trace(keep_attentions=bool(self.config.attention_weight)) if compares else None

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term's mean: the task's, and those of hidden states and attention weights if compared."""
        compared = {HIDDEN_STATES: self.config.hidden_weight, ATTENTIONS: self.config.attention_weight}
        return {self.name: 1.0} | {name: weight for name, weight in compared.items() if weight}

    def counts(self, batch: Batch) -> dict[str, int]:
        """The task's count; states and attention weights are compared at every real token."""
        real = int(real_tokens(batch).sum()) if len(self.weights) > 1 else 0
        return {name: self.count(batch) if name == self.name else real for name in self.weights}

    def scores(self, output: Any, batch: Batch) -> dict[str, LossParts]:
        """Run the teacher once and score every term.

        Args:
            output: the student's, for the inputs of :meth:`inputs`.
            batch: the batch, as the task has it.
        """
        if not self.config.soft_weight and self.trace is None:
            return {self.name: self.objective.score(output, batch)}
        seen = self.new_trace()
        terms = {self.name: self.soft_score(output, self.answer(batch, seen), batch)}
        if self.trace is not None and seen is not None:
            terms |= self.trace_scores(self.trace, seen, batch)
        return terms

    def score(self, output: Any, batch: Batch) -> LossParts:
        """The task's own term, with the teacher's probabilities."""
        return self.scores(output, batch)[self.name]

    def soft_score(self, output: Any, target: Any, batch: Batch) -> LossParts:
        """The loss by the labels and by the teacher's probabilities, in nats, as a sum over predictions.

        Args:
            output: the student's.
            target: the teacher's.
            batch: the batch, as the task has it.
        """
        share, parts = self.config.soft_weight, self.objective.score(output, batch)
        if not share:
            return parts
        student_NV, teacher_NV = self.logits(output, batch), self.logits(target, batch)
        soft = soft_loss(student_NV, teacher_NV, temperature=self.config.temperature)
        return LossParts((1 - share) * parts.total + share * soft, parts.counted, parts.metrics)

    @torch.no_grad()
    def answer(self, batch: Batch, trace: Trace | None = None) -> Any:
        """The teacher's output; the trainer moves only the student to the device of the batch, this the teacher."""
        device = batch["input_ids"].device
        if next(self.teacher.parameters()).device != device:
            self.teacher.to(device)
        return self.teacher(**self.objective.inputs(batch), trace=trace)

    def logits(self, output: Any, batch: Batch) -> Tensor:
        """The logits of the N predictions, (N, V), of tokens or of the class of each text; V is the number of classes
        of a classifier. Labels that are IGNORE make no prediction."""
        if isinstance(output, Tensor):
            return output[batch["labels"] != IGNORE]
        return output.prediction_logits

    def trace_scores(self, student: Trace, teacher: Trace, batch: Batch) -> dict[str, LossParts]:
        """Squared differences of hidden states and attention weights, as sums over the N real tokens.

        For each token the mean over the width D, or the sum over keys and mean over heads H, and the mean over blocks.

        Source: Jiao et al. (2020), section 3.1, without the learned matrix between widths, and with attention weights
        after the softmax, where theirs are scores before it.

        Args:
            student: the states (B, T, D) and attention weights (B, H, T, T) of every block.
            teacher: likewise, of the same width and heads.
            batch: tells real tokens from padding.
        """
        real, terms = real_tokens(batch), {}
        count = real.sum()
        if self.config.hidden_weight:
            pairs = [(student.hidden_states[n], teacher.hidden_states[m]) for n, m in enumerate(self.layers, start=1)]
            by_token = [(ours - theirs)[real].square().mean(-1).sum() for ours, theirs in pairs]
            terms[HIDDEN_STATES] = LossParts(torch.stack(by_token).mean(), count)
        if self.config.attention_weight:
            pairs = [(student.attentions[n], teacher.attentions[m - 1]) for n, m in enumerate(self.layers)]
            differences = [(ours - theirs).transpose(1, 2)[real] for ours, theirs in pairs]  # (N, H, T) each
            by_token = [difference.square().sum(-1).mean(-1).sum() for difference in differences]
            terms[ATTENTIONS] = LossParts(torch.stack(by_token).mean(), count)
        return terms


def soft_loss(student_NV: Tensor, teacher_NV: Tensor, *, temperature: float) -> Tensor:
    """τ²·KL(teacher/τ || student/τ) in nats, summed over N predictions.

    Source: Hinton et al. (2015), section 2, with the divergence instead of the cross-entropy: they differ by the
    teacher's entropy, which has no gradient.

    Args:
        student_NV: logits, (N, V).
        teacher_NV: logits of the same shape; no gradient is stopped here.
        temperature: τ, positive.

    Returns:
        A number; 0 where both have the same distribution.
    """
    log_student = F.log_softmax(student_NV / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher_NV / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)


def evenly_spaced(student_layers: int, teacher_layers: int) -> list[int]:
    """For each block of the student the number of one of the teacher's, from 1, evenly spaced, ending with the last.

    >>> evenly_spaced(2, 6)
    [3, 6]

    Raises:
        ValueError: a student deeper than its teacher.
    """
    require_not_deeper(student_layers, teacher_layers)
    return [round((n + 1) * teacher_layers / student_layers) for n in range(student_layers)]


def first_blocks(student_layers: int, teacher_layers: int) -> list[int]:
    """The numbers of the teacher's first blocks, from 1, one for each block of the student.

    Raises:
        ValueError: a student deeper than its teacher.
    """
    require_not_deeper(student_layers, teacher_layers)
    return list(range(1, student_layers + 1))


def require_not_deeper(student_layers: int, teacher_layers: int) -> None:
    """Raise ValueError for a student of more blocks than its teacher."""
    if student_layers > teacher_layers:
        raise ValueError(f"a student of {student_layers} blocks is deeper than its teacher of {teacher_layers}")


@torch.no_grad()
def copy_layers(teacher: nn.Module, student: nn.Module, layers: Sequence[int] | None = None) -> list[int]:
    """Copy the weights of a teacher into a student: embeddings, heads, and some of the blocks.

    The default is the first blocks, because each of them is given what it was trained on: what the blocks before it
    wrote. In the runs behind chapter 21 (chapters/experiments/results/21_distillation.laptop.json: six blocks,
    students of two, three seeds) they were better than blocks 3 and 6 and than blocks 5 and 6 for every seed, by far
    before any training and still after 150 steps. The teacher was small and no better than a single block, and no pair
    of the first block with a later one was run, so try others. Of BERT's blocks, too, tasks miss the lower ones most
    (Sajjad et al. 2023); DistilBERT takes one block out of two, the first among them (Sanh et al. 2019).

    Args:
        teacher, student: of one class and width; the student has at most as many blocks.
        layers: the teacher's blocks to copy, from 1, one for each of the student's; default: the first ones.

    Returns:
        The blocks that were copied, from 1.

    Raises:
        ValueError: a student deeper than its teacher, widths that differ, or a wrong list of blocks.
    """
    (_, theirs), (prefix, ours) = (only_block_list(model, "copying layers") for model in (teacher, student))
    layers = first_blocks(len(ours), len(theirs)) if layers is None else list(layers)
    if len(layers) != len(ours) or not all(1 <= number <= len(theirs) for number in layers):
        raise ValueError(f"expected {len(ours)} of the teacher's {len(theirs)} blocks, numbered from 1; got {layers}")
    source, state = teacher.state_dict(), {}
    for name, tensor in student.state_dict().items():
        origin = name
        if name.startswith(f"{prefix}."):
            number, _, rest = name.removeprefix(f"{prefix}.").partition(".")
            origin = f"{prefix}.{layers[int(number)] - 1}.{rest}"
        if origin not in source or source[origin].shape != tensor.shape:
            raise ValueError(
                f"{name} cannot be copied: the teacher's differs. Only the number of blocks may be smaller"
            )
        state[name] = source[origin]
    student.load_state_dict(state)
    return layers


def smaller_copy(teacher: Bert | Gpt, layers: int, *, kept: Sequence[int] | None = None) -> Bert | Gpt:
    """A student with some of its teacher's blocks, compressed as they are: integers stay integers, thin layers thin.

    Args:
        teacher: it is left as it is.
        layers: number of blocks of the student.
        kept: the teacher's blocks, from 1, one for each of the student's; default: the first ones, for the reasons that
            :func:`copy_layers` gives.

    Raises:
        ValueError: more blocks than the teacher has, or a wrong list of blocks.
    """
    prefix, blocks = only_block_list(teacher, "a smaller copy")
    kept = first_blocks(layers, len(blocks)) if kept is None else list(kept)
    student = type(teacher)(teacher.config.replace(num_hidden_layers=layers))  # type: ignore[arg-type]
    description = {}
    for name, entry in describe(teacher).items():
        number, _, rest = name.removeprefix(f"{prefix}.").partition(".")
        if not name.startswith(f"{prefix}."):
            description[name] = entry
        elif int(number) + 1 in kept:
            description[f"{prefix}.{kept.index(int(number) + 1)}.{rest}"] = entry
    rebuild(student, description)
    copy_layers(teacher, student, kept)
    return student
