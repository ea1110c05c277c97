"""Stories told sentence by sentence, each with the state before it."""

from collections.abc import Iterator

from plm_core.storyworld import Sentence, Story, StoryWorld
from plm_core.storyworld.state import State

SIZES = ("small", "full")


def told(size: str, count: int = 150, **dials) -> Iterator[tuple[Story, State, Sentence]]:
    """Every sentence of some stories, with the state before it."""
    for story in StoryWorld(size, **dials).stories(seed=12, count=count):
        for state, sentence in story.replay():
            yield story, state, sentence
