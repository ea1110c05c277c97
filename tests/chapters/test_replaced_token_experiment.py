"""Claims about places that the text decides, equal compute, and a run of every arm on a few stories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from types import ModuleType

import pytest

from plm_chapters.experiments.masked_stories import CONTEXT, load_corpus
from plm_chapters.notebook import load_experiment
from plm_core.models.electra import Electra
from plm_core.storyworld_v1 import StoryWorld

experiment = load_experiment("10d_replaced_tokens")
COUNT = 120


@pytest.fixture(scope="module")
def claims() -> list:
    stories = StoryWorld("small", "en").stories(seed=0, split="test")
    return experiment.find_place_claims(stories, count=COUNT, seed=11)


def test_claims_are_balanced_and_fit_a_row(claims) -> None:
    for moved in (False, True):
        kind = [claim for claim in claims if claim.about.moved == moved]
        assert len(kind) == COUNT // 2
        assert sum(claim.true for claim in kind) == COUNT // 4
    assert max(len(claim.words) for claim in claims) <= CONTEXT - 2


def test_a_claim_names_a_person_and_two_places_of_its_text(claims) -> None:
    for claim in claims:
        told = [word for sentence in claim.about.sentences for word in sentence]
        assert claim.about.person in told
        assert len(claim.about.places) > 1
        assert {noun for _, noun in claim.about.places} <= set(told)
        preposition, _ = claim.about.places[claim.claimed]
        assert claim.words == [*told, claim.about.person, "was", preposition, "the", claim.place, "."]


def test_a_claim_is_true_if_the_story_says_so() -> None:
    """Against the states of the story, sentence by sentence."""
    checked = 0
    for story in islice(StoryWorld("small", "en").stories(seed=0, split="valid"), 40):
        facts = iter(experiment.whereabouts(story))
        fact = next(facts, None)
        told: list[list[str]] = []
        for state, sentence in story.replay():
            people = {who.entry.forms["en"]["name"]: state.places[who.at].forms["en"]["noun"] for who in state.people}
            while fact is not None and fact.sentences == told[len(told) - len(fact.sentences) :]:
                if fact.person not in people:
                    break
                assert fact.places[fact.right][1] == people[fact.person]
                checked += 1
                fact = next(facts, None)
            told.append(sentence.words)
        assert fact is None
    assert checked > 100


def test_where_nobody_has_moved_the_person_and_the_place_share_a_sentence(claims) -> None:
    for claim in claims:
        together = any({claim.about.person, claim.place} <= set(each) for each in claim.about.sentences)
        if not claim.about.moved:
            assert together == claim.true == experiment.says_last_naming_sentence(claim)


def test_too_few_stories_are_named() -> None:
    stories = StoryWorld("small", "en").stories(seed=0, split="test", count=3)
    with pytest.raises(ValueError, match="fewer than 120 claims"):
        experiment.find_place_claims(stories, count=COUNT, seed=11)


@pytest.fixture
def few_stories(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The experiment on few stories, with few steps."""

    def load(rt: object) -> object:
        return load_corpus(80, 6, 8)

    for module in (experiment, experiment.arms):
        monkeypatch.setattr(module, "load", load)
    for name, value in {
        "EXAMPLES": {"train": 40, "valid": 12, "test": 20}, "TRAINED": [0, 1], "STEPS": 6, "SWEPT_STEPS": 3,
        "WARMUP": 1, "RATES": [5e-3, 1e-2], "TUNING_STEPS": 10, "TUNING_RATES": [1e-3, 3e-3],
        "probes": lambda bert, rt: {"next_sentence": 0.5},
    }.items():  # fmt: skip
        monkeypatch.setattr(experiment, name, value)
    kept = [experiment.claims_of, experiment.rows_for]
    for each in kept:
        each.cache_clear()
    yield experiment
    for each in kept:
        each.cache_clear()


def test_every_arm_gives_a_result_that_can_be_stored(few_stories: ModuleType) -> None:
    seed = few_stories.SEEDS[0]
    found = {each: json.loads(json.dumps(few_stories.run(each, seed, "laptop"))) for each in few_stories.VARIANTS}
    assert found["untrained"]["steps"] == 0
    costs = [each["steps"] * each["flops_a_step"] for name, each in found.items() if name != "untrained"]
    assert max(costs) < 1.2 * min(costs)  # a step of six is a sixth
    for each in found.values():
        assert each["baselines"]["majority"] == {"all": 0.5, "moved": 0.5, "unmoved": 0.5}
        assert each["tasks"].keys() == set(few_stories.TASKS)
        for task in each["tasks"].values():
            assert task["accuracy"].keys() == {"0", "1"}
            assert 2 <= len(task["sweep"]) <= 4
    assert found["replaced tokens"]["asked"]["0"]["replaced_tokens/replaced"] > 0


def test_arms_begin_with_the_same_encoder(few_stories: ModuleType) -> None:
    rt = few_stories.setup(seed=1, preset="laptop")
    bert = few_stories.new_model("masked LM 15 %", rt)
    electra = few_stories.new_model("replaced tokens", rt)
    assert isinstance(electra, Electra)
    encoder = few_stories.encoder_of(electra, rt).encoder
    for (name, one), (_, other) in zip(bert.encoder.state_dict().items(), encoder.state_dict().items(), strict=True):
        assert one.equal(other), name
    table = bert.encoder.embeddings.word_embeddings.weight
    assert electra.generator.encoder.embeddings.word_embeddings.weight.equal(table)
