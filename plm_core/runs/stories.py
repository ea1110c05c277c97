"""StoryWorlds as the corpus of a run: their names, the dials that a configuration sets, and stories as documents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from plm_core import storyworld_v1
from plm_core.config import Config
from plm_core.data.tokenizers import Tokenizer
from plm_core.storyworld import EOS, IdealReader, Story, StoryWorld

STORYWORLD = "storyworld-"
OLD_STORYWORLD = "storyworld-v1-"

World = StoryWorld | storyworld_v1.StoryWorld
AnyStory = Story | storyworld_v1.Story
Part = Literal["all", "seen", "held_out"]


@dataclass(frozen=True)
class StoryConfig(Config):
    """The dials of the StoryWorld that tells the stories; null leaves one as the lexicon has it by default."""

    sentences: tuple[int, int] | None = None
    """After how many sentences a story begins to end, and after how many only its end is told, which takes at most some
    eight more; [12, 14] for small and [18, 22] for full if null."""
    people: int | None = None
    """Number of people, 3 to 6; 3 for small and 4 for full if null."""
    things: int | None = None
    """Number of things beside the hidden one, 2 to 6; 2 for small and 3 for full if null."""
    distractors: float | None = None
    """Probability that a sentence tells of something else than the protagonist's plan; 0.35 if null."""
    hidden_goals: float | None = None
    """Share of the stories whose goal is not told at the beginning; 0.5 if null."""
    revealed_goals: float | None = None
    """Share of those stories that tell the goal at the end; 0.75 if null."""
    obstacles: float | None = None
    """Probability of an obstacle that the protagonist does not see; 0.5 if null."""
    delay: int | None = None
    """Least number of sentences between two actions of the protagonist; 0 if null."""
    names: Part | None = None
    """Which names occur: all (if null), seen (four fifths) or held_out (the rest)."""
    combinations: Part | None = None
    """Which things lie at which places in the beginning: all (if null), seen (two thirds) or held_out (the rest)."""

    def settings(self) -> dict[str, object]:
        """The dials that are set."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def updated(self, changes: StoryConfig) -> StoryConfig:
        """These dials with those that are set in another configuration in their place."""
        return self.replace(**changes.settings())


def is_story_corpus(name: str) -> bool:
    """Whether a corpus is a StoryWorld, by its name."""
    return name.startswith(STORYWORLD)


def named_world(corpus: str, dials: StoryConfig) -> World:
    """The world that a corpus names, ``storyworld-SIZE-LANGUAGE``, or ``storyworld-v1-...`` for its first version.

    Raises:
        ValueError: an unknown version, size or language, or dials that the world does not have.
    """
    is_old = corpus.startswith(OLD_STORYWORLD)
    size, _, language = corpus.removeprefix(OLD_STORYWORLD if is_old else STORYWORLD).partition("-")
    if not is_story_corpus(corpus) or size not in ("small", "full") or language not in ("en", "zh"):
        raise ValueError(
            f"unknown corpus {corpus!r}: StoryWorlds are storyworld-{{small,full}}-{{en,zh}}, and "
            "storyworld-v1-{small,full}-{en,zh} for the first version"
        )
    if not is_old:
        return StoryWorld(size, language, **dials.settings())  # type: ignore[arg-type]
    if dials.settings():
        raise ValueError(f"the corpus {corpus} has no dials: use storyworld-{size}-{language}, or leave them out")
    return storyworld_v1.StoryWorld(size, language)


def tell(world: World, *, seed: int, split: str, count: int) -> Iterator[AnyStory]:
    """The first stories of a split."""
    yield from world.stories(seed=seed, split=split, count=count)


def story_text(story: AnyStory) -> str:
    """A story as a document: one sentence a line, its words between spaces, without the end-of-story word."""
    return "\n".join(" ".join(word for word in sentence.words if word != EOS) for sentence in story.sentences)


def story_nats(stories: Sequence[AnyStory]) -> list[float]:
    """-log p of each story, exactly, in nats: the loss of the ideal reader, summed over its words."""
    return [
        math.fsum(IdealReader(story.world).surprisals(story.words)) if isinstance(story, Story) else story.nats
        for story in stories
    ]


def has_words_of(tokenizer: Tokenizer, world: World) -> bool:
    """Whether the tokens of a tokenizer are the words of a world, so that nats per token are nats per word."""
    known = tokenizer.backend.get_vocab()
    words = [word for word in world.vocabulary if word != EOS]
    return (
        tokenizer.is_ours and len(known) == len(words) + len(tokenizer.special_ids) and all(w in known for w in words)
    )
