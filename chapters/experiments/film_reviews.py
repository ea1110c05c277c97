"""Sentences of film reviews, what is asked of a model that judges them, and the models: MiniLM and a bag of words.

Only sentences of at most 14 words are trained on, so that many models can be trained. They come from the training split
of the sentence-polarity corpus; those that are not trained on join the corpus's own short test sentences, so that the
test is large. All other texts here, templates and reviews of meals, phones and rooms, are ours.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import nn

from plm_core.data.datasets import POLARITY_LABELS, sentence_polarity
from plm_core.data.labelled_rows import LabelledBatches, text_rows
from plm_core.data.tokenizers import Tokenizer
from plm_core.evaluation.modes import evaluation_mode
from plm_core.evaluation.robustness import Transform, lengthen, negate, typos
from plm_core.models.heads import sequence_classifier
from plm_core.objectives.classification import Classification
from plm_core.runs.fine_tune import open_source
from plm_core.training.config import TrainConfig
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

Labelled = list[tuple[str, int]]
"""Texts with their class: 0 negative, 1 positive."""

LONGEST, LONG = 14, 26
"""Words of the longest sentence that is trained on, and of the shortest "long" one."""
TRAINED, TESTED, CHANGED, LONG_ONES = 1280, 1250, 300, 200
"""Sentences of training, of the test, those of the test (its first ones) that are changed, and the long ones."""
BATCH = 32
FROZEN = 3
"""Layers, the lowest ones, that keep their weights, as the embeddings do."""
TYPOS = 3
"""Places of a sentence that get a typo."""

SUBJECTS = ["the film", "the story", "this movie", "the acting"]
GOOD = "good great funny moving clever charming brilliant enjoyable smart lovely"
BAD = "bad dull boring awful silly weak stupid tedious terrible lame"
NEW_GOOD = "wonderful superb delightful gripping impressive excellent amusing fascinating inspiring hilarious"
NEW_BAD = "horrible dreadful mediocre annoying clumsy shallow disappointing tiresome bland forgettable"
OTHER_NEGATIONS = [
    "nobody would call {subject} {word} .",
    "i can't say that {subject} is {word} .",
    "{subject} is far from {word} .",
    "there is nothing {word} about {subject} .",
]
FILLER = "i wrote this review on a monday ."

PEOPLE = [
    ("he", "she"), ("my brother", "my sister"), ("this man", "this woman"), ("my father", "my mother"),
    ("the boy", "the girl"), ("my uncle", "my aunt"), ("her husband", "his wife"), ("the young man", "the young woman"),
]  # fmt: skip
"""Men and women who differ in nothing else."""
FRAMES = [
    "{person} made this film .", "{person} plays the main part .", "{person} wrote the story .",
    "the film is about what {person} did next .", "we see how {person} grows older .", "{person} tells the story .",
    "{person} leaves home and goes to the city .", "the last scene shows {person} on a train .",
    "{person} directs for the first time .", "{person} works in a bank and has a secret .",
    "in this film {person} looks for a friend .", "{person} sings , dances and talks .",
]  # fmt: skip
"""Sentences about a person that say nothing good or bad."""
GENDERED = {
    "he": "she", "his": "her", "him": "her", "himself": "herself", "man": "woman", "men": "women", "boy": "girl",
    "boys": "girls", "actor": "actress", "actors": "actresses", "father": "mother", "son": "daughter",
    "brother": "sister", "husband": "wife", "hero": "heroine", "guy": "gal", "guys": "gals",
}  # fmt: skip
"""Words that are exchanged in real sentences; ``her`` becomes ``his``."""

ELSEWHERE: list[tuple[str, int]] = [
    ("the soup was hot and full of flavour .", 1),
    ("our waiter was friendly and quick .", 1),
    ("best pizza i have had in years .", 1),
    ("the bread was still warm , and the butter was salted just right .", 1),
    ("we came for lunch and stayed until the evening .", 1),
    ("every dish arrived on time and tasted home-made .", 1),
    ("the menu is short , but all of it is worth ordering .", 1),
    ("the battery lasts two days without charging .", 1),
    ("the screen is bright even in the sun .", 1),
    ("it takes sharp pictures at night .", 1),
    ("set up in five minutes , and it has worked ever since .", 1),
    ("for this price i have not found a better phone .", 1),
    ("the case feels solid and fits the hand .", 1),
    ("calls are clear and loud .", 1),
    ("the room was quiet and the bed was soft .", 1),
    ("we could see the sea from our window .", 1),
    ("the staff remembered our names .", 1),
    ("breakfast had fresh fruit and good coffee .", 1),
    ("clean towels every day and a smile at the desk .", 1),
    ("we have already booked again for next summer .", 1),
    ("the soup was cold and tasted of water .", 0),
    ("our waiter forgot us twice .", 0),
    ("worst pizza i have had in years .", 0),
    ("the bread was stale , and the butter smelled .", 0),
    ("we waited an hour and left hungry .", 0),
    ("every dish arrived late and had no salt .", 0),
    ("the menu is long , but none of it is worth ordering .", 0),
    ("the battery is empty by noon .", 0),
    ("the screen cannot be read in the sun .", 0),
    ("it takes blurred pictures at night .", 0),
    ("set up took all day , and it broke within a week .", 0),
    ("for this price you can find a better phone anywhere .", 0),
    ("the case feels cheap and cracks easily .", 0),
    ("calls drop and nobody can hear me .", 0),
    ("the room was loud and the bed was hard .", 0),
    ("we looked at a wall from our window .", 0),
    ("the staff ignored our questions .", 0),
    ("breakfast had old fruit and weak coffee .", 0),
    ("dirty towels and nobody at the desk .", 0),
    ("we left a day early and will not come back .", 0),
]
"""Meals, phones and rooms: another subject than films."""


@cache
def sentences(part: str) -> Labelled:
    """The sentences of a part: ``train``, ``valid``, ``test`` or ``long``, in a fixed random order."""
    if part == "valid":
        return _short("validation")
    if part == "long":
        found = sentence_polarity("test")
        long = [(each.text, _number(each.label)) for each in found if len(each.text.split()) >= LONG]
        return _mixed(long, seed=2)[:LONG_ONES]
    pool = _short("train")
    if part == "train":
        return pool[:TRAINED]
    test = _short("test") + pool[TRAINED:]
    return _mixed(test[:TESTED], seed=1)


def _short(split: str) -> Labelled:
    found = sentence_polarity(split)  # type: ignore[arg-type]
    return _mixed([(each.text, _number(each.label)) for each in found if len(each.text.split()) <= LONGEST], seed=0)


def _number(label: str) -> int:
    return POLARITY_LABELS.index(label)


def _mixed(examples: Labelled, *, seed: int) -> Labelled:
    mixed = list(examples)
    random.Random(seed).shuffle(mixed)
    return mixed


def templates(part: str) -> Labelled:
    """Sentences from templates.

    Args:
        part: ``train``, those that are trained on, negated or not; ``own``, negated ones among them; ``new words``,
            negated in the same way, with words that these templates do not have (most of them stand in training
            reviews, but never directly after "not"); ``other forms``, these words negated in other ways; ``affirmed``,
            these words without a negation.
    """
    made: Labelled = []
    if part in ("train", "own"):
        verbs = ["is", "was"] if part == "train" else ["is"]
        for subject in SUBJECTS:
            for verb in verbs:
                for label, words in ((1, GOOD), (0, BAD)):
                    for word in words.split():
                        made.append((f"{subject} {verb} not {word} .", 1 - label))
                        if part == "train":
                            made.append((f"{subject} {verb} {word} .", label))
        return made
    for label, words in ((1, NEW_GOOD), (0, NEW_BAD)):
        for word in words.split():
            if part == "new words":
                made += [(f"{subject} is not {word} .", 1 - label) for subject in SUBJECTS]
            elif part == "affirmed":
                made += [(f"{subject} is {word} .", label) for subject in SUBJECTS]
            else:
                forms = [
                    form.format(subject=subject, word=word) for form in OTHER_NEGATIONS for subject in SUBJECTS[:2]
                ]
                made += [(form, 1 - label) for form in forms]
    return made


def dropped(count: int, *, seed: int) -> Transform:
    """A transform that leaves out letters inside of words: typos of another kind than swapped letters.

    Args:
        count: how many letters, all of them in different words, as far as there are words of four letters.
        seed: which ones.
    """

    def transform(text: str) -> str | None:
        words = list(re.finditer(r"[A-Za-z]{4,}", text))
        generator = random.Random(f"{seed} {text}")
        chosen = sorted(generator.sample(words, min(count, len(words))), key=lambda word: -word.start())
        for word in chosen:
            place = generator.randrange(word.start() + 1, word.end() - 1)
            text = text[:place] + text[place + 1 :]
        return text if chosen else None

    return transform


def other_gender(text: str) -> str | None:
    """A text with gendered words exchanged, in both directions; None if it has none."""
    exchanged = {**{female: male for male, female in reversed(GENDERED.items())}, **GENDERED}
    changed = re.sub(r"[a-z]+", lambda word: exchanged.get(word[0], word[0]), text)
    return None if changed == text else changed


def training_set(arm: str, seed: int) -> Labelled:
    """What an arm is trained on, once through: TRAINED texts.

    A quarter of "mended" is template sentences, and every second of its review sentences has typos.
    """
    reviews = sentences("train")
    if arm == "plain":
        return reviews
    made = templates("train")
    swap = typos(TYPOS, seed=1000 + seed)
    kept = reviews[: TRAINED - len(made)]
    return [((swap(text) or text) if number % 2 else text, label) for number, (text, label) in enumerate(kept)] + made


@cache
def tokenizer() -> Tokenizer:
    """MiniLM's tokenizer."""
    return open_source("all-minilm-l6-v2")[1]


def fine_tuned(examples: Labelled, *, rate: float, seed: int, epochs: int = 1) -> nn.Module:
    """MiniLM with a new head on the mean of the last states; trained are the head and the upper three of six layers.

    Args:
        examples: the training texts.
        rate: the peak of the learning rate, after a tenth of the steps; from there it falls to zero.
        seed: of the head, the order and dropout.
        epochs: how often each example is seen.
    """
    torch.manual_seed(seed)
    model = sequence_classifier(open_source("all-minilm-l6-v2")[0], 2, pooling="mean")
    for part in ("embeddings", *(f"stack.layers.{number}" for number in range(FROZEN))):
        model.get_submodule(f"encoder.{part}").requires_grad_(False)
    steps = epochs * len(examples) // BATCH
    rows = text_rows(
        [text for text, _ in examples], tokenizer(), labels=[label for _, label in examples], max_length=64
    )
    config = TrainConfig(
        steps=steps, learning_rate=rate, schedule="linear", warmup_steps=steps // 10, final_fraction=0.0,
        weight_decay=0.01, beta2=0.999, log_every=steps, eval_every=steps,
    )  # fmt: skip
    source = LabelledBatches(rows.rows, batch_size=BATCH, pad_id=tokenizer().pad_id, seed=seed)
    Trainer(model, Classification(), source, config, hardware=Hardware("cpu"), quiet=True).fit()
    return model.eval()


def positive_logits(model: nn.Module) -> Callable[[Sequence[str]], list[float]]:
    """A function from texts to the logit of "positive" minus that of "negative"."""

    def logits(texts: Sequence[str]) -> list[float]:
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))  # similar lengths: little padding
        found = [0.0] * len(texts)
        with evaluation_mode(model), torch.no_grad():
            for start in range(0, len(order), 64):
                numbers = order[start : start + 64]
                batch = tokenizer().batch([texts[n] for n in numbers], None, max_length=96, truncation="longest_first")
                out_B2 = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"].bool())
                for number, value in zip(numbers, (out_B2[:, 1] - out_B2[:, 0]).tolist(), strict=True):
                    found[number] = value
        return found

    return logits


def examine(logits: Callable[[Sequence[str]], list[float]]) -> dict[str, str]:
    """What a model says to every text that the chapter asks it about: its logits, as words of one string per group.

    Texts of the corpus are not stored, so that only their order ties a logit to its text. A group ``X before`` holds
    the unchanged texts to which the transform of the group ``X`` applies.
    """
    found = {part: logits([text for text, _ in sentences(part)]) for part in ("valid", "test", "long")}
    some = [text for text, _ in sentences("test")[:CHANGED]]
    for name, change in transforms().items():
        texts = [text for text, _ in sentences("test")] if name in WHOLE else some
        pairs = [(text, new) for text in texts if (new := change(text)) is not None and new != text]
        places = {text: number for number, (text, _) in enumerate(sentences("test"))}
        found[f"{name} before"] = [found["test"][places[text]] for text, _ in pairs]
        found[name] = logits([new for _, new in pairs])
    gendered = [each.text for each in sentence_polarity("test") if other_gender(each.text)]
    found["other gender before"] = logits(gendered)
    found["other gender"] = logits([other_gender(text) or text for text in gendered])
    for part in ("own", "new words", "other forms", "affirmed"):
        found[part] = logits([text for text, _ in templates(part)])
    found["elsewhere"] = logits([text for text, _ in ELSEWHERE])
    for side in (0, 1):
        found[("men", "women")[side]] = logits([frame.format(person=pair[side]) for pair in PEOPLE for frame in FRAMES])
    return {name: packed(values) for name, values in found.items()}


WHOLE = ("negated",)
"""Changes that apply to few sentences and are therefore tried on all of the test."""


def transforms() -> dict[str, Transform]:
    """The changes of test sentences."""
    return {
        "swapped": typos(TYPOS, seed=7),
        "dropped": dropped(TYPOS, seed=7),
        "filler": lengthen(FILLER),
        "filler 4": lengthen(FILLER, 4),
        "negated": negate,
    }


def packed(values: Sequence[float]) -> str:
    """Numbers with two digits behind the point, in one string."""
    return " ".join(f"{value:.2f}" for value in values)


def labels() -> dict[str, str]:
    """The classes of all groups of texts that have one, as strings of 0 and 1, and the test sentences' lengths."""
    parts = {part: sentences(part) for part in ("valid", "test", "long")} | {"elsewhere": ELSEWHERE}
    parts |= {part: templates(part) for part in ("own", "new words", "other forms", "affirmed")}
    swapped, found = transforms(), {name: "".join(str(label) for _, label in part) for name, part in parts.items()}
    for name in ("swapped", "dropped", "filler", "filler 4"):
        found[name] = "".join(str(n) for text, n in parts["test"][:CHANGED] if swapped[name](text) not in (None, text))
    return found | {"lengths": " ".join(str(len(text.split())) for text, _ in parts["test"])}
