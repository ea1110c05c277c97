"""The memory that a run will need, predicted from its configuration alone."""

from __future__ import annotations

from plm_core.data.tokenizers import Tokenizer
from plm_core.models.bert import BertConfig
from plm_core.models.counting import num_parameters
from plm_core.runs.config import RunConfig
from plm_core.runs.folder import is_run
from plm_core.runtime import Precision, Runtime
from plm_core.training.memory import MemoryLedger, block_activation_bytes, memory_ledger


def run_ledger(run: RunConfig, vocab_size: int, *, precision: Precision, device: str = "cpu") -> MemoryLedger:
    """Predict the bytes of a training step whose rows are full; padding that is left out makes it less.

    Within 5 % of the measured bytes in one process, for LayerNorm and for positions that are added to the embeddings
    (rotated or biased scores keep some more).

    Args:
        run: the configuration.
        vocab_size: size of the tokenizer's vocabulary, of which ``run.vocab_size`` is the upper limit.
        precision: arithmetic of the forward pass, already resolved.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: an optimiser whose state does not follow from a count.
    """
    model, tokens = run.model_config(vocab_size), run.batch_size * run.context
    block = block_activation_bytes(
        tokens,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_heads=model.num_attention_heads,
        precision=precision,
        activation=model.hidden_act,
        dropout=model.hidden_dropout_prob > 0,
        attended=run.context if model.attention_probs_dropout_prob else None,
        device=device,
    )
    layers = model.num_hidden_layers
    if run.train.activation_checkpointing and layers:  # one block is computed again at a time, from its input
        blocks = block + layers * tokens * 4 * model.hidden_size
    else:
        blocks = layers * block
    kept = blocks + ends_bytes(run, vocab_size, precision=precision, device=device)
    return memory_ledger(num_parameters(model), optimizer=run.train.optimizer, activations=kept)


def ends_bytes(run: RunConfig, vocab_size: int, *, precision: Precision, device: str) -> int:
    """Bytes that are kept besides the blocks: for embeddings and heads, and autocast's copies of the matrices."""
    model, tokens = run.model_config(vocab_size), run.batch_size * run.context
    D, V, number = model.hidden_size, vocab_size, 4 if precision == "fp32" else 2
    norm = 4 * (D + 2)  # its input, mean and deviation
    per_token: float = 8  # the ids
    if model.hidden_dropout_prob:
        per_token += D * (4 if device == "cpu" else 1)
    tables = V * D + (model.max_position_embeddings or 0) * D if model.position == "learned" else V * D
    if isinstance(model, BertConfig):
        tables += model.type_vocab_size * D - V * D  # the decoder is a matrix of its own to autocast
        per_token += norm + 8  # the token types
        per_token += run.masking.rate * (3 * number * D + norm + 4 * V)  # the head, and the log of the softmax
        fixed = 0
    else:
        per_token += 4 * D  # the gradient of the loss, which is computed with it
        fixed = 4 * V * D  # the same for the output layer
    if model.norm_position == "pre":
        per_token += norm
    if precision != "fp32":
        fixed += 2 * (num_parameters(model) - tables)
    return round(tokens * per_token) + fixed


def memory_line(run: RunConfig, runtime: Runtime) -> str:
    """The ledger of a run as one line of text."""
    if is_run(run.output):
        vocab_size, known = Tokenizer.load(run.output).vocab_size, ""
    else:
        vocab_size, known = run.vocab_size, f", with a vocabulary of {run.vocab_size:,}"
    try:
        ledger = run_ledger(run, vocab_size, precision=runtime.precision, device=runtime.device.type)
    except ValueError as error:
        return f"not predicted: {error}"
    rows = ("weights", "gradients", "optimizer", "activations")
    parts = ", ".join(f"{row} {getattr(ledger, row) / 2**20:,.0f}" for row in rows)
    return f"{ledger.total / 2**20:,.0f} MiB predicted for a step of full rows{known}: {parts}"
