"""``python -m benchmarks data``: tokenizers and token files, measured.

Prints how many times faster the library's WordPiece and BPE are than the plain Python that the book writes out (both
run in turn, so that a busy machine slows both), and the speed and the peak memory of turning a text of 100 MB into
a token file.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from benchmarks.results import describe_run, save_result
from plm_core.data import bpe, wordpiece
from plm_core.data.corpora import python_documentation
from plm_core.data.tokenize import tokenize_files
from plm_core.data.tokenizer_training import train_bpe, train_wordpiece
from plm_core.runtime import peak_memory_mib

Result = dict[str, Any]


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(rounds: int) -> dict[str, float]:
    """Median over the rounds of plain Python's time divided by the library's, on Python's documentation."""
    texts = [document.text for document in python_documentation()]
    pieces = train_wordpiece(texts, vocab_size=4000)
    vocabulary = pieces.backend.get_vocab()
    pairs = train_bpe(texts, vocab_size=4000)
    merges = json.loads(pairs.backend.to_str())["model"]["merges"]
    ranks = {tuple(merge): rank for rank, merge in enumerate(merges)}
    contests: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "WordPiece": (
            lambda: [wordpiece.encode(text, vocabulary) for text in texts],
            lambda: pieces.encode_all(texts),
        ),
        "BPE": (lambda: [list(bpe.encode_tokens(text, ranks)) for text in texts], lambda: pairs.encode_all(texts)),
    }
    ratios: dict[str, list[float]] = {name: [] for name in contests}
    for _ in tqdm(range(rounds), desc="rounds"):
        for name, (plain, library) in contests.items():
            ratios[name].append(seconds(plain) / seconds(library))
    return {name: statistics.median(values) for name, values in ratios.items()}


def large_text(path: Path, megabytes: int) -> None:
    """Write the documentation's paragraphs again and again, shuffled anew each time."""
    paragraphs = [line for document in python_documentation() for line in document.text.split("\n")]
    shuffle = random.Random(0).shuffle
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < megabytes * 10**6:
            shuffle(paragraphs)
            file.write("\n".join(paragraphs) + "\n")


def data(*, against: Literal["python"] = "python", rounds: int = 5, megabytes: int = 100, save: bool = True) -> Result:
    """Measure the tokenizers against plain Python, and the making of a token file.

    Args:
        against: the tokenizers of the book's own algorithms, in plain Python.
        rounds: number of measured rounds.
        megabytes: size of the text that becomes a token file.
        save: store the result under benchmarks/results.
    """
    settings = {"against": against, "rounds": rounds, "megabytes": megabytes}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.txt"
        large_text(path, megabytes)
        tokenizer = train_bpe((document.text for document in python_documentation()), vocab_size=4000)
        before = peak_memory_mib()
        took = seconds(lambda: tokenize_files([path], tokenizer, Path(folder) / "tokens", progress=True))
        size = path.stat().st_size / 1e6
    result = describe_run(settings) | {
        "token_file": {
            "megabytes": round(size),
            "megabytes_per_second": round(size / took, 1),
            "peak_mib": round(peak_memory_mib()),
            "peak_mib_before": round(before),
        },
        "ratios": {name: round(ratio, 1) for name, ratio in compare(rounds).items()},
    }
    for key in ("token_file", "ratios"):
        print(key, result[key])
    if save:
        save_result("data", result)
    return result
