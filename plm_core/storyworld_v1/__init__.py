"""StoryWorld: a seeded corpus in English and Chinese whose entropy is known exactly."""

from plm_core.data.storyworld.floor import bits_per_character, entropy_rate, floor_by_kind, read_sample
from plm_core.data.storyworld.reader import IdealReader, NotOfThisWorld, ReadWord
from plm_core.data.storyworld.world import EOS, Sentence, Story, StoryWorld

__all__ = [
    "EOS",
    "IdealReader",
    "NotOfThisWorld",
    "ReadWord",
    "Sentence",
    "Story",
    "StoryWorld",
    "bits_per_character",
    "entropy_rate",
    "floor_by_kind",
    "read_sample",
]
