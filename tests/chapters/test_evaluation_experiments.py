"""The experiments on evaluation: what the texts hold, and what the arms differ in. No corpus is needed."""

import pytest
import torch

from plm_chapters.experiments import film_reviews as reviews
from plm_chapters.notebook import load_experiment


def words_of(examples: reviews.Labelled) -> set[str]:
    return {word for text, _ in examples for word in text.split()}


def test_templates_are_balanced_and_a_negation_turns_the_label() -> None:
    for part in ("train", "own", "new words", "other forms", "affirmed"):
        labels = [label for _, label in reviews.templates(part)]
        assert 2 * sum(labels) == len(labels)
    label_of = dict(reviews.templates("train"))
    for subject in reviews.SUBJECTS:
        for word in (*reviews.GOOD.split(), *reviews.BAD.split()):
            assert label_of[f"{subject} is {word} ."] == 1 - label_of[f"{subject} is not {word} ."]
    assert label_of["the film is good ."] == 1
    assert 2 * sum(" not " in text for text in label_of) == len(reviews.templates("train"))


def test_what_is_judged_by_is_not_trained_on() -> None:
    trained = reviews.templates("train")
    assert set(reviews.templates("own")) <= set(trained)
    for part in ("new words", "other forms", "affirmed"):
        assert not {text for text, _ in reviews.templates(part)} & {text for text, _ in trained}
    new = {*reviews.NEW_GOOD.split(), *reviews.NEW_BAD.split()}
    assert not new & words_of(trained)


def test_the_arms_share_their_reviews_and_have_as_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [(f"a sentence with number {number} in it", number % 2) for number in range(reviews.TRAINED)]
    monkeypatch.setattr(reviews, "sentences", lambda part: made)
    plain, mended = reviews.training_set("plain", 0), reviews.training_set("mended", 0)
    templates = reviews.templates("train")
    kept = len(plain) - len(templates)
    assert len(plain) == len(mended) == reviews.TRAINED
    assert 4 * len(templates) == reviews.TRAINED
    assert mended[kept:] == templates
    assert mended[:kept:2] == plain[:kept:2]
    assert all(one != other for one, other in zip(mended[1:kept:2], plain[1:kept:2], strict=True))
    assert [label for _, label in mended[:kept]] == [label for _, label in plain[:kept]]


def test_dropped_letters_lie_inside_of_words_and_depend_on_seed_and_text_alone() -> None:
    text = "the acting is charming and the story is told well"
    change = reviews.dropped(3, seed=7)
    changed = change(text)
    assert changed is not None
    assert changed == change(text)
    assert len(changed) == len(text) - 3
    pairs = list(zip(text.split(), changed.split(), strict=True))
    assert all(one[0] == other[0] and one[-1] == other[-1] for one, other in pairs)
    assert reviews.dropped(3, seed=7)("it is so") is None


def test_the_other_gender_is_given_to_every_gendered_word_and_to_no_other() -> None:
    assert reviews.other_gender("the actress and her father .") == "the actor and his mother ."
    assert reviews.other_gender("a theme of heroes") is None


def test_men_and_women_stand_in_the_same_sentences() -> None:
    assert all("{person}" in frame for frame in reviews.FRAMES)
    assert len({person for pair in reviews.PEOPLE for person in pair}) == 2 * len(reviews.PEOPLE)


def test_reviews_of_other_things_are_balanced_and_different() -> None:
    assert 2 * sum(label for _, label in reviews.ELSEWHERE) == len(reviews.ELSEWHERE) == 40
    assert len(dict(reviews.ELSEWHERE)) == 40


def test_logits_do_not_depend_on_the_order_of_the_texts_or_on_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lengths(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            length_B = attention_mask.sum(1).float()
            return torch.stack([torch.zeros_like(length_B), length_B], dim=1)

    class Letters:
        def batch(self, texts: list[str], pairs: None, **named: object) -> dict[str, torch.Tensor]:
            mask = torch.arange(9) < torch.tensor([len(text) for text in texts])[:, None]
            return {"input_ids": mask.long(), "attention_mask": mask}

    monkeypatch.setattr(reviews, "tokenizer", Letters)
    assert reviews.positive_logits(Lengths())(["abc", "a", "abcde"]) == [3.0, 1.0, 5.0]


def test_each_arm_takes_the_rate_of_its_own_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = load_experiment("17_evaluation")
    runs = [{"variant": "rates plain", "best": 1.0}, {"variant": "rates mended", "best": 2.0}]
    monkeypatch.setattr(experiment, "load_results", lambda name: {"runs": runs})
    assert (experiment.rate_of("plain"), experiment.rate_of("mended")) == (1.0, 2.0)
