"""Tokenizers and token files, measured: ``python benchmarks/data.py``.

Prints how many times faster the library's WordPiece and BPE are than the plain Python that the book writes out (both
run in turn, so that a busy machine slows both), and the speed and the peak memory of turning a text of 100 MB into
a token file.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from plm_core.data import bpe, wordpiece
from plm_core.data.corpora import python_documentation
from plm_core.data.tokenize import tokenize_files
from plm_core.data.tokenizers import train_bpe, train_wordpiece
from plm_core.runtime import peak_memory_mib


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


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--megabytes", type=int, default=100)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.txt"
        large_text(path, chosen.megabytes)
        tokenizer = train_bpe((document.text for document in python_documentation()), vocab_size=4000)
        before = peak_memory_mib()
        took = seconds(lambda: tokenize_files([path], tokenizer, Path(folder) / "tokens", progress=True))
        megabytes = path.stat().st_size / 1e6
        print(f"{megabytes:.0f} MB to a token file: {took:.1f} s, {megabytes / took:.1f} MB/s")
        print(f"peak memory of the process: {peak_memory_mib():.0f} MiB ({before:.0f} MiB before, with torch loaded)")
    for name, ratio in compare(chosen.rounds).items():
        print(f"{name}: the library is {ratio:.0f} times as fast as plain Python (median of {chosen.rounds} rounds)")


if __name__ == "__main__":
    main()
