"""A small English text for runs of the tests whose corpus does not matter."""

from pathlib import Path

TINY_TEXT = Path(__file__).with_suffix(".txt")
"""The text: 44 documents of six sentences, one sentence a line, with 44 different words."""
