"""``python -m benchmarks report``: the stored results as tables, in ``benchmarks/README.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.results import RESULTS, hardware_use, load_result

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"

CONTESTS = {
    "pretrain_tiny": "BERT, masked tokens + next sentences, 4 layers of width 256",
    "pretrain_small": "BERT, masked tokens + next sentences, 6 layers of width 512",
    "pretrain_bert-base": "BERT, masked tokens + next sentences, 12 layers of width 768",
    "pretrain_small_precision": "BERT in bf16, masked tokens + next sentences, 6 layers of width 512",
    "causal_tiny_paragraphs": "GPT-2 on paragraphs, 4 layers of width 256",
    "causal_tiny_blocks": "GPT-2 on full blocks, 4 layers of width 256",
    "generate_tiny": "GPT-2, greedy generation, 8 prompts at once, 4 layers of width 256",
    "generate_tiny_one": "GPT-2, greedy generation, one prompt, 4 layers of width 256",
}
OPPONENTS = {"hf": "Hugging Face as documented", "hf-tuned": "Hugging Face tuned", "fp32": "our own fp32"}


def report(*, check: bool = False) -> str:
    """Write the tables of all stored results into benchmarks/README.md.

    Args:
        check: write nothing; complain if the page is not what the results say.
    """
    text = README.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    fresh = f"{head}{BEGIN}\n\n{tables()}\n{END}{tail}"
    if check and fresh != text:
        raise ValueError(f"{README.name} is older than the results: run `python -m benchmarks report`")
    if not check:
        README.write_text(fresh, encoding="utf-8")
    return fresh


def tables() -> str:
    """All tables."""
    parts = [contest_table(), memory_table(), data_lines(), int8_table(), sources()]
    return "\n".join(part for part in parts if part)


def contest_table() -> str:
    """Speed and peak memory, a row for each contest and opponent."""
    rows = []
    for name, title in CONTESTS.items():
        result = load_result(name)
        if result is None:
            continue
        for opponent, ratios in result["ratios"].items():
            ours, theirs = result["sides"]["plm"], result["sides"][opponent]
            speed = f"{ratios['speed']:.2f} ({ratios['speed_least']:.2f} to {ratios['speed_most']:.2f})"
            rates = f"{ours['tokens_per_second']:,} and {theirs['tokens_per_second']:,}"
            memory = f"{ratios['peak_memory']:.2f}" if "peak_memory" in ratios else ""
            use = " and ".join(filter(None, map(hardware_use, (ours, theirs))))
            rows.append(f"| {title} | {OPPONENTS[opponent]} | {speed} | {rates} | {use} | {memory} |")
    if not rows:
        return ""
    head = [
        "| contest | against | speed ratio | tokens/s, ours and theirs | hardware use | memory ratio |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def memory_table() -> str:
    """Step time and peak memory by length."""
    result = load_result("memory_tiny")
    if result is None:
        return ""
    tokens = result["settings"]["tokens"]
    rows = [
        f"Steps of {tokens:,} tokens in rows of several lengths (GPT-2, 4 layers of width 256, no dropout):",
        "",
        "| row length | seconds a step, ours | theirs | peak MiB, ours | theirs |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        ours, theirs = row["sides"]["plm"], row["sides"]["hf"]
        times = [f"{tokens / side['tokens_per_second']:.2f}" for side in (ours, theirs)]
        peaks = [f"{side['peak_mib']:,}" for side in (ours, theirs)]
        rows.append(f"| {row['length']} | {' | '.join(times)} | {' | '.join(peaks)} |")
    return "\n".join([*rows, ""])


def data_lines() -> str:
    """Tokenizers and token files."""
    result = load_result("data")
    if result is None:
        return ""
    file = result["token_file"]
    times = " and ".join(f"{name} {ratio:.0f} times" for name, ratio in result["ratios"].items())
    return (
        f"Text to token ids, against the book's own algorithms in plain Python: {times} as fast. A text of "
        f"{file['megabytes']} MB becomes a token file at {file['megabytes_per_second']} MB/s, with "
        f"{file['peak_mib'] - file['peak_mib_before']} MiB on top of what the process had.\n"
    )


def int8_table() -> str:
    """One sequence through a BERT classifier, in floats and in integers, and where ONNX Runtime spends the time."""
    result = load_result("int8_bert-base")
    if result is None:
        return ""
    rows = [
        "One sequence through a BERT-base classifier; milliseconds with the middle half, and speed relative to torch:",
        "",
        "| engine | tokens | threads | ms | times torch fp32 |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        low, high = row["quartiles_ms"]
        time = f"{row['median_ms']:.0f} ({low:.0f} to {high:.0f})"
        rows.append(f"| {row['candidate']} | {row['length']} | {row['threads']} | {time} | {row['speedup']:.2f} |")
    rows += ["", "Where ONNX Runtime's time goes (one thread), the four largest kinds of operations:", ""]
    for found in result["profiles"]:
        largest = list(found["share"].items())[:4]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in largest)
        rows.append(f"- {found['candidate']}, {found['length']} tokens: {shares}")
    return "\n".join([*rows, ""])


def sources() -> str:
    """Which machine, versions, date and commit each result belongs to."""
    lines = []
    for path in sorted(RESULTS.glob("*.json")):
        result: dict[str, Any] = load_result(path.stem) or {}
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        threads = result["settings"].get("threads")
        machine = result["machine"] + (f", {threads} threads" if threads else "")
        lines.append(f"- `{path.stem}`: {result['date']}, commit {result['commit']}, {machine}; {versions}")
    return "\n".join([*lines, ""]) if lines else ""
