"""Labels: derived once more from the words or from the events, independently of the loaders."""

import pytest

from plm_core.storyworld_v1 import IdealReader, StoryWorld, probes, tasks


@pytest.fixture(scope="module")
def stories():
    return list(StoryWorld("small", "en").stories(31, "test", 120))


def test_mood_follows_from_who_has_the_wanted_thing(world):
    for story in world.stories(30, count=60):
        state = story.final_state
        holder = state.things[state.wanted].holder
        expected = "sad" if holder is None else "glad" if holder == 0 else "angry"
        assert tasks.mood(story) == expected
        whole, cut = (next(tasks.moods([story], whole=whole)) for whole in (True, False))
        assert whole.label == cut.label == expected
        assert whole.text.startswith(cut.text)
        assert whole.text != cut.text


def test_every_mood_is_common(world):
    found = [tasks.mood(story) for story in world.stories(32, count=400)]
    assert all(found.count(mood) > 40 for mood in tasks.MOODS)


def test_tags_name_exactly_the_names_places_and_objects(world):
    """Read off the words alone: names are tagged wherever they stand, places too, and spans are well formed."""
    names = world.names
    places = set(world.lexicons["places"].words(world.language, "noun"))
    colours = set(world.lexicons["things"].words(world.language, "colour"))
    for sentence in tasks.tagged_sentences(world.stories(33, count=40)):
        assert len(sentence.words) == len(sentence.tags)
        before = "O"
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            assert (word in names) == (tag == "B-PER")
            if word in places:
                assert tag == "B-LOC"
            if word in colours:
                assert tag[2:] == "OBJ" or "颜色" in sentence.words or "colour" in sentence.words
            if tag.startswith("I-"):
                assert before[2:] == tag[2:]
            before = tag


def test_answers_stand_in_the_context_and_are_certain(world):
    reader, kinds = IdealReader(world), set()
    for story in world.stories(34, "test", 25):
        for question in tasks.questions([story]):
            kinds.add(question.kind)
            assert question.context[question.start] == question.answer
            assert question.context == story.words[: len(question.context)]
            answer_at = question.start + question.distance
            assert story.words[answer_at] == question.answer
            assert story.words[len(question.context) :][: len(question.words)] == question.words
            after = reader.next_word(story.words[:answer_at])
            assert after[question.answer] == pytest.approx(1.0)
    assert len(kinds) >= 5, kinds


def test_a_summary_is_made_of_sentences_of_the_world(stories):
    for story in stories:
        told = tasks.summary(story)
        assert any(word in told[0] for word in ("wanted",))
        assert told[-1][:3] == ["in", "the", "end"]
        assert sum("gave" in words or "picked" in words for words in told) == sum(
            sentence.kind.name in ("take", "give") and sentence.values[-1] == story.final_state.wanted
            for sentence in story.sentences
        )


def test_relations_by_a_second_simulation(stories):
    """Places and holders kept in two plain dictionaries, from the names of the events alone."""
    for story in stories:
        where, held = {}, {}
        people, things, places = [], [], []
        for sentence in story.sentences:
            name, values = sentence.kind.name, sentence.values
            if name in ("meet_there", "thing_there", "explore"):
                places.append(values[-1].forms["en"]["noun"])
            if name in ("meet_there", "meet_here"):
                people.append(values[-2 if name == "meet_there" else -1].key)
                where[people[-1]] = places[-1] if name == "meet_there" else places[values[0]]
            elif name in ("thing_there", "thing_here"):
                forms = values[-2 if name == "thing_there" else -1].forms["en"]
                things.append(f"{forms['colour']} {forms['noun']}")
                where[things[-1]] = places[-1] if name == "thing_there" else places[values[0]]
            elif name == "go":
                where[people[values[0]]] = places[values[1]]
            elif name == "explore":
                where[people[values[0]]] = places[-1]
            elif name == "follow":
                where[people[values[0]]] = where[people[values[1]]]
            elif name == "seek":
                thing = things[values[1]]
                where[people[0]] = where[held.get(thing, thing)]
            elif name == "take":
                held[things[values[1]]] = people[values[0]]
            elif name == "give":
                held[things[values[2]]] = people[values[1]]
            elif name == "drop":
                where[things[values[1]]] = where[held.pop(things[values[1]])]
        expected = {(who, "is at", where[who]) for who in people}
        expected |= {(held[t], "has", t) if t in held else (t, "is at", where[t]) for t in things}
        assert {(r.head, r.relation, r.tail) for r in tasks.relations(story)} == expected


def test_pairs_of_sentences_are_aligned():
    for english, chinese in tasks.parallel("small", seed=3, count=20):
        assert [s.kind.name for s in english.sentences] == [s.kind.name for s in chinese.sentences]
    pair = next(tasks.translations(tasks.parallel("full", count=1, people="held_out")))
    assert pair.source.endswith(".")
    assert pair.target.endswith("。")


def test_documents_are_the_stories(stories):
    for story, document in zip(stories, tasks.documents(stories), strict=True):
        assert [word for sentence in document for word in sentence] == story.words[:-1]


@pytest.mark.parametrize("probe", [probes.agreement, probes.coreference, probes.counting, probes.recall])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_probes_are_right_by_the_ideal_reader(probe, language):
    """The right word is possible where each wrong one is impossible; the difficulty varies."""
    world = StoryWorld("small", language)
    reader = IdealReader(world)
    if probe is probes.agreement and language == "zh":
        with pytest.raises(ValueError, match="agree"):
            next(probe(world.stories(0)))
        return
    found = [next_probe for next_probe, _ in zip(probe(world.stories(35, "test")), range(60), strict=False)]
    assert len({one.difficulty for one in found}) > 1
    for one in found[:40]:
        following = reader.next_word(one.words)
        assert following[one.right] > 0
        assert one.wrong
        assert not set(one.wrong) & set(following)
