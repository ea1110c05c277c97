"""``python -m benchmarks pretrain``: BERT's pretraining (masked tokens and next sentences) against Hugging Face."""

from __future__ import annotations

from typing import Any, Literal

from benchmarks.results import save_result
from benchmarks.training import training_contest


def pretrain(
    *,
    against: Literal["hf", "fp32"] = "hf",
    shape: str = "tiny",
    corpus: str = "wikitext-2",
    vocab_size: int = 8192,
    length: int = 128,
    batch_size: int = 32,
    dropout: float = 0.1,
    rounds: int = 6,
    steps: int = 4,
    device: str = "cpu",
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    compile: bool = False,
    threads: int = 2,
    save: bool = True,
) -> dict[str, Any]:
    """Train BERT with both pretraining objectives, on sentence pairs of natural lengths.

    Args:
        against: hf, the library to measure against, as documented and as tuned; or fp32, our own trainer in fp32.
        shape: tiny, small or bert-base.
        corpus: wikitext-2 or python-documentation.
        vocab_size: size of the WordPiece vocabulary.
        length: the longest row in tokens.
        batch_size: rows of a batch.
        dropout: on both sides.
        rounds: number of measured rounds.
        steps: steps of a turn.
        device: cpu or cuda.
        precision: fp32, bf16 or fp16.
        compile: torch.compile on both sides.
        threads: threads of torch.
        save: store the result under benchmarks/results.
    """
    settings = {name: value for name, value in locals().items() if name != "save"}
    fields = {"shape": shape, "batch_size": batch_size, "length": length, "device": device, "precision": precision}
    result = training_contest(
        settings,
        fields | {"task": "mlm+nsp", "compile": compile},
        corpus=corpus,
        vocab_size=vocab_size,
        dropout=dropout,
        names=("plm", "fp32") if against == "fp32" else ("plm", "hf", "hf-tuned"),
    )
    if save:
        save_result(f"pretrain_{shape}" + ("_precision" if against == "fp32" else ""), result)
    return result
