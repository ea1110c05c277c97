"""The floor of the summaries: a rule that counts, fitted on the summaries that each network is fine-tuned on.

The rule and its smoothing were chosen on the validation split; what is reported comes from the stories on which the
networks are judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plm_chapters.experiments import story_dialogues as talk
from plm_chapters.notebook import load_experiment
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.tasks import summaries

VARIANTS = ["counting rule"]
SEEDS = [0, 1, 2]


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """The shares of the verdicts on the rule's summaries."""
    main = load_experiment("16_generation")
    world = StoryWorld("small", "en")
    rule = talk.CountingRule(summaries(world, main.TASK_STORIES, seed=1000 + seed))
    examples = list(summaries(world, main.JUDGED, split="test"))
    known = talk.summary_words(world)
    return {"verdicts": talk.shares(talk.judge_summary(each, rule.summary(each), known) for each in examples)}
