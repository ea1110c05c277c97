"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plm_core.config import Config
from plm_core.training.schedule import Schedule, learning_rate

OptimizerName = Literal["adamw", "adam", "sgd", "muon"]


@dataclass(frozen=True)
class TrainConfig(Config):
    """How a run is trained."""

    steps: int = 1000
    """Number of optimiser steps."""
    micro_batches: int = 1
    """Batches whose gradients are accumulated for one step."""
    optimizer: OptimizerName = "adamw"
    """Optimiser; "muon" updates the matrices of the hidden layers, and AdamW the rest."""
    learning_rate: float = 1e-3
    """Peak of the learning rate."""
    schedule: Schedule = "cosine"
    """Shape of the fall of the learning rate after the warm-up."""
    warmup_steps: int = 100
    """Length of the linear warm-up, in steps."""
    final_fraction: float = 0.1
    """Learning rate at the end, as a fraction of the peak."""
    weight_decay: float = 0.1
    """Weight decay of the matrices; decoupled from the gradient under "adamw" and "muon", added to it otherwise."""
    layer_decay: float = 1.0
    """Factor of the learning rate of each layer, relative to the layer above it; 1 is off."""
    beta1: float = 0.9
    """Coefficient of the moving average of the gradient under "adam" and "adamw"."""
    beta2: float = 0.98
    """Coefficient of the moving average of the squared gradient under "adam" and "adamw"."""
    momentum: float | None = None
    """Momentum of "sgd" and "muon"; None is 0.9 for the first and 0.95 for the second."""
    max_grad_norm: float = 1.0
    """Greatest gradient norm: gradients with a greater one are scaled down to it; 0 switches clipping off."""
    eval_every: int = 200
    """Steps between evaluations; the last step is always evaluated."""
    patience: int | None = None
    """Stop after this many evaluations without a better validation loss; None never stops early."""
    save_every: int = 500
    """Steps between checkpoints; the last step is always saved."""
    keep_last: int = 2
    """Number of newest checkpoints to keep besides the best one."""
    log_every: int = 20
    """Steps between log records; each is a mean over all steps since the last."""
    activation_checkpointing: bool = False
    """Whether to compute each block's activations a second time in the backward pass instead of keeping them."""
    compile: bool = False
    """Whether to compile the blocks with torch.compile, which pays off in long runs."""
    tensorboard: bool = False
    """Whether to write TensorBoard events as well."""

    def rate(self, step: int) -> float:
        """:func:`~plm_core.training.schedule.learning_rate` of the step after so many successful ones."""
        return learning_rate(
            step,
            peak=self.learning_rate,
            total_steps=self.steps,
            warmup_steps=self.warmup_steps,
            schedule=self.schedule,
            final=self.learning_rate * self.final_fraction,
        )

    def validate(self) -> None:
        """Refuse sizes below one and fractions outside [0, 1]."""
        self.require_positive("steps", "micro_batches", "learning_rate", "eval_every", "save_every", "keep_last")
        self.require_positive("log_every")
        self.require_probability("beta1", "beta2")
        self.require_not_negative("warmup_steps", "weight_decay", "max_grad_norm")
        self.require_at_most(steps=10**9, micro_batches=10**6)
        if self.momentum is not None:
            self.require_probability("momentum")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"TrainConfig.layer_decay must lie in (0, 1], got {self.layer_decay}")
        if not 0 <= self.final_fraction <= 1:
            raise ValueError(f"TrainConfig.final_fraction must lie in [0, 1], got {self.final_fraction}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"TrainConfig.patience must be at least 1 or null, got {self.patience}")
