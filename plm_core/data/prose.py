"""Prose from plain-text reStructuredText: what remains when headings, code, grammar and tables are removed."""

from __future__ import annotations

import re
from textwrap import dedent

MINIMUM_WORDS = 6
"""Shorter paragraphs are headings, signatures or single lines of code far more often than sentences."""
MINIMUM_PROSE = 0.82
"""The least share of letters and spaces in a paragraph of prose; code and tables have less."""

_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'"})
_RULE = re.compile(r"^\s*([*=\-~^#+])\1{2,}\s*$")
_LIST_MARK = re.compile(r"^(?:[*•-]|\d+\.|\[\d+\]|\([a-z\d]\))\s+")
_DIRECTIVE = re.compile(
    r"^(?:(?:New|Changed|Added) in version|Deprecated since(?: version)?|Removed in version)\s+[\d.]+"
    r"(?:, (?:will be )?removed in version [\d.]+)?\s*[:.]?\s*"
)
_LABEL = re.compile(r"^(?:\*\*[^*]+:\*\*|Note|Warning|See also|Caution|Tip|Important)\s*:?\s*(?=\n|[A-Z]|$)")
_CODE = re.compile(r">>>|::=|\S  +# |^\s*\+--|^\s*\||^\s*(?:# |@\w|(?:def|class) .*:$)", re.MULTILINE)
_FOOTNOTE = re.compile(r"\s\[\d+\](?=[\s.,;:)]|$)")
_LITERAL = re.compile(r'(?<!\w)"([^"\n]+)"(?!\w)|``([^`]+)``|`([^`]+)`')
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,2})(?=[^\s*])([^*]*[^\s*])\1(?![\w*])")


def clean_topics(topics: dict[str, str]) -> list[tuple[str, str]]:
    """Turn pages of plain-text reStructuredText into prose, each paragraph kept once, on the shortest page that has it.

    Args:
        topics: the source text of each page by its key.

    Returns:
        Title and text of every page that holds prose, one paragraph per line, in the alphabetical order of the keys.
    """
    seen: set[str] = set()
    kept: dict[str, list[str]] = {}
    for key in sorted(topics, key=lambda name: (len(topics[name]), name)):  # a short page before the page that holds it
        kept[key] = []
        for block in re.split(r"\n\s*\n", topics[key]):
            for paragraph in _prose(block):
                if paragraph not in seen:
                    seen.add(paragraph)
                    kept[key].append(paragraph)
    return [(_title(key, topics[key]), "\n".join(kept[key])) for key in sorted(kept) if kept[key]]


def _title(key: str, page: str) -> str:
    """The page's heading without its marks, or its key where it has none."""
    lines = page.strip().splitlines()
    if len(lines) > 1 and _RULE.match(lines[1]):
        return _plain(lines[0])
    return key


def _prose(block: str) -> list[str]:
    """The paragraphs of prose in one block of lines; none for code, tables and headings."""
    lines = dedent(block.expandtabs().strip("\n")).splitlines()
    if not lines or any(_RULE.match(line) for line in lines) or _CODE.search("\n".join(lines)):
        return []
    text = _LABEL.sub("", "\n".join(lines)).strip()
    unmarked = _LIST_MARK.sub("", text)
    lines = text.splitlines()
    if unmarked == text and len(lines) > 1 and lines[1].startswith("   ") and not lines[0].endswith((".", ",")):
        unmarked = "\n".join(lines[1:])  # the definition below a term
    text = re.sub(r"(?<=\w)-\n\s*(?=\w)", "-", unmarked)  # a word wrapped at its hyphen
    text = _FOOTNOTE.sub("", _DIRECTIVE.sub("", " ".join(text.split())))
    if not _reads_as_prose(text):
        return []
    return [_plain(text)]


def _reads_as_prose(text: str) -> bool:
    """Whether a joined paragraph looks like sentences: long enough, mostly letters, with a beginning and an end."""
    if len(text.split()) < MINIMUM_WORDS or not re.search(r"[.:;!?][\"'”’)]*$", text):
        return False
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return letters / len(text) >= MINIMUM_PROSE and not re.match(r"[a-z_.]+ ?[=(\[]", text)


def _plain(text: str) -> str:
    """Remove the marks around literals and emphasis; make quotation marks straight."""
    pieces = []
    end = 0
    for literal in _LITERAL.finditer(text):  # stars inside a literal, as in "*args", are not emphasis
        pieces += [_EMPHASIS.sub(r"\2", text[end : literal.start()]), next(filter(None, literal.groups()))]
        end = literal.end()
    pieces.append(_EMPHASIS.sub(r"\2", text[end:]))
    return " ".join("".join(pieces).translate(_QUOTES).split())
