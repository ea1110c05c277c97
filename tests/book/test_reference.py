"""The reference pages: every module of the library stands on one of them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_library_module_is_on_one_page():
    """A module that no page documents is missing from the reference, and links to it from docstrings fail."""
    listed = [
        line.split("::")[1].strip()
        for path in sorted((ROOT / "book/api").glob("*.md"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(".. automodule::")
    ]
    modules = set()
    for path in (ROOT / "plm_core").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if not name.endswith("__init__"):
            modules.add(name)
    assert modules - set(listed) == set()
    assert sorted(set(listed)) == sorted(listed)
