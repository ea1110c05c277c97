"""Score a run skill by skill on stories of its world that it has neither trained nor been validated on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plm_core.data.documents import DEFAULT_RULE
from plm_core.evaluation.skills import SkillScore, by_tokens, read_ideally, score_skills, spell
from plm_core.models.gpt import Gpt
from plm_core.ownership import replace_file
from plm_core.runs.corpus import validation_world
from plm_core.runs.hugging_face import NO_CORPUS
from plm_core.runs.open import Run
from plm_core.runs.stories import OLD_STORYWORLD, is_story_corpus, named_world
from plm_core.storyworld import IdealReader, Story, StoryWorld
from plm_core.storyworld.baselines import WordBaselines
from plm_core.storyworld.skill_reading import read

BASELINE_STORIES = 200
"""Training stories on which the majority of each skill is counted."""
SPLIT = "test"


@dataclass(frozen=True)
class SkillReport:
    """Scores of a run by skill, and what they were measured on."""

    corpus: str
    dials: dict[str, Any]
    """The dials of the world that told the stories, as far as the configuration sets them."""
    stories: int
    words: int
    scores: list[SkillScore]

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        values = {"split": SPLIT, **asdict(self)}
        replace_file(path, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def evaluate_skills(run: Run, *, stories: int = 200, by_distance: bool = False) -> SkillReport:
    """Score a causal run on stories of its validation world from the split ``"test"``, beside trivial baselines.

    Args:
        run: a run that was trained on a StoryWorld.
        stories: how many.
        by_distance: divide each skill by the distance to the evidence.

    Raises:
        ValueError: a run that cannot be scored so: another corpus, a masked model, tokens that do not make up the
            words, or a model too short for the stories.
    """
    if stories < 2:
        raise ValueError(f"an interval needs at least two stories, got stories={stories}")
    world = scored_world(run)
    model = run.model
    if not isinstance(model, Gpt):
        raise ValueError(
            f"{run.folder} holds a masked model: skills are scored word by word from left to right, which needs a run "
            "with the objective causal_lm"
        )
    told = list(world.stories(0, SPLIT, stories))
    check_length(run, told)
    trained_on = named_world(run.config.corpus, run.config.stories)
    assert isinstance(trained_on, StoryWorld)
    reader = IdealReader(trained_on)
    sample = trained_on.stories(run.config.seed, "train", BASELINE_STORIES)
    baselines = WordBaselines(read(reader, story.words) for story in sample)
    predictions = by_tokens(model, run.tokenizer)(told)
    scores = score_skills(read_ideally(told), predictions, baselines=baselines, by_distance=by_distance)
    dials = run.config.stories.updated(run.config.validation_stories).settings()
    return SkillReport(run.config.corpus, dials, stories, sum(len(story.words) for story in told), scores)


def scored_world(run: Run) -> StoryWorld:
    """The world whose stories a run is scored on.

    Raises:
        ValueError: the run was trained on other text, or on other documents than stories.
    """
    corpus = run.config.corpus
    if not is_story_corpus(corpus) or corpus.startswith(OLD_STORYWORLD):
        trained = "names no corpus" if corpus == NO_CORPUS else f"was trained on {corpus}"
        raise ValueError(
            f"{run.folder} {trained}: skills are known for the words of a StoryWorld only (storyworld-small-en, "
            "-small-zh, -full-en, -full-zh)"
        )
    if run.config.documents != DEFAULT_RULE:
        raise ValueError(
            f"{run.folder} was trained on other documents than stories (documents: {run.config.documents}): skills are "
            f"scored on whole stories, which needs documents: {DEFAULT_RULE}"
        )
    world = validation_world(run.config)
    assert isinstance(world, StoryWorld)
    return world


def check_length(run: Run, told: Sequence[Story]) -> None:
    """Refuse a model that cannot read the longest story from its beginning.

    Raises:
        ValueError: it is longer than the model, or the tokenizer does not know its words.
    """
    longest = max(len(spell(story, run.tokenizer)[0]) for story in told) + 1  # the token of the beginning
    limit = run.model.config.max_position_embeddings
    if limit is not None and longest > limit:
        raise ValueError(
            f"{run.folder}: the longest of the stories has {longest} tokens, the model has {limit} positions: train "
            f"with context={longest} or more, or score fewer stories"
        )
