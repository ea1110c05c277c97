"""Requests and answers: what is asked again says so, who helps was not rude, who was asked to a place stays away."""

import pytest

from tests.storyworld.telling import SIZES, told


@pytest.mark.parametrize("size", SIZES)
def test_a_second_request_says_that_it_is_one(size):
    seconds = 0
    for _, state, sentence in told(size):
        kind, args = sentence.event
        if kind in ("ask", "ask_person", "beg", "offer", "invite") and args[0] == 0:
            again = (kind, *args[1:]) in state.asked
            text = " ".join(sentence.words)
            assert any(word in text for word in ("again", "once more", "this time")) == again, text
            seconds += again
    assert seconds > 30


@pytest.mark.parametrize("size", SIZES)
def test_nobody_changes_a_mind_that_was_not_asked_or_brings_by_hand_what_lies_elsewhere(size):
    changes = fetched = 0
    for _, state, sentence in told(size, count=300):
        if sentence.event[0] == "bring":
            person, _, thing = sentence.event[1]
            text = " ".join(sentence.words)
            asked = ("beg", person, thing) in state.asked and state.location[thing] == -1 - person
            assert ("change of heart" in text or "felt sorry" in text) == asked, text
            if state.location[thing] < 0:
                assert not any(word in text for word in ("fetched", "look for", "picked up")), text
            changes += asked
            fetched += state.location[thing] >= 0
    assert min(changes, fetched) > 0


@pytest.mark.parametrize("size", SIZES)
def test_who_helps_in_the_end_is_not_rude_before(size):
    assert not any(sentence.event[0] == "later_rude" for story, _, sentence in told(size) if story.fate == "grateful")


def test_who_was_asked_to_a_place_does_not_go_there_alone():
    asked = 0
    for story, state, sentence in told("small", count=300):
        if story.goal[0] == "meet" and len(state.places) > 2 and ("invite", *story.goal[1:]) in state.asked:
            alone = state.at[0] != story.goal[2]
            assert not (alone and sentence.event == ("go", story.goal[1:]))
            asked += alone
    assert asked > 30
