"""The memory of a training step: predicted from counts, and measured on the real tensors.

Mixed precision does not shrink what is counted per parameter: weights, gradients and the two means of AdamW stay in
fp32, 16 bytes together, and autocast adds a copy of the matrices in two bytes. It shrinks the activations, which grow
with the batch and usually take most of the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch
from plm_core.evaluation.validation import TermsObjective, move
from plm_core.runtime import Precision
from plm_core.training.config import OptimizerName
from plm_core.training.optim import trainable
from plm_core.training.precision import LossScaler, autocast

FLOATS_OF_STATE: dict[OptimizerName, int] = {"adamw": 2, "adam": 2, "sgd": 1}


@dataclass(frozen=True)
class MemoryLedger:
    """Bytes of a training step, row by row."""

    weights: int
    """Parameters, each once."""
    gradients: int
    """Gradients, one number for each trainable parameter."""
    optimizer: int
    """State that the optimiser keeps between steps."""
    activations: int
    """Tensors that the forward pass keeps for the backward pass, low-precision copies of weights included."""

    @property
    def total(self) -> int:
        """The sum of all rows."""
        return self.weights + self.gradients + self.optimizer + self.activations


def memory_ledger(num_parameters: int, *, optimizer: OptimizerName = "adamw", activations: int = 0) -> MemoryLedger:
    """Predict the bytes of a training step; in all three precisions the rows per parameter are in fp32.

    Args:
        num_parameters: trainable parameters, tied ones once.
        optimizer: ``"adamw"`` and ``"adam"`` keep two numbers for each parameter, ``"sgd"`` with momentum one. Muon
            keeps one for a matrix of a hidden layer and two for all else, which does not follow from a count alone.
        activations: their bytes, for example from :func:`block_activation_bytes`.

    Raises:
        ValueError: an optimiser whose state cannot be predicted from the number of parameters.
    """
    if optimizer not in FLOATS_OF_STATE:
        known = ", ".join(FLOATS_OF_STATE)
        raise ValueError(f"the state of {optimizer!r} does not follow from a count: use one of {known}")
    bytes_of_one = 4 * num_parameters
    return MemoryLedger(bytes_of_one, bytes_of_one, FLOATS_OF_STATE[optimizer] * bytes_of_one, activations)


def block_activation_bytes(
    tokens: int,
    *,
    hidden_size: int,
    intermediate_size: int,
    num_heads: int,
    precision: Precision = "fp32",
    activation: str = "gelu",
    dropout: bool = False,
    attended: int | None = None,
    device: str = "cpu",
) -> int:
    """Predict what one Transformer block keeps for the backward pass, without copies of weights.

    Kept are the two states that are normalised, the norms' results, queries, keys, values, the attended mean, and the
    feed-forward layer before and after its activation: as many before a branch (pre-norm) as after it (post-norm).
    Under autocast all but the first are in two bytes, and the first branch's input is kept three times, converted for
    each projection. Fused attention keeps no weights, only one sum for each token and head.

    Dropout keeps its masks for both branches, on a GPU in one byte an element, on a CPU in the type of what they
    multiply. Attention with dropout of weights is fused on a GPU, where the mask can be drawn again. On a CPU it is
    not: it keeps the weights in fp32, their dropout mask, and their product.

    Args:
        tokens: tokens of a batch, B·T.
        hidden_size, intermediate_size, num_heads: the block's shape.
        precision: arithmetic of the forward pass.
        activation: of the feed-forward network. ReLU keeps its result alone, from which the sign of its input follows;
            a gated network keeps its gate before and after as well.
        dropout: whether the branches drop elements.
        attended: tokens of a row T, if attention drops weights.
        device: ``"cpu"`` or ``"cuda"``.
    """
    number = 4 if precision == "fp32" else 2
    gated = activation in ("swiglu", "geglu")
    hidden_states = 4 if gated else 1 if activation == "relu" else 2
    norms = 4 * (2 * hidden_size + 4)  # two states, mean and deviation of each
    inner = 6 if precision == "fp32" else 9 if gated else 8
    kept = norms + number * (inner * hidden_size + hidden_states * intermediate_size)
    if dropout:
        kept += 2 * hidden_size * (number if device == "cpu" else 1)
    if attended is not None and device == "cpu":
        kept += num_heads * attended * (4 + 2 * number)
    else:
        kept += 4 * num_heads
    return tokens * kept


def measured_ledger(
    model: nn.Module,
    objective: TermsObjective,
    batch: Batch,
    *,
    optimizer: torch.optim.Optimizer,
    precision: Precision = "fp32",
    device: torch.device | str = "cpu",
) -> MemoryLedger:
    """Measure the bytes of a training step by making one, which changes the weights.

    Args:
        model: on its device.
        objective: what the step minimises.
        batch: the data of the step.
        optimizer: over the model's parameters.
        precision: arithmetic of the forward pass.
        device: where the batch is moved to.
    """
    saved = SavedTensors(model)
    with saved.hooks(), autocast(precision, device):
        terms = objective.terms(model, move(objective.prepare(batch), device))
    loss = torch.stack([part.total for part in terms.values()]).sum()
    scaler = LossScaler(device, init_scale=1.0) if precision == "fp16" else None
    (loss if scaler is None else scaler.scale(loss)).backward()
    gradients = sum(nbytes(p.grad) for p in trainable(model) if p.grad is not None)
    optimizer.step() if scaler is None else scaler.step(optimizer)
    state = sum(nbytes(value) for values in optimizer.state.values() for value in values.values() if is_large(value))
    optimizer.zero_grad()
    return MemoryLedger(sum(nbytes(p) for p in model.parameters()), gradients, state, saved.bytes)


class SavedTensors:
    """Counts the bytes that a forward pass keeps for the backward pass, each storage once, without parameters."""

    def __init__(self, model: nn.Module) -> None:
        self.seen = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        self.kept: list[Tensor] = []  # a freed storage's address may be given to another tensor
        self.bytes = 0

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        """The context in which to run the forward pass."""
        return torch.autograd.graph.saved_tensors_hooks(self.note, lambda tensor: tensor)

    def note(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is being saved."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.seen:
            self.seen.add(storage.data_ptr())
            self.kept.append(tensor.detach())
            self.bytes += storage.nbytes()
        return tensor


def nbytes(tensor: Tensor) -> int:
    """The number of bytes of a tensor's elements."""
    return tensor.numel() * tensor.element_size()


def is_large(value: Any) -> bool:
    """Whether a value of an optimiser's state is a tensor with elements, not a step count."""
    return isinstance(value, Tensor) and value.dim() > 0
