"""All sentence patterns by the kind of event, in English and Chinese side by side."""

from __future__ import annotations

from plm_core.storyworld.notation import Row
from plm_core.storyworld.sentences_actions import ACTIONS, TURNS
from plm_core.storyworld.sentences_beginning import GOALS, INTRODUCTION
from plm_core.storyworld.sentences_talk import TALK

SENTENCES: dict[str, list[Row]] = INTRODUCTION | GOALS | ACTIONS | TURNS | TALK
