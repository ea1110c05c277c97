"""What the tests of data share: the real files where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL_FILES = Path(os.environ.get("PLM_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def real_files(cache: Path) -> Path:
    """The data folder filled from the folder of real files."""
    if not REAL_FILES.is_dir():
        pytest.skip(f"needs the corpora's real files in {REAL_FILES} (or where PLM_TEST_DATA points)")
    places = {"wikitext-2": "wikitext-2", "tinyshakespeare": "tinyshakespeare", "multi30k": "multi30k"}
    places |= {"sentence-polarity": "nltk", "conll2002": "nltk", "trec-questions": "nltk"}
    for corpus, place in places.items():
        (cache / corpus).mkdir(parents=True)
        for file in (REAL_FILES / place).iterdir():
            (cache / corpus / file.name).symlink_to(file)
    return cache
