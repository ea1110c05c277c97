"""The tasks: exact labels, stated distributions of classes, ceilings that hold."""

from collections import Counter

import pytest

from plm_core.storyworld import IdealReader, StoryWorld
from plm_core.storyworld.baselines import baseline_scores
from plm_core.storyworld.causal_probes import causal_probes
from plm_core.storyworld.entailment import entailments
from plm_core.storyworld.pairs import next_sentences, parallel, sentence_orders
from plm_core.storyworld.probes import PROBED, probes
from plm_core.storyworld.questions import questions
from plm_core.storyworld.skill_reading import read
from plm_core.storyworld.skills import SKILLS
from plm_core.storyworld.tasks import ceiling, moods, relations, summaries, tags

LANGUAGES = ("en", "zh")


@pytest.fixture(scope="module", params=LANGUAGES)
def world(request):
    return StoryWorld(language=request.param)


def expected_accuracy_holds(examples) -> bool:
    """Whether the ideal reader is right as often as its own probabilities say, within four standard deviations."""
    chances = [max(e.ideal.values()) for e in examples]
    hits = sum(max(e.ideal, key=e.ideal.get) == e.label for e in examples)
    spread = sum(p * (1 - p) for p in chances) ** 0.5
    return abs(hits - sum(chances)) <= 4 * spread + 1e-6


def test_the_mood_follows_from_the_whole_story_and_not_from_its_beginning(world):
    whole, part = (list(moods(world, 60, share=share)) for share in (1.0, 0.8))
    assert ceiling(whole).accuracy == pytest.approx(1.0)
    assert ceiling(part).accuracy < 0.8
    assert expected_accuracy_holds(part)
    words = world.lexicons.moods
    told = {entry.forms[world.language]["adj"] for lexicon in words.values() for entry in lexicon.entries}
    assert not any(told.intersection(example.words) for example in whole)


def test_a_share_outside_its_range_is_refused(world):
    with pytest.raises(ValueError, match="share must lie in"):
        next(moods(world, 1, share=0.0))


def test_every_word_has_a_tag_and_names_are_names(world):
    for example in tags(world.stories(count=20)):
        assert len(example.tags) == len(example.words)
        for word, tag in zip(example.words, example.tags, strict=True):
            assert (tag == "name") == (word in world.names)


@pytest.mark.parametrize("sees", ["story", "past", "before"])
def test_tags_are_found_as_well_as_the_ideal_reader_says(world, sees):
    examples = list(tags(world.stories(count=25), sees=sees))
    words = [word for example in examples for word in example.each()]
    assert len(words) == sum(len(example.words) for example in examples)
    assert all(sum(word.ideal.values()) == pytest.approx(1) for word in words)
    assert expected_accuracy_holds(words)
    best = ceiling(words)
    if sees == "before":
        assert best.majority < best.accuracy < 0.99, "the next word may or may not be a name"
    else:
        assert best.accuracy > 0.999, "a word that stands there shows what it is"
    if sees == "story":
        assert all(max(word.ideal, key=word.ideal.get) == word.label for word in words), "one parse, and it is right"


def test_the_next_words_tag_has_the_probability_of_all_the_words_that_would_have_it(world):
    story = world.story(3)
    [foretold] = tags([story], sees="before")
    names = world.names
    for position in range(5, len(foretold.words), 17):
        following = IdealReader(world).next_word(foretold.words[:position])
        share = sum(probability for word, probability in following.items() if word in names)
        assert foretold.ideal[position].get("name", 0.0) == pytest.approx(share, abs=1e-9)


def test_an_unknown_view_of_a_tagger_is_refused(world):
    with pytest.raises(ValueError, match="sees must be"):
        next(tags(world.stories(count=1), sees="future"))


def test_relations_hold_in_the_final_state(world):
    examples = list(relations(world, 40, share=0.7))
    for example in examples:
        people = {fact.head for fact in example.facts if fact.relation == "is at"} & world.names
        assert len(people) == world.people
        assert example.ideal[example.label] > 0
    assert 0.5 < ceiling(examples).accuracy < 1
    assert expected_accuracy_holds(examples)


def test_summaries_are_certain_where_the_goal_is_told():
    told = StoryWorld(hidden_goals=0.0)
    examples = list(summaries(told, 20))
    assert all(max(example.ideal.values()) == pytest.approx(1.0) for example in examples)
    assert all(example.label[1] == "wanted" and example.label[-1] == "." for example in examples)
    assert ceiling(summaries(StoryWorld(hidden_goals=1.0), 40)).accuracy < 1.0


@pytest.mark.parametrize("about", ["world", "belief"])
def test_spans_point_at_the_answers(world, about):
    for question in questions(world, 40, about=about):
        if question.start >= 0:
            assert (question.context[question.start],) == question.label
    assert any(question.start >= 0 for question in questions(world, 10, about=about))


def test_half_of_the_beliefs_asked_about_are_false_and_differ_from_the_world(world):
    asked = list(questions(world, 40, about="belief"))
    assert sum(question.false_belief for question in asked) == 20


def test_reasons_are_inferred_as_well_as_the_ideal_reader_says(world):
    asked = list(questions(world, 60, about="reason"))
    assert 0.5 < ceiling(asked).accuracy < 1
    assert expected_accuracy_holds(asked)
    assert len({question.label for question in asked}) > 5


def test_an_unknown_kind_of_question_is_refused(world):
    with pytest.raises(ValueError, match="about must be"):
        next(questions(world, 1, about="weather"))


@pytest.mark.parametrize("make", [next_sentences, sentence_orders])
def test_pairs_are_answered_as_well_as_the_ideal_reader_says(world, make):
    examples = list(make(world, 80))
    assert 0.3 < sum(example.label for example in examples) / 80 < 0.7
    assert 0.7 < ceiling(examples).accuracy <= 1
    assert expected_accuracy_holds(examples)
    for example in examples:
        assert example.ideal[example.label] > 0


def test_hard_negatives_name_the_same_people(world):
    for example in next_sentences(world, 40):
        assert world.names.intersection(example.following) <= world.names.intersection(example.words)


def test_parallel_stories_are_translations_sentence_by_sentence():
    english, chinese = StoryWorld(), StoryWorld(language="zh")
    for one, other in parallel(english, chinese, 10):
        assert [s.event[0] for s in one.sentences] == [s.event[0] for s in other.sentences]
    with pytest.raises(ValueError, match="parallel stories need"):
        next(parallel(english, StoryWorld(language="zh", people=4), 1))


def test_a_sentence_has_one_translation_given_its_story():
    pairs: dict[tuple[str, str], set[str]] = {}
    for one, other in parallel(StoryWorld(), StoryWorld(language="zh"), 150):
        fruit = one.final_state.fruit.key
        for a, b in zip(one.sentences, other.sentences, strict=True):
            pairs.setdefault((fruit, " ".join(a.words)), set()).add(" ".join(b.words))
    assert max(len(found) for found in pairs.values()) == 1


def test_entailments_are_balanced_and_follow_from_the_words(world):
    examples = list(entailments(world, 60))
    assert Counter(example.label for example in examples) == {"true": 20, "false": 20, "unknown": 20}
    assert {example.about for example in examples} == {"has", "is_at", "lies", "believes", "wants"}


def test_probes_are_certain_for_the_ideal_reader(world):
    found = list(probes(world.stories(seed=1, count=40)))
    assert {probe.skill for probe in found} == set(PROBED)
    reader = IdealReader(world)
    for probe in found[::100]:
        expected = reader.next_word(probe.words)
        assert expected[probe.right] == pytest.approx(1.0)
        assert not any(word in expected for word in probe.wrong)


def test_baselines_stay_below_the_ceiling(world):
    train, test = (probes(world.stories(seed=seed, count=25)) for seed in (1, 2))
    for skill, scores in baseline_scores(train, test).items():
        assert skill in PROBED
        for guess in (scores.last_mention, scores.first_mention, scores.majority, scores.chance):
            assert 0 <= guess < 0.97 < scores.ideal


@pytest.mark.parametrize("about", ["location", "belief"])
def test_a_cause_changes_the_word_that_must_follow(world, about):
    reader = IdealReader(world)
    for probe in causal_probes(world, 5, about=about):
        assert probe.right != probe.other_right
        assert reader.next_word(probe.words) == {probe.right: pytest.approx(1.0)}
        assert reader.next_word(probe.other) == {probe.other_right: pytest.approx(1.0)}
        assert probe.words[-probe.distance :] == probe.other[-probe.distance :]


def test_a_world_whose_stories_give_no_causal_probe_is_refused(monkeypatch):
    monkeypatch.setattr("plm_core.storyworld.causal_probes.MOST_TRIES", 20)
    with pytest.raises(ValueError, match="make the stories longer"):
        next(causal_probes(StoryWorld(sentences=(5, 5)), 1, about="belief"))


def test_an_unknown_kind_of_causal_probe_is_refused(world):
    with pytest.raises(ValueError, match="about must be"):
        next(causal_probes(world, 1, about="weather"))


def test_every_word_read_has_a_skill_and_its_own_surprisal(world):
    reader = IdealReader(world)
    seen = set()
    for story in world.stories(seed=3, count=25):
        words = read(reader, story.words)
        assert [word.word for word in words] == story.words
        assert [word.nats for word in words] == pytest.approx(reader.surprisals(story.words))
        seen |= {word.skill for word in words}
        for position, word in enumerate(words):
            assert 0 <= word.distance <= position
    assert seen == set(SKILLS)


def test_the_ceiling_of_accuracy_is_the_share_that_the_most_probable_word_gets_right():
    world = StoryWorld()
    reader = IdealReader(world)
    words = [word for story in world.stories(seed=4, count=15) for word in read(reader, story.words, accuracy=True)]
    cursor, hits = reader.cursor(), 0
    for word in words:
        expected = cursor.next_word()
        assert word.best == pytest.approx(max(expected.values()))
        hits += max(expected, key=expected.get) == word.word
        cursor.push(word.word)
    chances = [word.best for word in words]
    spread = sum(p * (1 - p) for p in chances) ** 0.5
    assert abs(hits - sum(chances)) < 4 * spread


def test_the_readers_belief_is_given_word_by_word():
    story = StoryWorld(hidden_goals=1.0).story(5)
    traces = list(IdealReader(story.world).inferences(story.words[:-1]))
    assert [word for word, _, _ in traces] == story.words[:-1]
    assert not traces[0][1]
    assert traces[-1][2][story.fate] == pytest.approx(1.0)
