"""Stories make sense: what people want, do and are told of fits where they are and what has happened."""

from itertools import pairwise

import pytest

from plm_core.storyworld import StoryWorld
from plm_core.storyworld.goals import at_hand, nearly_met, person_wanted_here, prior, within_reach
from plm_core.storyworld.happenings import MOST_THOUGHTS, REST
from plm_core.storyworld.words import LIGHT
from tests.storyworld.telling import SIZES, told


@pytest.mark.parametrize("size", SIZES)
def test_no_goal_is_nearly_met_at_the_start(size):
    kinds = set()
    for story, state, sentence in told(size):
        if sentence.event[0].startswith(("want_", "plan")):
            assert not nearly_met(state, story.goal)
            goals = prior(state)
            assert story.goal in goals
            assert not any(nearly_met(state, goal) for goal in goals)
            assert sum(goals.values()) == pytest.approx(1.0)
            kinds.add(story.goal[0])
    assert kinds == {"have", "bring", "meet", "find", "gather"}


def test_a_thing_to_bring_never_lies_at_its_receivers_feet():
    for story, state, sentence in told("small"):
        if sentence.event[0] in ("want_bring", "plan") and story.goal[0] == "bring":
            assert state.place_of(story.goal[1]) != state.at[story.goal[2]]


def test_three_quarters_of_the_hidden_goals_are_told_at_the_end():
    stories = list(StoryWorld(hidden_goals=1.0).stories(count=400))
    share = sum(story.final_state.revealed for story in stories) / len(stories)
    assert abs(share - 0.75) < 0.09  # 4 standard deviations


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_none_of_the_hidden_goals_are_told_at_the_end(share):
    world = StoryWorld(hidden_goals=1.0, revealed_goals=share)
    assert {story.final_state.revealed for story in world.stories(count=40)} == {bool(share)}


def test_a_goal_that_was_told_is_not_told_again():
    assert not any(story.final_state.revealed for story in StoryWorld(hidden_goals=0.0).stories(count=40))


@pytest.mark.parametrize("size", SIZES)
def test_nobody_comes_who_is_there_already(size):
    comings = 0
    for _, state, sentence in told(size):
        kind, args = sentence.event
        text = " ".join(sentence.words)
        if kind in ("bring", "grab", "come_tell", "aid_wrap", "aid_pack"):
            if any(coming in text for coming in ("came over", "came to", "came along", "rushed in")):
                assert state.at[args[0]] != state.at[args[1]], text
                comings += 1
        elif kind in ("go", "shelter"):
            assert state.at[args[0]] != args[1], text
    assert comings > 5


@pytest.mark.parametrize("size", SIZES)
def test_thoughts_are_few_and_follow_events(size):
    for story in StoryWorld(size).stories(seed=12, count=300):
        places = [number for number, s in enumerate(story.sentences) if s.event[0] == "think"]
        assert len(places) <= MOST_THOUGHTS
        assert all(later - earlier > REST for earlier, later in pairwise(places))
        thinkers = [story.sentences[number].event[1][0] for number in places]
        assert len(thinkers) == len(set(thinkers))
        for number in places:
            assert max(story.state_after(number).moved) >= 0  # some thing has been moved


@pytest.mark.parametrize("size", SIZES)
def test_what_stands_before_ones_eyes_is_not_missed(size):
    for _, state, sentence in told(size):
        if sentence.event[0] == "miss":
            person, thing = sentence.event[1]
            assert state.place_of(thing) != state.at[person]


@pytest.mark.parametrize("size", SIZES)
def test_nobody_gives_up_while_the_last_step_is_at_hand(size):
    given_up = 0
    for story, state, sentence in told(size):
        if sentence.event[0] == "give_up":
            assert not within_reach(state, story.goal)
            given_up += 1
    assert given_up > 30


@pytest.mark.parametrize("size", SIZES)
def test_what_is_to_be_brought_is_not_given_away_or_put_down(size):
    for story, state, sentence in told(size):
        if story.goal[0] == "bring" and state.opened and state.location[story.goal[1]] == -1:
            kind, args = sentence.event
            assert not (kind in ("drop", "hand") and args[0] == 0 and args[-1] == story.goal[1])


@pytest.mark.parametrize("size", SIZES)
def test_fruit_is_given_only_to_those_who_have_none(size):
    for _, state, sentence in told(size):
        if sentence.event[0] == "give_away":
            assert state.count[sentence.event[1][1]] == 0


@pytest.mark.parametrize("size", SIZES)
def test_the_protagonist_is_not_forgotten(size):
    for story in StoryWorld(size).stories(seed=12, count=200):
        waiting = 0
        for _, sentence in story.replay():
            waiting = 0 if sentence.planned else waiting + 1
            assert waiting <= 2 * story.world.limits.patience + 6  # what has begun is told to its end


def test_possessives_are_written_as_in_english_and_split_again():
    world = StoryWorld("full")
    text = world.write([["it", "was", "anna", "'s", "birthday", "."]])
    assert text == "It was Anna's birthday."
    assert world.split(text)[:-1] == ["it", "was", "anna", "'s", "birthday", "."]
    words = [word for story in world.stories(count=300) for word in story.words]
    assert "'s" in words


def test_a_gatherer_who_is_refused_has_picked_some_fruit_first_unless_it_is_late():
    refused = 0
    for story, state, sentence in told("small", 500):
        if story.fate == "angry" and sentence.event[0] == "ask_fruit" and sentence.event[1][0] == 0:
            refused += 1
            assert state.count[0] or state.sentence >= StoryWorld().limits.latest
    assert refused > 10


@pytest.mark.parametrize("size", SIZES)
def test_the_wanted_thing_does_not_lie_before_the_protagonist_for_long(size):
    removed = 0
    for story, state, sentence in told(size, 400):
        if state.aim and not (state.over or state.pending) and at_hand(state, story.goal):
            kind, args = sentence.event
            thing = story.goal[1]
            gone = kind in ("take", "grab", "bring", "luck", "stow", "carry") and thing in args
            assert gone or kind.startswith("miss"), " ".join(sentence.words)
            removed += gone
    assert removed > 50


@pytest.mark.parametrize("size", SIZES)
def test_who_gives_up_has_tried_something_and_is_not_with_whom_he_wants(size):
    latest = StoryWorld(size).limits.latest
    given_up = 0
    for story, state, sentence in told(size, 400):
        if sentence.event[0] == "give_up":
            tried = state.tries >= 2 or story.goal[0] == "gather"
            assert tried or state.sentence >= latest
            assert not at_hand(state, story.goal)
            assert not person_wanted_here(state, story.goal)
            given_up += 1
    assert given_up > 60


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", SIZES)
def test_whoever_flees_the_rain_waits_until_it_has_stopped(size, language):
    fled = 0
    for _, _, sentence in told(size, 300, language=language):
        if sentence.event[0] == "shelter":
            text = " ".join(sentence.words)
            assert "rain stopped" in text if language == "en" else "雨 停" in text
            fled += 1
    assert fled > 5


@pytest.mark.parametrize("size", SIZES)
def test_animals_carry_off_only_light_things(size):
    carried = 0
    for _, state, sentence in told(size, 300):
        if sentence.event[0] == "carry":
            assert state.things[sentence.event[1][0]].key in LIGHT.split()
            carried += 1
    assert carried > 20


def test_every_light_thing_is_a_thing():
    lexicons = StoryWorld("full").lexicons
    assert set(LIGHT.split()) <= {entry.key for entry in lexicons.all_entries()["things"]}


@pytest.mark.parametrize("size", SIZES)
def test_nobody_who_is_asked_names_a_place_just_left(size):
    answers = 0
    for story, state, sentence in told(size, 600):
        kind, args = sentence.event
        if kind in ("answer", "answer_person") and args[1] == 0 and (kind, args[2]) != ("answer", state.secret):
            place = state.believed[args[0]][args[2]] if kind == "answer" else state.believed_at[args[0]][args[2]]
            late = state.sentence > story.world.limits.latest  # then the last question before a refusal
            assert late or state.visited[place] <= state.sentence - 7 or place == state.at[0]
            answers += 1
    assert answers > 5


@pytest.mark.parametrize("size", SIZES)
def test_meanwhile_is_said_only_once_something_has_happened(size):
    said = 0
    for _, state, sentence in told(size, 300):
        if sentence.words[0] == "meanwhile":
            assert max(state.arrived) >= 0 or max(state.moved) >= 0
            said += 1
    assert said > 5


def test_no_word_for_a_mood_serves_two_classes():
    for size in SIZES:
        for language in ("en", "zh"):
            moods = StoryWorld(size, language).lexicons.moods
            words = [entry.forms[language]["adj"] for lexicon in moods.values() for entry in lexicon.entries]
            assert len(words) == len(set(words))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_gratitude_names_nobody_who_helped(language):
    for story in StoryWorld("full", language).stories(seed=3, count=60):
        last = story.sentences[-1]
        if last.event[0] == "end_grateful":
            assert ("help" if language == "en" else "帮") not in last.words


@pytest.mark.parametrize("size", SIZES)
def test_a_refused_request_for_a_thing_is_not_answered_like_an_invitation(size):
    for _, state, sentence in told(size, 300):
        if sentence.event[0] == "later" and state.pending[0] != "invite":
            text = " ".join(sentence.words)
            assert not any(word in text for word in ("mood", "good time", "no time"))


@pytest.mark.parametrize("size", SIZES)
def test_nobody_finds_what_he_or_she_has_put_there(size):
    again = 0
    for _, state, sentence in told(size, 400):
        if sentence.event[0] == "take":
            person, thing = sentence.event[1]
            text = " ".join(sentence.words)
            own = state.placed[thing] == person
            assert not (own and any(word in text for word in ("found", "saw", "could not leave"))), text
            assert own or "again" not in text
            again += own
    assert again > 5


@pytest.mark.parametrize("size", SIZES)
def test_rain_secrets_gifts_and_shown_things(size):
    gifts = 0
    for story in StoryWorld(size).stories(seed=14, count=300):
        assert sum(s.event[0] == "rain" for s in story.sentences) <= 1
        for state, sentence in story.replay():
            kind, args = sentence.event
            if kind == "tell" and args[2] == state.secret:
                assert state.at[0] != state.at[args[0]]  # the protagonist does not hear it
            elif kind == "show" and args[1] == 0:
                assert ("beg", args[0], args[2]) not in state.asked
            elif kind == "bring":
                late = state.sentence >= story.world.limits.latest
                assert state.tries or late or state.location[args[2]] == state.at[0]
                gifts += 1
    assert gifts > 10


@pytest.mark.parametrize("size", SIZES)
def test_only_who_has_been_at_a_place_goes_back_there_and_nobody_soon_twice(size):
    back, been, soon = 0, set(), False
    for _, state, sentence in told(size, 200):
        if state.sentence == 0:
            been = set()
        been |= set(enumerate(state.at))
        text = " ".join(sentence.words)
        if sentence.event[0] == "go":
            assert not (soon and text.startswith("soon"))
            if "went back" in text:
                assert sentence.event[1] in been
                back += 1
        soon = sentence.event[0] == "go" and text.startswith("soon")
    assert back > 20


@pytest.mark.parametrize("size", SIZES)
def test_fruit_that_hangs_too_high_is_picked_by_the_helper_alone(size):
    for story, state, sentence in told(size, 300):
        if sentence.event[0] == "give_fruit":
            assert state.count[0] + sentence.event[1][2] == story.goal[1]


def test_the_first_thing_at_a_place_is_not_called_a_further_one():
    for _, state, sentence in told("small", 100, language="zh"):
        if sentence.event[0] == "lie" and sentence.words[0] != "有":
            where = sentence.event[1][1]
            assert ("还" in sentence.words) == (where in state.location or where == state.fruit_at)
