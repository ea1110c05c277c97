"""What the site shows from the chapters' own records: run times, the status page and the map.

A Sphinx extension. It reads the notebooks' metadata (``plm``, written by ``python -m book execute``), the stored
results of the experiments and ``book/map.yml``, so that nothing of this is typed.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from book.tool.toc import Entry, read_map

if TYPE_CHECKING:
    from sphinx.application import Sphinx


@cache
def _stamp_at(path: Path, modified: int) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))["metadata"].get("plm", {})


def read_stamp(path: Path) -> dict[str, Any]:
    """Read the record of a notebook's last run: seconds, peak memory, device, preset, versions, date."""
    return _stamp_at(path, path.stat().st_mtime_ns)


def duration(seconds: float) -> str:
    """Write a duration for people: ``47 s``, ``1 min 52 s``, ``2 h 5 min``."""
    if seconds < 1:
        return "less than 1 s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def when(date: str) -> str:
    """Return the day of an ISO date and time."""
    return date[:10]


class BookMap(SphinxDirective):
    """``{book-map}``: parts and chapters; the chapters on the site are links, the others are marked as planned."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        parts: dict[str, list[Entry]] = {}
        for entry in read_map(Path(self.env.srcdir)):
            parts.setdefault(entry.part, []).append(entry)
        content: list[nodes.Node] = []
        for part, entries in parts.items():
            content.append(nodes.rubric("", part, classes=["book-map-part"]))
            chapters = nodes.bullet_list(classes=["book-map"])
            chapters += [self._item(entry) for entry in entries]
            content.append(chapters)
        return content

    def _item(self, entry: Entry) -> nodes.list_item:
        written = f"chapters/{entry.name}" in self.env.found_docs
        title: nodes.Node = nodes.strong("", entry.title)
        if written:
            title = addnodes.pending_xref(
                "", title, refdomain="std", reftype="doc", refexplicit=True,
                reftarget=f"/chapters/{entry.name}", refdoc=self.env.docname,
            )  # fmt: skip
        line = nodes.paragraph("", "", nodes.inline("", entry.number, classes=["number"]), nodes.Text(" "), title)
        line += nodes.Text(f": {entry.about}")
        if not written:
            line += [nodes.Text(" "), nodes.inline("", "planned", classes=["planned"])]
        return nodes.list_item("", line, classes=["written" if written else "unwritten"])


class ChapterStatus(SphinxDirective):
    """``{chapter-status}``: when, where and how fast every chapter on the site last ran."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = []
        for entry in read_map(Path(self.env.srcdir)):
            if f"chapters/{entry.name}" not in self.env.found_docs:
                continue
            stamp = read_stamp(Path(self.env.srcdir) / "chapters" / f"{entry.name}.ipynb")
            versions = stamp.get("versions", {})
            rows.append([
                f"[{entry.number} {entry.title}](/chapters/{entry.name}.ipynb)",
                when(stamp.get("date", "never run")),
                duration(stamp["seconds"]) if "seconds" in stamp else "",
                f"{stamp['peak_memory_mib']:,.0f} MiB" if "peak_memory_mib" in stamp else "",
                stamp.get("device", ""),
                ", ".join(filter(None, [stamp.get("preset"), stamp.get("precision")])),
                ", ".join(f"{name} {version}" for name, version in versions.items()),
            ])  # fmt: skip
        head = ["Chapter", "Run on", "Time", "Peak memory", "Device", "Preset", "Versions"]
        return self.parse_text_to_nodes(markdown_table(head, rows, "No chapter has been executed yet."))


class ExperimentStatus(SphinxDirective):
    """``{experiment-status}``: how the stored results of every experiment came about."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        rows = []
        for path in sorted((Path(self.env.srcdir) / "chapters/experiments/results").glob("*.json")):
            result = json.loads(path.read_text(encoding="utf-8"))
            rows.append([
                f"`{result['experiment']}`",
                when(result["date"]),
                duration(result["seconds"]),
                str(len(result["runs"])),
                ", ".join(map(str, result["seeds"])),
                result["device"],
                result["preset"],
                f"`{result['command']}`",
            ])  # fmt: skip
        head = ["Experiment", "Run on", "Time", "Runs", "Seeds", "Device", "Preset", "Command"]
        return self.parse_text_to_nodes(markdown_table(head, rows, "No results are stored yet."))


def markdown_table(head: list[str], rows: list[list[str]], empty: str) -> str:
    """Write a Markdown table, or the sentence ``empty`` if it has no rows."""
    if not rows:
        return empty
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def show_run_time(app: Sphinx, doctree: nodes.document) -> None:
    """Put the time that a chapter takes, from its own record, below its title."""
    source = Path(app.env.doc2path(app.env.docname))
    stamp = read_stamp(source) if source.suffix == ".ipynb" else {}
    title = next(doctree.findall(nodes.title), None)
    if title is None or "seconds" not in stamp:
        return
    versions = stamp.get("versions", {})
    text = f"Runs in {duration(stamp['seconds'])} on {stamp['device']}, preset {stamp['preset']}"
    text += f", with up to {stamp['peak_memory_mib']:,.0f} MiB of memory. "
    text += f"Last run: {when(stamp['date'])}, torch {versions.get('torch', 'unknown')} "
    line = nodes.paragraph("", text, classes=["run-time"])
    link = nodes.inline("", "all chapters")
    line += [
        nodes.Text("("),
        addnodes.pending_xref(
            "", link, refdomain="std", reftype="doc", refexplicit=True, reftarget="/book/status", refdoc=app.env.docname
        ),
        nodes.Text(")."),
    ]
    title.parent.insert(title.parent.index(title) + 1, line)


def link_notebooks(app: Sphinx, doctree: nodes.document) -> None:
    """Let a link to a notebook that is no page, such as a student's exercises, fetch it or open it in Colab."""
    root = Path(app.srcdir)
    repository = app.config.html_theme_options["repository_url"].removeprefix("https://github.com/")
    branch = app.config.html_theme_options["repository_branch"]
    for link in list(doctree.findall(addnodes.pending_xref)):
        path = f"{link['reftarget']}.ipynb"
        if link["reftype"] != "myst" or link.get("refdomain") != "doc" or not (root / path).is_file():
            continue
        if link["reftarget"] in app.env.found_docs:
            continue
        download = addnodes.download_reference("", "", *link.children, reftarget=f"/{path}", refexplicit=True)
        url = f"https://colab.research.google.com/github/{repository}/blob/{branch}/{path}"
        colab = nodes.reference("", "open in Colab", refuri=url)
        place = link.parent.index(link)
        link.parent[place : place + 1] = [download, nodes.Text(" ("), colab, nodes.Text(")")]


def drop_live_code(app: Sphinx) -> None:
    """Keep sphinx-thebe, which Jupyter Book always loads, off the pages.

    It declares its constants twice, an error in every reader's console, and its code would come from another host.
    """
    for event in ("env-before-read-docs", "doctree-resolved"):
        for listener in list(app.events.listeners.get(event, [])):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register directives and events with Sphinx."""
    app.connect("builder-inited", drop_live_code)
    app.add_directive("book-map", BookMap)
    app.add_directive("chapter-status", ChapterStatus)
    app.add_directive("experiment-status", ExperimentStatus)
    app.connect("doctree-read", show_run_time)
    app.connect("doctree-read", link_notebooks, priority=400)  # before Sphinx collects the downloads
    return {"parallel_read_safe": True, "parallel_write_safe": True}
