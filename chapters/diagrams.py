"""Diagrams as inline SVG: boxes, arrows with shapes written on them, and grids of numbers.

A diagram takes the text colour of the page that shows it, so it is legible in light and in dark mode, and scales with
the width of the page. Coordinates are in pixels at full width; y grows downwards.
"""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from plm_chapters.notebook import PALETTE

FONT_SIZE = 14
LINE = 1.25
"""Distance of two lines of text, in font sizes."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle that has been drawn; arrows start and end at the middles of its sides."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> Point:
        """The middle of the left side."""
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> Point:
        """The middle of the right side."""
        return self.x + self.width, self.y + self.height / 2

    @property
    def top(self) -> Point:
        """The middle of the upper side."""
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> Point:
        """The middle of the lower side."""
        return self.x + self.width / 2, self.y + self.height


class Diagram:
    """A drawing that a notebook shows when it is the last expression of a cell.

    Args:
        width, height: the size in pixels; wider pages do not enlarge it, narrower ones shrink it.
        alt: what the diagram shows, for those who cannot see it.

    Example:
        >>> diagram = Diagram(300, 60, alt="A token id becomes a vector.")
        >>> ids, vectors = diagram.box(10, 10, 80, 40, "ids"), diagram.box(200, 10, 90, 40, "vectors", color=0)
        >>> diagram.arrow(ids.right, vectors.left, "embed")

    Raises:
        ValueError: no text for ``alt``.
    """

    def __init__(self, width: float, height: float, *, alt: str) -> None:
        if not alt.strip():
            raise ValueError("a diagram needs a text that says what it shows: alt=...")
        self.width, self.height, self.alt = width, height, alt
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        label: str = "",
        *,
        color: int | None = None,
        dashed: bool = False,
        size: float = FONT_SIZE,
    ) -> Box:
        """Draw a rectangle with a centred label and return it.

        Args:
            x, y: the upper left corner.
            width, height: the size.
            label: one or several lines; ``_{...}`` is a subscript.
            color: the number of a colour of the book's palette, which fills it lightly; None leaves it empty.
            dashed: whether the border is dashed.
            size: font size.
        """
        fill = "none" if color is None else PALETTE[color]
        dashes = " stroke-dasharray='5 4'" if dashed else ""
        stroke = "currentColor" if color is None else PALETTE[color]
        self._parts.append(
            f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' rx='5' fill='{fill}' "
            f"fill-opacity='0.22' stroke='{stroke}' stroke-width='1.4'{dashes}/>"
        )
        if label:
            self.text(x + width / 2, y + height / 2, label, size=size)
        return Box(x, y, width, height)

    def text(
        self,
        x: float,
        y: float,
        label: str,
        *,
        size: float = FONT_SIZE,
        anchor: str = "middle",
        bold: bool = False,
        mono: bool = False,
        color: int | None = None,
    ) -> None:
        """Write one or several lines, centred vertically on ``y``.

        Args:
            x, y: where.
            label: the text; ``_{...}`` is a subscript.
            size: font size.
            anchor: ``"start"``, ``"middle"`` or ``"end"``: which part of a line stands at ``x``.
            bold, mono: the kind of letters.
            color: the number of a colour of the palette; None takes the page's.
        """
        lines = label.split("\n")
        style = f"font-size='{size:g}' text-anchor='{anchor}'"
        style += " font-weight='bold'" if bold else ""
        style += " font-family='monospace'" if mono else ""
        fill = "currentColor" if color is None else PALETTE[color]
        for number, line in enumerate(lines):
            at = y + (number - (len(lines) - 1) / 2) * LINE * size + 0.35 * size
            self._parts.append(f"<text x='{x:g}' y='{at:g}' fill='{fill}' {style}>{_marked(line, size)}</text>")

    def arrow(
        self,
        start: Point,
        end: Point,
        label: str = "",
        *,
        via: Sequence[Point] = (),
        dashed: bool = False,
        color: int | None = None,
        size: float = FONT_SIZE - 2,
        head: bool = True,
    ) -> None:
        """Draw an arrow, straight or with corners.

        Args:
            start, end: its ends.
            label: a text beside its middle part: above a horizontal one, to the right of a vertical one.
            via: the corners on its way.
            dashed: whether the line is dashed.
            color: the number of a colour of the palette; None takes the page's.
            size: font size of the label.
            head: whether it has a head; without one it is a line.
        """
        points = [start, *via, end]
        stroke = "currentColor" if color is None else PALETTE[color]
        dashes = " stroke-dasharray='5 4'" if dashed else ""
        path = " ".join(f"{'L' if number else 'M'}{x:g},{y:g}" for number, (x, y) in enumerate(points))
        self._parts.append(f"<path d='{path}' fill='none' stroke='{stroke}' stroke-width='1.4'{dashes}/>")
        if head:
            self._parts.append(_head(points[-2], end, stroke))
        if label:
            middle = (len(points) - 1) // 2
            (x0, y0), (x1, y1) = points[middle], points[middle + 1]
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            lines = label.count("\n") + 1
            if abs(x1 - x0) >= abs(y1 - y0):
                self.text(x, y - (0.5 + lines / 2 * LINE) * size + 2, label, size=size)
            else:
                self.text(x + 0.5 * size, y, label, size=size, anchor="start")

    def grid(
        self,
        x: float,
        y: float,
        rows: Sequence[Sequence[object]],
        *,
        cell: Point = (44, 26),
        colors: Sequence[Sequence[int | None]] | None = None,
        size: float = FONT_SIZE - 1,
    ) -> Box:
        """Draw a matrix of numbers or words and return its outline.

        Args:
            x, y: the upper left corner.
            rows: the entries; numbers are written with two decimals, everything else as it is.
            cell: width and height of an entry.
            colors: for each entry the number of a colour of the palette, or None.
            size: font size.
        """
        width, height = cell
        for i, row in enumerate(rows):
            for j, entry in enumerate(row):
                color = colors[i][j] if colors else None
                fill = "none" if color is None else PALETTE[color]
                self._parts.append(
                    f"<rect x='{x + j * width:g}' y='{y + i * height:g}' width='{width:g}' height='{height:g}' "
                    f"fill='{fill}' fill-opacity='0.22' stroke='currentColor' stroke-opacity='0.45'/>"
                )
                said = f"{entry:.2f}" if isinstance(entry, float) else str(entry)
                self.text(x + (j + 0.5) * width, y + (i + 0.5) * height, said, size=size)
        return Box(x, y, width * max(map(len, rows)), height * len(rows))

    def svg(self) -> str:
        """The drawing as one ``<svg>`` element."""
        body = "".join(self._parts)
        name = f"diagram-{zlib.crc32((self.alt + body).encode()):08x}"
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width:g} {self.height:g}' role='img' "
            f"aria-labelledby='{name}' "
            f"style='width:100%;max-width:{self.width:g}px;height:auto;display:block;margin:0.5em auto'>"
            f"<title id='{name}'>{html.escape(self.alt)}</title>{body}</svg>"
        )

    def _repr_html_(self) -> str:
        return self.svg()


def _marked(line: str, size: float) -> str:
    """A line as SVG text, with its subscripts set lower and smaller."""
    parts = re.split(r"_\{([^}]*)\}", line)
    marked = html.escape(parts[0])
    for low, rest in zip(parts[1::2], parts[2::2], strict=True):
        drop = 0.25 * size
        marked += f"<tspan dy='{drop:g}' font-size='{0.75 * size:g}'>{html.escape(low)}</tspan>"
        marked += f"<tspan dy='{-drop:g}'>{html.escape(rest) or '&#8203;'}</tspan>"
    return marked


def _head(before: Point, end: Point, fill: str, length: float = 8) -> str:
    """The head of an arrow that comes from ``before``."""
    dx, dy = end[0] - before[0], end[1] - before[1]
    norm = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = dx / norm * length, dy / norm * length
    corners = [end, (end[0] - ux - uy / 2.4, end[1] - uy + ux / 2.4), (end[0] - ux + uy / 2.4, end[1] - uy - ux / 2.4)]
    return f"<polygon points='{' '.join(f'{x:g},{y:g}' for x, y in corners)}' fill='{fill}'/>"
