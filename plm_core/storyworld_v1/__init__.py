"""StoryWorld: a seeded corpus in English and Chinese whose entropy is known exactly."""

from plm_core.storyworld_v1.entropy import bits_per_character, entropy_by_kind, entropy_rate, read_sample
from plm_core.storyworld_v1.reader import IdealReader, NotOfThisWorld, ReadWord
from plm_core.storyworld_v1.world import EOS, Sentence, Story, StoryWorld

__all__ = [
    "EOS",
    "IdealReader",
    "NotOfThisWorld",
    "ReadWord",
    "Sentence",
    "Story",
    "StoryWorld",
    "bits_per_character",
    "entropy_by_kind",
    "entropy_rate",
    "read_sample",
]
