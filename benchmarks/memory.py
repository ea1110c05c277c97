"""``python -m benchmarks memory``: time and peak memory of a training step against the sequence length."""

from __future__ import annotations

from typing import Any, Literal

from benchmarks.results import describe_run, save_result
from benchmarks.training import training_contest


def memory(
    *,
    against: Literal["hf"] = "hf",
    shape: str = "tiny",
    lengths: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096),
    tokens: int = 4096,
    corpus: str = "wikitext-2",
    vocab_size: int = 8192,
    dropout: float = 0.0,
    rounds: int = 2,
    device: str = "cpu",
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    threads: int = 2,
    save: bool = True,
) -> dict[str, Any]:
    """Train a GPT-2 on full rows of several lengths, the same number of tokens in every step.

    Args:
        against: the library to measure against.
        shape: tiny, small or gpt2.
        lengths: tokens of a row.
        tokens: tokens of a step; the longest row at least.
        corpus: wikitext-2 or python-documentation.
        vocab_size: size of the WordPiece vocabulary.
        dropout: on both sides; 0 lets both use a fused attention kernel.
        rounds: number of measured rounds, of one step each.
        device: cpu or cuda.
        precision: fp32, bf16 or fp16.
        threads: threads of torch.
        save: store the result under benchmarks/results.
    """
    settings = {name: value for name, value in locals().items() if name not in ("save", "lengths")}
    settings["lengths"] = list(lengths)
    if tokens < max(lengths):
        raise ValueError(f"a step of {tokens} tokens holds no row of {max(lengths)}: raise tokens or shorten the rows")
    rows = []
    for length in lengths:
        print(f"rows of {length} tokens")
        job = {"task": "causal", "blocks": True, "shape": shape, "batch_size": tokens // length, "length": length}
        one = training_contest(
            settings | {"steps": 1},
            job | {"device": device, "precision": precision},
            corpus=corpus,
            vocab_size=vocab_size,
            dropout=dropout,
            names=("plm", "hf"),
        )
        rows.append({"length": length, "sides": one["sides"], "ratios": one["ratios"]})
    result = describe_run(settings) | {"rows": rows}
    if save:
        save_result(f"memory_{shape}", result)
    return result
