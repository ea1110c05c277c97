"""Stories that are continued and judged, and dialogues about them: the judges of the chapter on generation."""

import math
from collections import Counter

import pytest
import torch

from plm_chapters.experiments import story_dialogues as talk
from plm_chapters.experiments import story_generation as stories
from plm_chapters.notebook import load_experiment, load_results
from plm_core.generation.beam import Beam
from plm_core.generation.sampling import Sampling
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.storyworld import StoryWorld
from plm_core.storyworld.tasks import summaries

WORLD = StoryWorld("small", "en")


@pytest.fixture(scope="module")
def told():
    return stories.contexts(WORLD, 8)


@pytest.fixture(scope="module")
def writer():
    words = talk.all_words(WORLD)
    torch.manual_seed(0)
    config = GptConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=64,
        max_position_embeddings=None,
        position="rope",
    )
    return stories.Writer(Gpt(config), words, WORLD)


def test_the_true_ends_of_stories_are_possible_and_have_their_exact_probability(told):
    for context in told:
        count, nats = stories.judge(context, context.rest)
        assert count == len(context.rest)
        cursor = context.cursor.copy()
        assert nats == pytest.approx(math.fsum(cursor.push(word) for word in context.rest))
        changed = [*context.rest[:3], "nonsense", *context.rest[4:]]
        assert stories.judge(context, changed)[0] == 3


def test_judging_leaves_the_context_as_it_was(told):
    before = told[0].cursor.next_word()
    stories.judge(told[0], told[0].rest)
    assert told[0].cursor.next_word() == before


def test_repeated_is_the_share_of_grams_that_stood_before():
    assert stories.repeated(list("abcabc"), 3) == pytest.approx(1 / 4)
    assert stories.repeated(list("aaaaaa"), 2) == pytest.approx(4 / 5)
    assert stories.repeated(list("abcdef")) == 0
    assert stories.repeated(["a"]) == 0


def test_the_ideal_reader_draws_what_is_possible_with_its_own_probabilities(told):
    texts = stories.ideal_sampled([told[0]] * 400, Sampling(), WORLD, stop=".", most=40, seed=1)
    counts = Counter(map(tuple, texts))
    for words, count in counts.most_common(3):
        found, nats = stories.judge(told[0], words)
        share = math.exp(-nats)
        assert found == len(words)
        assert abs(count / 400 - share) < 5 * math.sqrt(share * (1 - share) / 400)


def test_a_beam_of_the_ideal_reader_knows_the_exact_log_probability_and_beats_greedy_search(told):
    greedy = stories.ideal_sampled(told, Sampling(0), WORLD, stop=".", most=40, seed=0)
    for width in (1, 8):
        found = stories.ideal_searched(told, Beam(width, 40, alpha=0.0), WORLD, stop=".")
        for context, (words, output), first in zip(told, found, greedy, strict=True):
            count, nats = stories.judge(context, words)
            assert count == len(words)
            assert output.log_probability == pytest.approx(-nats, abs=1e-9)
            if width == 1:
                assert words == first
            else:
                assert nats <= stories.judge(context, first)[1] + 1e-9


def test_sentences_are_scored_by_context():
    context = stories.contexts(WORLD, 1)[0]
    right = context.rest[: context.rest.index(".") + 1]
    wrong = ["nonsense", "."]
    scores = stories.score_sentences([context], [[right, wrong]], ".")
    assert scores["possible"] == [0.5]
    assert scores["differ"] == 1.0
    assert scores["distinct"] == [1]  # the other one is not possible
    assert stories.score_sentences([context], [[right, right]], ".")["distinct"] == [1]
    assert scores["nats"] == pytest.approx(stories.judge(context, right)[1])
    assert stories.score_sentences([context], [[right, right[:-1]]], ".")["possible"] == [0.5]  # it breaks off


def test_a_writer_writes_words_of_the_world_and_its_texts_do_not_depend_on_their_neighbours(told, writer):
    prompts = [context.words for context in told]
    texts = writer.sampled(prompts, Sampling(), stop=".", most=12, seed=3)
    assert {word for text in texts for word in text} <= set(WORLD.vocabulary)
    assert all("." not in text[:-1] for text in texts)
    greedy = writer.sampled(prompts, Sampling(0), stop=".", most=12, seed=3)
    assert greedy[:3] == writer.sampled(prompts[:3], Sampling(0), stop=".", most=12, seed=5)
    assert [words for words, _ in writer.searched(prompts[:2], Beam(1, 12), stop=".")] == greedy[:2]


def test_answers_in_dialogues_follow_from_the_world():
    asked = list(talk.dialogues(WORLD, 30, seed=0, split="valid"))
    kinds = Counter(turn.kind for each in asked for turn in each.turns)
    assert len(kinds) == 5
    for each in asked:
        assert 0 < len(each.turns) <= talk.TURNS
        assert len({tuple(turn.asked) for turn in each.turns}) == len(each.turns)
        for turn in each.turns:
            assert turn.answer in (each.people if turn.kind == "who has it" else each.places)
            assert talk.judge_answer(each, turn, [turn.answer]) == "right"
            assert talk.judge_answer(each, turn, []) == "garbled"
            assert talk.judge_answer(each, turn, ["atlantis"]) == "invented"
            names = each.people if turn.kind == "who has it" else each.places
            other = next(name for name in names if name != turn.answer)
            assert talk.judge_answer(each, turn, [other]) == "contradicts"


def test_summaries_are_judged_by_what_the_story_supports():
    known = talk.summary_words(WORLD)
    for example in summaries(WORLD, 20, split="valid"):
        words = list(example.label)
        assert talk.judge_summary(example, words, known) == "right"
        endings = [", but gave up .", ", but was refused .", ", and did it alone .", ", and did it with help ."]
        body = words[: len(words) - next(len(e.split()) for e in endings if " ".join(words).endswith(e))]
        verdicts = {talk.judge_summary(example, [*body, *ending.split()], known) for ending in endings}
        assert verdicts <= {"right", "contradicts"}
        assert "contradicts" in verdicts
        assert talk.judge_summary(example, ["atlantis", *words[1:]], known) == "invented"
        assert talk.judge_summary(example, words[:-3], known) == "garbled"


def test_naive_bayes_weighs_labels_by_how_often_they_have_each_feature():
    a, b = ("a",), ("b",)
    counted = talk.NaiveBayes([(a, {1, 2}), (a, {1}), (a, {1, 3}), (b, {2}), (b, {2, 3})], smoothing=0.1)
    assert counted.likeliest({1}) == a
    assert counted.likeliest({2}) == b
    assert counted.likeliest({1, 2, 3}) == a
    assert counted.likeliest({"never seen"}) == counted.likeliest(()) == a  # the more frequent label


def test_the_counting_rule_copies_a_told_goal_and_counts_the_rest():
    rule = talk.CountingRule(summaries(WORLD, 150, seed=7))
    known, right, copied = talk.summary_words(WORLD), [], 0
    for example in summaries(WORLD, 40, split="valid"):
        words = rule.summary(example)
        assert talk.well_formed(words, known)
        assert words[0] == next(word for word in example.words if word in rule.names)
        story, goal = " ".join(example.words), " ".join(words).rsplit(" , ", 1)[0]
        if f"{words[0]} wanted to" in story:
            copied += goal in story
        right.append(talk.judge_summary(example, words, known) == "right")
    assert copied > 5
    blind = talk.CountingRule([next(summaries(WORLD, 1, seed=7))])
    blind.names = rule.names
    examples = list(summaries(WORLD, 40, split="valid"))
    guessed = [talk.judge_summary(each, blind.summary(each), known) == "right" for each in examples]
    assert sum(right) > sum(guessed) + 3  # it has learned something from 150 examples that one does not tell


def test_answers_stand_in_the_dialogue_when_the_next_question_is_asked(writer):
    asked = list(talk.dialogues(WORLD, 3, seed=0, split="valid"))
    said = talk.converse(writer, asked, "greedy", Sampling(0), seed=0)
    assert [len(answers) for answers in said] == [len(each.turns) for each in asked]
    text = [*asked[0].words, talk.ASK, *asked[0].turns[0].asked, talk.SAY, *said[0][0], "."]
    text += [talk.ASK, *asked[0].turns[1].asked, talk.SAY]
    (second,) = talk.AllowingMarks(writer).sampled([text], Sampling(0), stop=".", most=6, seed=0)
    assert said[0][1] == (second[: second.index(".")] if "." in second else second)


def test_shakespeare_is_continued_by_the_methods_that_are_stored():
    experiment = load_experiment("16b_shakespeare")
    methods = {experiment.HUMAN, *experiment.SAMPLERS, "beam 4", "beam 16", stories.CONTRASTIVE}
    assert all(set(run["texts"]) == methods for run in load_results("16b_shakespeare")["runs"])


def test_documents_to_fine_tune_on_hold_marks_and_end():
    words = talk.all_words(WORLD)
    rows = talk.documents(WORLD, 3, seed=5)
    assert len(rows) == 6
    assert all(row[0] == row[-1] == stories.END for row in rows)
    assert sum(words.index(talk.SUMMARY) in row for row in rows) == 3
    assert sum(words.index(talk.SAY) in row for row in rows) == 3
