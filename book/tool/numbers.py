"""The rule that measured numbers reach prose through ``glue`` only.

A measurement is recognised by how it is written: a number with a unit of time, memory or rate, a percentage, a ratio
("1.6x", "3 times faster"), a decimal number beside the name of a metric, or one that a sentence states of a measured
quantity ("the largest weight is 0.93"). Sizes, years, counts and settings are not measurements. A figure somebody
published is fine in a sentence with its citation; everything else that only looks like a measurement is excused by a
line ``% number: reason`` above the paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from book.tool.prose import CITED, Passage

_NUMBER = r"(?<![\w.])[~≈]?\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?"
_DECIMAL = r"\d+\.\d+"
_METRIC = (
    r"accuracy|AUC|bits per (?:character|token)|BLEU|chrF|correlation|entropy|error rate|F1|loss|"
    r"mean squared error|MFU|perplexity|precision|recall|ROUGE(?:-\w+)?|score|speed-?up|standard deviation|"
    r"throughput|variance"
)
_MEASURED = (
    r"agreement|average|bound|coherence|cosine|cost|costs|deviation|difference|distance|effect|entropies|error|errors|"
    r"excess|fraction|gain|gap|gaps|gradient|gradients|highest|improvement|largest|logit|logits|losses|lowest|margin|"
    r"maximum|mean|means|median|minimum|norm|norms|peak|penalty|probability|probabilities|quality|ratio|ratios|rate of "
    r"success|residual|share|shares|shift|similarity|slope|smallest|spread|sum|value|values|weight|weights"
)
_SAYS = (
    r"(?:is|are|was|were|becomes?|reach(?:es|ed)?|falls? (?:to|by|from)|fell (?:to|by|from)|drops? (?:to|by|from)|"
    r"dropped (?:to|by|from)|ris(?:es|e) (?:to|by|from)|rose (?:to|by|from)|grows? (?:to|by|from)|ends? at|stays? at|"
    r"settles? at|lies? at|stands? at|comes? to|amounts? to|differs? by|equals?|averages?|=|≈)"
)
_ABOUT = r"(?:(?:only|just|about|around|roughly|nearly|almost|exactly|at least|at most|over|under|above|below|still) )?"
_UNIT = (
    r"(?:ns|µs|μs|us|ms|nanoseconds?|microseconds?|milliseconds?|seconds?|minutes?|hours?|"
    r"[kKMGT]i?B|bytes? per|(?:[KMGTP]|peta|tera|giga)?FLOPS?(?:/s)?|(?:tokens|examples|steps|it|batches|words|"
    r"sentences)(?:/s| (?:per|a) second)|percentage points?)(?![\w])"
)
_COMPARED = (
    r"(?:fewer|less|more|faster|slower|larger|smaller|bigger|longer|shorter|higher|lower|better|worse|cheaper|as|the)"
)

PATTERNS = [
    re.compile(rf"{_NUMBER}\s?(?:%|‰|per cent\b|percent\b)"),
    re.compile(rf"{_NUMBER}\s?{_UNIT}"),
    re.compile(rf"{_NUMBER} (?:s|min|h)(?![\w-])"),
    re.compile(rf"{_NUMBER}\s?[x×](?![\w×])(?!\s*[\d\ufffc])"),
    re.compile(rf"{_NUMBER}(?: times|-fold) {_COMPARED}\b"),
    re.compile(rf"(?i:\b(?:{_METRIC}))\b[^.;:!?\d{CITED}]{{0,40}}{_DECIMAL}"),
    re.compile(rf"{_DECIMAL}\s(?i:(?:{_METRIC}|nats|bits per))\b"),
    re.compile(rf"(?i:\b(?:{_MEASURED}))\b[^.;:!?\d{CITED}]{{0,40}}?\s{_SAYS} {_ABOUT}[-−+]?{_DECIMAL}"),
    re.compile(rf"(?i:\b(?:{_MEASURED})) of {_ABOUT}[-−+]?{_DECIMAL}"),
]


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a passage with the offset at which each begins."""
    start = 0
    for end in re.finditer(r"(?<=[.!?])[)\"'”’*_]*\s+(?=[^a-z])", text):
        yield start, text[start : end.start()]
        start = end.end()
    yield start, text[start:]


def typed_measurements(passage: Passage) -> list[tuple[int, str]]:
    """Find the measurements typed into a passage: the line and the words of each."""
    if passage.published or passage.excused is not None:
        return []
    found = []
    for offset, sentence in sentences(passage.text):
        if CITED in sentence:
            continue
        end = -1
        matches = sorted(
            (match for pattern in PATTERNS for match in pattern.finditer(sentence)), key=lambda m: m.start()
        )
        for match in matches:
            if match.start() >= end:
                line = passage.line + passage.text[: offset + match.end()].count("\n")
                found.append((line, " ".join(match.group().split())))
                end = match.end()
    return found
