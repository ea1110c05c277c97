"""What stories consist of: lengths, shares, moods, languages, splits and dials."""

from itertools import pairwise

import pytest

from plm_core.storyworld import StoryWorld
from plm_core.storyworld.entropy import composition, entropy_rate
from plm_core.storyworld.events import KINDS
from plm_core.storyworld.lexicon import Lexicons

SIZES = ("small", "full")


def test_introductions_are_at_most_a_fifth_and_names_at_most_a_quarter():
    measured = composition(StoryWorld(), 160)
    assert measured.introductions <= 0.20
    assert measured.naming <= 0.25
    assert 0.4 < measured.told < 0.6
    assert 0.6 < measured.revealed < 0.9


@pytest.mark.parametrize("size", SIZES)
def test_the_four_moods_are_equally_frequent_and_follow_from_the_fate(size):
    stories = list(StoryWorld(size).stories(seed=1, count=400))
    for story in stories:
        assert story.final_state.mood() == story.fate
    for mood in ("proud", "grateful", "sad", "angry"):
        share = sum(story.fate == mood for story in stories) / len(stories)
        assert abs(share - 0.25) < 0.09  # 4 standard deviations


@pytest.mark.parametrize("language", ["en", "zh"])
def test_small_stories_fit_a_window_of_256_words(language):
    assert max(len(story.words) for story in StoryWorld(language=language).stories(count=500)) <= 256


@pytest.mark.parametrize("size", SIZES)
def test_both_languages_tell_the_same_events_by_the_same_rows(size):
    worlds = [StoryWorld(size, language) for language in ("en", "zh")]
    for english, chinese in zip(*(world.stories(seed=2, count=30) for world in worlds), strict=True):
        told = [
            [(s.event[0], s.pattern.row, s.pattern.pronoun) for s in story.sentences] for story in (english, chinese)
        ]
        assert told[0] == told[1]
        assert (english.goal, english.fate) == (chinese.goal, chinese.fate)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_text_is_written_and_split_without_loss(size, language):
    world = StoryWorld(size, language)
    known = set(world.vocabulary)
    for story in world.stories(seed=3, count=30):
        assert world.split(story.text) == story.words
        assert known.issuperset(story.words)


def test_the_vocabulary_has_the_promised_size():
    assert 150 <= len(StoryWorld().vocabulary) <= 350
    assert 1500 <= len(StoryWorld("full").vocabulary) <= 2500


def test_a_story_is_a_function_of_its_seed_and_splits_differ():
    world = StoryWorld()
    assert world.story(5).words == StoryWorld().story(5).words
    streams = {split: [story.text for story in world.stories(0, split, 20)] for split in ("train", "valid", "test")}
    assert len({text for texts in streams.values() for text in texts}) == 60


def test_hidden_goals_are_as_frequent_as_asked_for():
    assert all(story.told for story in StoryWorld(hidden_goals=0.0).stories(count=20))
    assert not any(story.told for story in StoryWorld(hidden_goals=1.0).stories(count=20))


def test_held_out_names_never_occur_in_seen_stories():
    seen = {e.key for s in StoryWorld(names="seen").stories(count=100) for e in s.final_state.people}
    held_out = {e.key for s in StoryWorld(names="held_out").stories(count=100) for e in s.final_state.people}
    assert min(len(seen), len(held_out)) > 3
    assert not seen & held_out


def test_held_out_combinations_of_thing_and_place_never_occur_in_seen_stories():
    def pairs(part: str) -> set[tuple[str, str]]:
        found = set()
        for story in StoryWorld(combinations=part).stories(count=150):
            state = story.state_after(3)
            found |= {(t.key, state.places[h].key) for t, h in zip(state.things[:-1], state.location, strict=False)}
        return found

    seen, held_out = pairs("seen"), pairs("held_out")
    assert min(len(seen), len(held_out)) > 3
    assert not seen & held_out


@pytest.mark.parametrize(("sentences", "least", "most"), [((6, 7), 8, 22), ((30, 36), 32, 50), ((52, 58), 54, 74)])
def test_stories_are_as_long_as_asked_for(sentences, least, most):
    lengths = [len(story.sentences) for story in StoryWorld(sentences=sentences).stories(count=60)]
    assert least <= min(lengths)
    assert max(lengths) <= most


def test_a_delay_keeps_the_protagonist_waiting():
    for story in StoryWorld(delay=2, sentences=(16, 20), hidden_goals=1.0).stories(count=20):
        acting = [
            i
            for i, s in enumerate(story.sentences[:16])
            if i >= 4 and s.planned and KINDS[s.event[0]].people[:1] == (0,) and s.event[1][0] == 0
        ]
        failures = {i for i, s in enumerate(story.sentences) if s.event[0].startswith("miss")}
        assert all(later - earlier > 2 for earlier, later in pairwise(acting) if later not in failures)


@pytest.mark.parametrize(
    "dials",
    [
        {"language": "de"}, {"lexicon": "huge"}, {"people": 2}, {"things": 1}, {"sentences": (9, 8)},
        {"distractors": 1.0}, {"hidden_goals": 1.5}, {"obstacles": -1.0}, {"delay": -1}, {"names": "some"},
        {"combinations": "none"},
    ],
)  # fmt: skip
def test_a_dial_outside_its_range_is_refused(dials):
    with pytest.raises(ValueError, match="must"):
        StoryWorld(**dials)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split must be one of"):
        StoryWorld().stories(split="dev")


def test_a_pronoun_never_stands_where_two_people_of_its_gender_were_just_mentioned():
    for story in StoryWorld(people=4).stories(seed=4, count=100):
        mentioned: list[set[int]] = []
        for state, sentence in story.replay():
            if sentence.pattern.pronoun:
                person = sentence.event[1][story.world.tellings[sentence.event[0]].subject]
                recent = set().union(*mentioned[-2:])
                same = {p for p in recent if state.people[p].tags == state.people[person].tags}
                assert same == {person}
            known = range(len(state.people))
            names = {state.people[p].forms["en"]["name"]: p for p in known}
            mentioned.append({names[word] for word in sentence.words if word in names} | _acting(sentence))


def _acting(sentence) -> set[int]:
    return {sentence.event[1][i] for i in KINDS[sentence.event[0]].people}


def test_the_entropy_rate_lies_inside_its_interval_from_another_sample():
    one, other = (entropy_rate(StoryWorld(), 80, seed=seed) for seed in (1, 2))
    assert abs(one.mean - other.mean) < 2 * (one.half_width + other.half_width)


def test_every_place_fits_its_setting_and_every_setting_grows_fruit():
    for size in SIZES:
        lexicons = Lexicons(size)
        for setting in lexicons.settings.entries:
            assert len(lexicons.places(setting).entries) >= 6
            assert lexicons.places(setting, "g").entries
            assert len(lexicons.things(setting, None).entries) >= 5


@pytest.mark.parametrize("size", SIZES)
def test_articles_and_numbers_agree_with_their_nouns(size):
    fruits = Lexicons(size).fruits.entries
    one, many = ({entry.forms["en"][form] for entry in fruits} for form in ("one", "many"))
    counts = {"two", "three", "four", "five", "six", "seven", "eight", "nine"}
    for story in StoryWorld(size).stories(seed=9, count=150):
        for word, following in pairwise(story.words):
            if word in ("a", "an"):
                assert (word == "an") == (following[0] in "aeiou"), (word, following)
            if following in one | many and word in counts | {"one"}:
                assert (following in one) == (word == "one"), (word, following)
            assert word != following


def test_chinese_measure_words_fit_their_nouns():
    world = StoryWorld("full", "zh")
    lexicons = Lexicons("full").all_entries()
    measures = {e.forms["zh"]["noun"]: e.forms["zh"]["m"] for e in (*lexicons["things"], *lexicons["fruits"])}
    numbers = set(world.lexicons.numbers["zh"][1:])
    for story in world.stories(seed=9, count=100):
        for number, measure, noun in zip(story.words, story.words[1:], story.words[2:], strict=False):
            if number in numbers and noun in measures:
                assert measure == measures[noun], (number, measure, noun)
