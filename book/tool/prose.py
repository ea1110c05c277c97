"""Read MyST prose as MyST itself does: passages of running text, roles, directives and images, each with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

MASK = "\ufffc"
"""Stands in a passage for what is not prose: code, mathematics, links, roles."""

CITED = "\ue000"
"""Stands in a passage for a citation."""

_NOT_PROSE = {
    "bibliography", "code", "code-block", "code-cell", "csv-table", "eval-rst", "glossary", "glue:figure", "include",
    "literalinclude", "math", "mermaid", "raw", "raw-cell", "show-source", "toctree",
}  # fmt: skip
_TITLED = {"admonition", "card", "dropdown", "exercise", "list-table", "prf:theorem", "solution", "tab-item", "table"}


@dataclass(frozen=True)
class Passage:
    """Running text of one block; everything that is not prose is masked."""

    text: str
    line: int
    published: bool
    """Whether the block belongs to a table or directive that carries a citation."""
    excused: str | None
    """The reason given by ``% number: reason`` above the block, if there is one."""


@dataclass(frozen=True)
class Role:
    """An inline role such as ``{term}`mask```."""

    name: str
    content: str
    line: int


@dataclass(frozen=True)
class Directive:
    """A block directive such as ``{figure}``."""

    name: str
    argument: str
    options: dict[str, Any]
    body: str
    line: int


@dataclass(frozen=True)
class Image:
    """An image in Markdown or HTML."""

    alt: str
    line: int


@dataclass
class Prose:
    """Everything that the gate looks at in a piece of MyST."""

    passages: list[Passage] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    directives: list[Directive] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)


@cache
def _parser() -> MarkdownIt:
    extensions = {"amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath", "substitution"}
    return create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)


def read_prose(source: str, line: int = 1) -> Prose:
    """Parse a piece of MyST.

    Args:
        source: the text, for example of a Markdown cell.
        line: the line of the file on which it starts.
    """
    prose = Prose()
    _read(source, line, prose, published=False, excused=None)
    return prose


def _read(source: str, line: int, prose: Prose, *, published: bool, excused: str | None) -> None:
    tokens = _parser().parse(source)
    excuse: tuple[int, str, bool] | None = None  # level, reason, whether its block has begun
    table_cited = False
    for position, token in enumerate(tokens):
        if token.type == "myst_line_comment":
            for comment in token.content.splitlines():
                found = re.match(r"%?\s*number:\s*(.*)", comment)
                if found:
                    excuse = (token.level, found.group(1).strip(), False)
            continue
        reason = excused if excuse is None else excuse[1]
        if excuse is not None and token.level == excuse[0] and token.nesting >= 0:
            excuse = None if excuse[2] else (excuse[0], excuse[1], True)
            reason = excused if excuse is None else excuse[1]
        if token.type == "table_open":
            table_cited = _cited_until(tokens[position:], "table_close")
        elif token.type == "table_close":
            table_cited = False
        where = line + (token.map[0] if token.map else 0)
        if token.type == "inline":
            _inline(token, where, prose, published=published or table_cited, excused=reason)
        elif token.type in ("fence", "colon_fence") and token.info.startswith("{"):
            _directive(token, where, prose, published=published, excused=reason)
        elif token.type == "html_block":
            _html_images(token.content, where, prose)


def _cited_until(tokens: list[Token], end: str) -> bool:
    for token in tokens:
        if token.type == end:
            return False
        if any(_is_citation(child) for child in token.children or []):
            return True
    return False


def _is_citation(token: Token) -> bool:
    return token.type == "myst_role" and str(token.meta["name"]).partition(":")[0] == "cite"


def _inline(token: Token, line: int, prose: Prose, *, published: bool, excused: str | None) -> None:
    text, row, links = "", line, 0
    for child in token.children or []:
        if child.type == "link_open":
            links += 1
        elif child.type == "link_close":
            links -= 1
            text += MASK
        elif child.type in ("softbreak", "hardbreak"):
            row += 1
            text += "\n"
        elif child.type == "text":
            text += re.sub(r"[^\n]", "", child.content) if links else child.content
        elif child.type == "myst_role":
            prose.roles.append(Role(str(child.meta["name"]), child.content, row))
            text += CITED if _is_citation(child) else MASK
            row += child.content.count("\n")
        elif child.type == "image":
            prose.images.append(Image("".join(each.content for each in child.children or []).strip(), row))
            text += MASK
        elif child.type == "html_inline":
            _html_images(child.content, row, prose)
        elif child.content:
            row += child.content.count("\n")
            text += MASK
    prose.passages.append(Passage(text, line, published, excused))


def _html_images(html: str, line: int, prose: Prose) -> None:
    for found in re.finditer(r"<img\b[^>]*>", html, re.IGNORECASE):
        alt = re.search(r"""\balt\s*=\s*["']([^"']*)""", found.group(), re.IGNORECASE)
        prose.images.append(Image(alt.group(1).strip() if alt else "", line + html[: found.start()].count("\n")))


def _directive(token: Token, line: int, prose: Prose, *, published: bool, excused: str | None) -> None:
    name, _, argument = token.info.partition("}")
    name, argument = name.lstrip("{").strip(), argument.strip()
    options, body, skipped = _options(token.content)
    prose.directives.append(Directive(name, argument, options, body, line))
    if name in ("image", "figure"):
        prose.images.append(Image(str(options.get("alt") or "").strip(), line))
    if name in _NOT_PROSE:
        return
    if name in _TITLED and argument:
        title = Prose()
        _read(argument, line, title, published=published, excused=excused)
        published = published or any(CITED in passage.text for passage in title.passages)
        prose.passages += title.passages
        prose.roles += title.roles
    _read(body, line + 1 + skipped, prose, published=published, excused=excused)


def _options(content: str) -> tuple[dict[str, Any], str, int]:
    """Split the content of a directive into its options, its body, and the number of lines before the body."""
    lines = content.splitlines()
    count = 0
    if lines and lines[0].strip() == "---":
        ends = [index for index, each in enumerate(lines) if index and each.strip() == "---"]
        count = ends[0] + 1 if ends else len(lines)
        block = "\n".join(lines[1 : count - 1])
    else:
        while count < len(lines) and re.match(r"\s*:[\w-]+:", lines[count]):
            count += 1
        block = "\n".join(each.strip()[1:] for each in lines[:count])
    try:
        options = yaml.safe_load(block) or {}
    except yaml.YAMLError:
        options = {}
    return options if isinstance(options, dict) else {}, "\n".join(lines[count:]), count
