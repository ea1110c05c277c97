"""What StoryWorld's stories consist of, measured on 2,000 stories of each size and language.

The promises, set before the run, for each world: introductions are at most a fifth of the sentences; the names of
people, places and things carry at most a quarter of the entropy; each of the four classes of mood ends a quarter of the
stories, and the goal is told at the beginning of half of them, both within 4 standard errors of that many stories.
Entropy and skills are measured on other stories, those of the test split.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from plm_core.storyworld import IdealReader, StoryWorld
from plm_core.storyworld.entropy import composition, floor_by_skill, ratio
from plm_core.storyworld.skill_reading import read

VARIANTS = ["small-en", "small-zh", "full-en", "full-zh"]
SEEDS = [0]

STORIES = {"laptop": 2_000, "gpu": 2_000}
TEST_STORIES = 1_000


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Measure one world.

    Returns:
        The fields of :class:`plm_core.storyworld.entropy.Composition`, the entropy in nats a word and in bits a
        character, each with half of its 95 % interval, the entropy of a whole story, and the numbers of every skill.
    """
    size, language = variant.split("-")
    world = StoryWorld(size, language)
    shares = composition(world, STORIES[preset], seed=seed)
    reader = IdealReader(world)
    stories = list(world.stories(seed, "test", TEST_STORIES))
    readings = [read(reader, story.words, accuracy=True) for story in stories]
    nats = [math.fsum(word.nats for word in words) for words in readings]
    rate = ratio(nats, [len(words) for words in readings])
    bits = ratio([each / math.log(2) for each in nats], [len(story.text) + 1 for story in stories])
    skills = floor_by_skill(word for words in readings for word in words)
    return {
        **dataclasses.asdict(shares),
        "stories": STORIES[preset],
        "rate": [rate.mean, rate.half_width],
        "bits": [bits.mean, bits.half_width],
        "story_nats": math.fsum(nats) / len(nats),
        "skills": {skill: dataclasses.asdict(share) for skill, share in skills.items()},
    }
