"""All sentence patterns by the kind of event, in English and Chinese side by side."""

from __future__ import annotations

from plm_core.storyworld.notation import Row
from plm_core.storyworld.sentences_actions import ACTIONS, TURNS
from plm_core.storyworld.sentences_beginning import GOALS, INTRODUCTION
from plm_core.storyworld.sentences_full import FULL
from plm_core.storyworld.sentences_talk import TALK

SENTENCES: dict[str, list[Row]] = INTRODUCTION | GOALS | ACTIONS | TURNS | TALK


def rows_of(kind: str, size: str) -> list[Row]:
    """The rows of a kind of event for a lexicon; kinds without rows of their own share those of their first word."""
    name = kind if kind in SENTENCES else kind.split("_")[0]
    return SENTENCES[name] + (FULL.get(name, []) if size == "full" else [])
