"""The gate bites: each edit of a copy of a small book brings exactly the complaint that it deserves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from book.__main__ import main
from book.tool.execute import execute

TEXT, NOTEBOOK, EXERCISES = "chapters/01_lines.md", "chapters/01_lines.ipynb", "chapters/exercises/01_lines.md"
OTHER, OTHER_NOTEBOOK = "chapters/02_settings.md", "chapters/02_settings.ipynb"
RISES = "The line rises by a factor of {glue:text}`ratio`."


def change_notebook(path: Path, change: Callable[[nbformat.NotebookNode], object]) -> None:
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_a_fresh_book_has_no_findings(tiny, capsys) -> None:
    assert main(["check"], tiny.root) == 0
    assert capsys.readouterr().out == "2 chapters checked: no findings, no warnings.\n"


def test_every_finding_names_file_line_and_what_mends_it(tiny, capsys) -> None:
    line = tiny.edit(TEXT, RISES, "The line rises.")
    assert main(["check"], tiny.root) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        f"{TEXT}:{line}: the text changed since the notebook was executed (mend: python -m book execute 01_lines)"
    )
    assert said[-1] == "2 chapters checked: 1 finding, no warnings."
    assert main(["check", "02"], tiny.root) == 0


# Text, notebook, stamp


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("The line rises by", "It rises by", "The line rises by"),
        ("assert ratio == 2", "assert ratio == 2.0", "assert ratio"),
        ("A line that rises.", "A rising line.", "image:"),
        ("display_name: Python 3", "display_name: Python", None),
    ],
    ids=["prose", "code", "metadata", "header"],
)
def test_text_edited_without_running_is_reported_at_the_cell_that_differs(tiny, says, old, new, place) -> None:
    tiny.edit(TEXT, old, new)
    [(path, line, message)] = tiny.said()
    assert (path, message) == (TEXT, "the text changed since the notebook was executed")
    # The line of the cell that differs: prose starts where it stands, code where its fence opens.
    shown = tiny.path(TEXT).read_text().splitlines()[line - 1 : line + 6]
    assert place is None or any((new if place == old else place) in each or place in each for each in shown)


def test_a_notebook_edited_without_its_text_is_reported(tiny, says) -> None:
    def edit(notebook):
        code_cells(notebook)[3].source = "assert ratio > 1"
        edit.id = code_cells(notebook)[3].id

    change_notebook(tiny.path(NOTEBOOK), edit)
    says(tiny.said(), NOTEBOOK, tiny.line(NOTEBOOK, f'"id": "{edit.id}"'), "notebook was edited without its text")
    assert "jupytext --to md:myst chapters/01_lines.ipynb" in tiny.findings()[0].mend


def test_an_edit_that_reached_both_files_is_no_hand_made_edit(tiny, says) -> None:
    tiny.edit(TEXT, "assert ratio == 2", "assert ratio > 1")
    change_notebook(tiny.path(NOTEBOOK), lambda notebook: code_cells(notebook)[3].update(source="assert ratio > 1"))
    says(tiny.said(), TEXT, 1, "text changed since the notebook was executed")


def test_a_missing_notebook_is_reported(tiny, says) -> None:
    tiny.path(NOTEBOOK).unlink()
    says(tiny.said(), TEXT, 1, "never executed")


def test_a_missing_text_is_reported(tiny, says) -> None:
    tiny.path(TEXT).unlink()
    says(tiny.said(), NOTEBOOK, 1, "its text chapters/01_lines.md is missing")


def test_a_damaged_notebook_is_reported(tiny, says) -> None:
    tiny.path(NOTEBOOK).write_text(tiny.path(NOTEBOOK).read_text()[:1000])
    says(tiny.said(), TEXT, 1, "cannot be read as a notebook")


def test_a_notebook_without_a_stamp_is_reported(tiny, says) -> None:
    change_notebook(tiny.path(NOTEBOOK), lambda notebook: notebook.metadata.pop("plm"))
    assert {message for _, _, message in tiny.said()} == {
        "stale: never executed by this tool",
        "the text changed since the notebook was executed",
    }


def test_a_changed_module_of_the_library_makes_its_chapters_stale(tiny, says) -> None:
    with tiny.path("plm_core/config.py").open("a") as file:
        file.write("\n# touched\n")
    says(tiny.said(), OTHER_NOTEBOOK, 1, r"^stale: plm_core\.config changed$")


def test_line_endings_of_the_library_do_not_matter(tiny) -> None:
    path = tiny.path("plm_core/config.py")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert tiny.said() == []


def test_a_module_that_is_gone_makes_its_chapters_stale(tiny, says) -> None:
    tiny.path("plm_core/config.py").unlink()
    says(tiny.said(), OTHER_NOTEBOOK, 1, r"^stale: plm_core\.config is gone$")


def test_changed_data_of_the_library_make_the_chapters_stale_that_read_them(tiny, says) -> None:
    with tiny.path("plm_core/figures.mplstyle").open("a") as file:
        file.write("\nlines.linewidth: 3\n")
    says(tiny.said(), NOTEBOOK, 1, r"^stale: plm_core/figures\.mplstyle changed$")


def test_a_changed_pinned_set_makes_every_chapter_stale(tiny) -> None:
    tiny.edit("constraints.txt", "torch==2.13.0", "torch==2.13.1")
    assert tiny.said() == [(NOTEBOOK, 1, "stale: pinned set changed"), (OTHER_NOTEBOOK, 1, "stale: pinned set changed")]


def test_comments_in_the_pinned_set_do_not_matter(tiny) -> None:
    with tiny.path("constraints.txt").open("a") as file:
        file.write("# a comment\n")
    assert tiny.said() == []


def test_a_notebook_of_another_preset_than_the_tests_run_is_stale(tiny, says) -> None:
    change_notebook(tiny.path(NOTEBOOK), lambda notebook: notebook.metadata["plm"].update(preset="gpu"))
    says(tiny.said(), NOTEBOOK, 1, "stale: executed with preset gpu, not laptop")
    assert tiny.findings()[0].mend == "python -m book execute 01_lines --preset laptop"


def test_a_cell_that_ended_in_an_error_is_named(tiny, says) -> None:
    def fail(notebook):
        cell = code_cells(notebook)[3]
        cell.outputs = [nbformat.v4.new_output("error", ename="AssertionError", evalue="", traceback=[])]
        fail.id = cell.id

    change_notebook(tiny.path(NOTEBOOK), fail)
    says(tiny.said(), NOTEBOOK, tiny.line(NOTEBOOK, f'"id": "{fail.id}"'), "a cell ended in an error")


def test_a_cell_that_was_not_executed_is_named(tiny, says) -> None:
    def forget(notebook):
        code_cells(notebook)[3].execution_count = None
        forget.id = code_cells(notebook)[3].id

    change_notebook(tiny.path(NOTEBOOK), forget)
    says(tiny.said(), NOTEBOOK, tiny.line(NOTEBOOK, f'"id": "{forget.id}"'), "a cell was not executed")


# What stands in the text; prose is taken over without running, so that only one complaint is left


@pytest.mark.parametrize(
    ("new", "pattern"),
    [
        ("It reaches an accuracy of 0.93.", r"measured number is typed into prose: 'accuracy of 0\.93'"),
        ("- one\n- two take 12.3 ms", r"typed into prose: '12\.3 ms'"),
        (":::{note}\nIt was 1.6x as fast.\n:::", r"typed into prose: '1\.6x'"),
        ("% number:\nIt takes 85 % of the time.", "gives no reason"),
        ("As {cite:t}`nobody1999nothing` says.", "citation 'nobody1999nothing' is not in"),
        ("{cite:p}`vaswani2017attention,nobody1999nothing`", "citation 'nobody1999nothing' is not in"),
        ("A {term}`flux capacitor`.", "term 'flux capacitor' is not in"),
        ("A {term}`capacitor <flux capacitor>`.", "term 'flux capacitor' is not in"),
        ("It is {glue:text}`no_such`.", "glues nothing under the name 'no_such'"),
        ("It is {glue:text}`no_such:.2f`.", "glues nothing under the name 'no_such'"),
        ("![](picture.png)", "image without alt text"),
        ('<img src="picture.png">', "image without alt text"),
        ("```{figure} picture.png\n:name: p\n\nA caption.\n```", "image without alt text"),
        ("```{exercise}\n:label: ex\n\nDo it.\n```", "exercise has no solution"),
    ],
)
def test_a_fault_of_prose_is_found_and_named_with_its_line(tiny, says, new, pattern) -> None:
    line = tiny.edit(TEXT, RISES, f"{RISES}\n\n{new}") + 2
    execute(tiny.root)
    [(path, where, message)] = tiny.said()
    assert path == TEXT
    assert line <= where <= line + new.count("\n")
    assert re.search(pattern, message), message


@pytest.mark.parametrize(
    "new",
    [
        "It has 8 heads and 512 dimensions, dropout 0.1 and a learning rate of 0.001, since 2017.",
        "It was 1.6x as fast {cite:p}`vaswani2017attention`.",
        "| model | accuracy |\n|---|---|\n| {cite:t}`vaswani2017attention` | 85 % |",
        "% number: the rule of the paper, not a measurement\n15 % of the tokens are masked.",
        "`12.3 ms`, $85\\%$ and [a page of 3 seconds](https://example.org).",
        "```text\n12.3 ms\n```",
        "A {term}`Mask <mask>` and {term}`masks <mask>`.",
        "![A line that rises.](picture.png)",
        "```{figure} picture.png\n:alt: A line.\n\nA caption.\n```",
        "```{exercise}\n:label: ex\n\nDo it.\n```\n\n```{solution} ex\nDone.\n```",
    ],
)
def test_prose_without_fault_is_left_alone(tiny, new) -> None:
    tiny.edit(TEXT, RISES, f"{RISES}\n\n{new}")
    execute(tiny.root)
    assert tiny.said() == []


def test_a_figure_without_alt_text_is_named(tiny, says) -> None:
    tiny.edit(TEXT, '    alt: "A line that rises."\n', '    alt: ""\n')
    execute(tiny.root)
    says(tiny.said(), TEXT, tiny.line(TEXT, "mystnb:") - 2, "figure without alt text")


def test_an_output_that_varies_needs_an_assertion(tiny, says) -> None:
    tiny.edit(TEXT, "assert ratio == 2", "ratio")
    tiny.pretend_executed("01")
    says(tiny.said(), TEXT, tiny.line(TEXT, "nbval-ignore-output") - 1, "no assertion")


def test_an_assertion_in_a_comment_does_not_count(tiny, says) -> None:
    tiny.edit(TEXT, "assert ratio == 2", "ratio  # assert nothing")
    tiny.pretend_executed("01")
    says(tiny.said(), TEXT, tiny.line(TEXT, "nbval-ignore-output") - 1, "no assertion")


def test_a_path_of_this_machine_in_a_cell_is_refused(tiny, says) -> None:
    tiny.edit(TEXT, "assert ratio == 2", 'assert ratio == 2, "/home/anna/data"')
    tiny.pretend_executed("01")
    says(tiny.said(), TEXT, tiny.line(TEXT, "assert ratio") - 1, "path of one machine: /home/anna/data")


def test_a_path_of_this_machine_in_an_output_is_refused(tiny, says) -> None:
    def write(notebook):
        code_cells(notebook)[3].outputs = [nbformat.v4.new_output("stream", text=f"{tiny.root}/plm_core/config.py")]

    change_notebook(tiny.path(NOTEBOOK), write)
    says(tiny.said(), TEXT, tiny.line(TEXT, "assert ratio") - 1, "output of this cell holds a path of one machine")


def test_a_set_up_cell_with_another_address_is_reported(tiny, says) -> None:
    tiny.edit("_config.yml", "https://github.com/plm-book/plm-book", "https://github.com/elsewhere/book")
    assert [(path, message.partition(" begin ")[0]) for path, _, message in tiny.said()] == [
        (TEXT, "the set-up cell does not"),
        (OTHER, "the set-up cell does not"),
    ]


def test_a_chapter_needs_a_set_up_cell(tiny, says) -> None:
    tiny.edit(TEXT, ":tags: [setup]", ":tags: [hide-input]")
    tiny.pretend_executed("01")
    says(tiny.said(), TEXT, 1, "there is no set-up cell")


def test_a_damaged_bibliography_is_reported(tiny) -> None:
    with tiny.path("book/references.bib").open("a") as file:
        file.write("\n@article{broken, title = {Never closed\n")
    assert ("book/references.bib", "cannot be read") in [(path, said[:14]) for path, _, said in tiny.said()]


# Fences and roles


@pytest.mark.parametrize("path", [TEXT, EXERCISES])
def test_a_fence_that_is_not_closed_is_named_where_it_opens(tiny, path) -> None:
    text = tiny.path(path).read_text()
    start = text.index("```{code-cell}")
    end = text.index("\n```\n", start)
    tiny.path(path).write_text(text[:end] + text[end + 4 :])
    [(where, line, message)] = [each for each in tiny.said() if "fence" in each[2]]
    assert (where, line) == (path, text[:start].count("\n") + 1)
    assert "this fence is not closed before the next one, in line" in message


def test_roles_and_other_tags_can_change_without_a_run(tiny, capsys) -> None:
    tiny.edit(TEXT, ":tags: [nbval-ignore-output]", ":tags: [glue, nbval-ignore-output]")
    tiny.edit(TEXT, "assert ratio == 2", ":tags: [check]\n\nassert ratio == 2")
    assert [message for _, _, message in tiny.said()] == ["the text changed since the notebook was executed"]
    execute(tiny.root)
    assert "taken over without running" in capsys.readouterr().out
    assert tiny.said() == []
    cells = code_cells(nbformat.read(tiny.path(NOTEBOOK), as_version=4))
    assert [cell.metadata.tags for cell in cells if "tags" in cell.metadata] == [
        ["setup", "hide-input"],
        ["glue", "nbval-ignore-output", "remove-cell"],
        ["check", "hide-input"],
    ]
