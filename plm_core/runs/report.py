"""The result of a run, as numbers and as text for the user."""

from __future__ import annotations

from dataclasses import dataclass

from plm_core.runs.text_report import TokenCounts, perplexity
from plm_core.storyworld.entropy import Estimate
from plm_core.training.arithmetic import Arithmetic


@dataclass(frozen=True)
class Report:
    """The result of a run."""

    steps: int
    best_step: int
    parameters: int
    metrics: dict[str, float]
    """Validation metrics of the best weights; empty if their record is lost."""
    entropy: Estimate | None = None
    """The best loss that any model could have, in nats per predicted token, where it is known."""
    text: TokenCounts | None = None
    """The size of the validation text, for the loss in bits per byte."""
    arithmetic: Arithmetic | None = None
    """The precision of the forward pass, and why it was chosen."""

    def lines(self) -> list[str]:
        """The report as text."""
        head = f"{self.parameters:,} parameters, best of {self.steps} steps after step {self.best_step}"
        precision = [] if self.arithmetic is None else [f"precision: {self.arithmetic}"]
        return [head, *precision, *metric_lines(self.metrics, self.entropy, self.text)]


def metric_lines(metrics: dict[str, float], entropy: Estimate | None, text: TokenCounts | None) -> list[str]:
    """Validation metrics as text: accuracies, the loss in its units, and the distance to the known entropy."""
    lines = [
        f"{key.removesuffix('/accuracy')} accuracy: {value:.1%} on validation text"
        for key, value in metrics.items()
        if key.endswith("/accuracy")
    ]
    if "causal_lm/loss" in metrics:
        loss, unit = metrics["causal_lm/loss"], "nats per token"
        bits = f", {text.bits_per_byte(loss):.3f} bits per byte" if text is not None and text.text_bytes else ""
        more = f" (perplexity {perplexity(loss):.2f}{bits})"
        meaning = "the text's own entropy"
    elif "masked_lm/loss" in metrics:
        loss, unit, more = metrics["masked_lm/loss"], "nats per masked token", ""
        if metrics["loss"] != loss:
            more = f" ({metrics['loss']:.3f} nats with the second task)"
        meaning = "the exact posterior given all other words of the story"
    else:
        return lines
    lines.append(f"validation loss: {loss:.3f} {unit}{more}")
    if entropy is not None:
        above = f"{loss - entropy.mean:.3f} nats"
        share = f" ({loss / entropy.mean - 1:.0%})" if entropy.mean else ""
        lines.append(f"the floor, {meaning}: {shown(entropy)} {unit}; {above}{share} above it")
    return lines


def shown(entropy: Estimate) -> str:
    """An entropy as text: with its 95 % interval, where it was estimated from a sample."""
    return f"{entropy.mean:.3f} ± {entropy.half_width:.3f}" if entropy.half_width else f"{entropy.mean:.3f}"
