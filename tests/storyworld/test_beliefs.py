"""Who knows what: people believe what they have seen or been told, and act on it."""

from plm_core.storyworld import StoryWorld
from plm_core.storyworld.actions import _carry
from plm_core.storyworld.events import advance
from plm_core.storyworld.state import UNKNOWN, State


def village() -> State:
    """Persons 0, 1, 2 at places 0, 1, 2; thing 0 at place 1, as all know; thing 1 is the secret at place 2."""
    state = StoryWorld().story(0).state_after(3).copy()
    state.at, state.places = [0, 1, 2], (state.places * 3)[:4]
    state.visited, state.fruit_at = [0, -99, -99, -99], 3
    state.things = state.things[:2]
    state.location, state.moved = [1, 2], [-99, -99]
    state.believed = [[1, UNKNOWN], [1, UNKNOWN], [1, 2]]
    state.believed_at = [[0, 1, 2] for _ in range(3)]
    return state


def test_who_is_absent_does_not_notice_that_a_thing_is_moved():
    state = village()
    advance(state, ("stow", (1, 0, 3)))
    assert state.location[0] == 3
    assert state.believed_place(1, 0) == 3
    assert state.believed_place(0, 0) == 1
    assert state.believed_place(2, 0) == 1


def test_who_arrives_and_does_not_find_a_thing_no_longer_knows_where_it_is():
    state = village()
    advance(state, ("stow", (1, 0, 3)))
    advance(state, ("go", (0, 1)))
    assert state.believed[0][0] == UNKNOWN
    assert 0 in state.missed


def test_who_is_told_believes_it_even_if_it_is_wrong():
    state = village()
    advance(state, ("stow", (1, 0, 3)))
    advance(state, ("go", (0, 1)))
    advance(state, ("go", (2, 0)))
    advance(state, ("go", (0, 0)))
    advance(state, ("answer", (2, 0, 0)))
    assert state.believed_place(0, 0) == 1
    assert not state.helped


def test_a_true_answer_is_help():
    state = village()
    state.believed[0][0] = UNKNOWN
    advance(state, ("go", (0, 2)))
    advance(state, ("answer", (2, 0, 0)))
    assert state.believed_place(0, 0) == 1
    assert state.helped


def test_who_sees_a_person_arrive_sees_what_the_person_carries():
    state = village()
    advance(state, ("take", (1, 0)))
    advance(state, ("go", (1, 2)))
    assert state.believed[2][0] == -2
    assert state.believed_place(0, 0) == 1


def test_who_sees_an_animal_run_off_does_not_know_where_to():
    state = village()
    _carry(state, 0, 3)
    assert state.believed[1][0] == UNKNOWN
    assert state.believed[0][0] == 1


def test_the_secret_is_found_only_by_search_or_word():
    state = village()
    advance(state, ("go", (0, 2)))
    assert state.believed[0][1] == UNKNOWN
    advance(state, ("find", (0, 1)))
    assert state.location[1] == state.believed[0][1] == -1


def test_people_seek_a_thing_where_they_believe_it_to_be():
    seeking = 0
    for story in StoryWorld(hidden_goals=0.0).stories(seed=5, count=150):
        for state, sentence in story.replay():
            if sentence.event[0] in ("seek", "think"):
                person, thing = sentence.event[1]
                place = state.places[state.believed_place(person, thing)].forms["en"]["noun"]
                assert place in sentence.words
                seeking += state.believed_place(person, thing) != state.place_of(thing)
    assert seeking > 5  # some of them are wrong


def test_what_is_believed_of_people_and_things_in_view_is_true():
    for story in StoryWorld(people=4, things=3).stories(seed=6, count=60):
        for state, _ in story.replay():
            for person, place in enumerate(state.at):
                for other in state.here(person):
                    assert state.believed_at[person][other] == place
                for thing, where in enumerate(state.location[:-1]):
                    if state.opened and state.place_of(thing) == place:
                        assert state.believed[person][thing] == where
