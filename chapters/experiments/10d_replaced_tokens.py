"""Replaced-token detection against masked language modelling, at equal compute, judged by fine-tuning.

Data: the 4,000 training stories of masked_stories, in rows of at most 48 tokens, the same rows in the same order for
every arm of a seed. Arms: "masked LM 15 %" and "masked LM 40 %", the small BERT of 10_masked_language_modelling with
BERT's 80/10/10; "replaced tokens", an ELECTRA whose discriminator has the shape and the initial encoder of that BERT,
with a generator of GENERATOR's shape, shared embeddings, 15 % of the tokens masked, all by [MASK], and a weight of 50;
"untrained", the initial encoder.

Equal compute: the operations of a training step, forward and backward, are counted from the shapes
(plm_core.models.cost) for everything that the loss needs: the blocks and the MLM head, and for ELECTRA also the
generator and the discriminator's head. "masked LM 15 %" makes STEPS steps, and the other arms as many as cost the same.
Operations and steps are stored.

Learning rates: each arm has a sweep at a quarter of the compute, with a seed of its own, by its loss on validation
stories. The masked arms are compared at places where [MASK] stands, as in 10a_rates. The loss of a discriminator
depends on its generator: random words are easier to find than likely ones. So all discriminators of the sweep are
compared on the samples of one other generator, trained alone.

Tasks, each for a pretrained encoder and a new linear layer on the state of [CLS]; all weights are trained:

- "claims": whole sentences of a story, as many as fit, and then a claim, "david was in the garden .", which is true or,
  equally often, names another place told in these sentences. It is built as in masked_stories.find_claims, with one
  difference. Those are about beginnings, where nobody has moved, so that a person and the right place always share a
  sentence, and a rule that looks for such a sentence is never wrong. Here half of the claims are about somebody who has
  moved, and the sentences may be from within the story. A false claim is a text with one replaced word, so that this
  task is close to what an ELECTRA is trained for.
- "same story" and "right order": the pairs of 10_masked_language_modelling for NSP and SOP, as one segment with [SEP]
  between its parts.

Training, validation and test examples are about training, validation and test stories.

Measured: the accuracy on test examples after fine-tuning; the learning rate is swept for each arm and task by the
accuracy on validation examples, averaged over the seeds. Beside the claims stand chance, which is one half, as is the
majority, and two rules without a network: somebody is at the last place of the last sentence that names them and a
place; everybody is at the last place of the text. The rules for pairs are those of 10_masked_language_modelling and
10c_pair_rules. Linear probes of the frozen encoder, as in 10_masked_language_modelling, are reported too.

Criterion, set before this run: for each task, the accuracy on all test examples of "replaced tokens" minus that of
each masked arm, paired by the seeds TRAINED: six comparisons, the interval of each (Student's t) at 99.17 %, which
makes 95 % together. A difference counts if its interval does not contain zero. With five seeds the half-width is 2.2
standard deviations of the difference, so that one that does not count may still be there. An arm has learned
something for a task if it is above "untrained" with every seed. Everything else (the kinds of claims, the probes) is
described, not tested. A first version had 2,000 steps, 2,000 training claims, 300 steps of fine-tuning, and no pairs.
In it, "masked LM 15 %" and "replaced tokens" were at chance on claims, and had been seen on the probes, when the
pairs were added and the steps doubled.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plm_chapters.experiments.masked_stories import CONTEXT, Corpus, load, rows_of
from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_core.data.batch import Batch
from plm_core.data.labelled_rows import LabelledBatches, Row
from plm_core.data.masking import MaskingConfig
from plm_core.data.sentence_pairs import Task
from plm_core.evaluation.validation import validate
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.cost import flops_ledger
from plm_core.models.electra import Electra
from plm_core.models.heads import SequenceClassifier
from plm_core.objectives.base import Joint, Objective
from plm_core.objectives.classification import Classification
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.replaced_tokens import ReplacedTokens, replaced_token_detection
from plm_core.runtime import Runtime, setup
from plm_core.storyworld_v1 import Story
from plm_core.training.config import TrainConfig
from plm_core.training.gradients import DivergedError
from plm_core.training.hardware import Hardware
from plm_core.training.trainer import Trainer

arms = importlib.import_module("plm_chapters.experiments.10_masked_language_modelling")

REPLACED, UNTRAINED = "replaced tokens", "untrained"
GAPS = MaskingConfig(mask_share=1.0, random_share=0.0)
MASKINGS = {"masked LM 15 %": MaskingConfig(), "masked LM 40 %": MaskingConfig(rate=0.4), REPLACED: GAPS}
VARIANTS = [*MASKINGS, UNTRAINED]
SEEDS = [100]
"""Of the sweep."""
TRAINED = [0, 1, 2, 3, 4]
"""Of the runs that are reported."""
STEPS, SWEPT_STEPS, WARMUP = 4_000, 1_000, 100
"""Of "masked LM 15 %"; the warm-up is that of every arm."""
RATES = [1.25e-3, 2.5e-3, 5e-3, 1e-2, 2e-2]
GENERATOR = {"num_hidden_layers": 1, "intermediate_size": 64}
"""Half of the discriminator's blocks, with a quarter of the width of their feed-forward networks."""
GENERATOR_RATE = 5e-3
"""Of the generator that all discriminators of a sweep are compared on: the best rate of BERT with 15 % in 10a_rates."""
PAIRED: dict[str, Task] = {"same story": "next_sentence", "right order": "sentence_order"}
TASKS = ["claims", *PAIRED]
EXAMPLES = {"train": 4_000, "valid": 600, "test": 2_000}
"""Of each task."""
TUNING_STEPS, TUNING_BATCH, TUNING_RATES = 600, 16, [5e-4, 1.5e-3, 4.5e-3]


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Sweep the rate of an arm, pretrain it with each seed, and measure what its encoders are worth."""
    rt = setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    data = load(rt)
    result: dict[str, Any] = {"baselines": baselines(rt)}
    rate = RATES[0]
    if variant != UNTRAINED:
        swept = sweep(losses_at(variant, rt), RATES, factor=2, further=2)
        rate = best_rate(swept)
        result |= {"rate": rate, "sweep": by_rate(swept)}
    steps = steps_of(variant, data, rt, STEPS)
    result |= {"steps": steps, "flops_a_step": flops_a_step(variant, data, rt)}
    models = {each: pretrain(variant, setup(seed=each, preset=preset), rate=rate, steps=steps) for each in TRAINED}
    encoders = {each: encoder_of(model, rt) for each, model in models.items()}
    result["tasks"] = {task: fine_tuned(encoders, task, rt) for task in TASKS}
    result["probes"] = {each: probes(bert, rt) for each, bert in encoders.items()}
    if variant != UNTRAINED:
        asked, objective = masked_places(data.test_rows, data, rt), objective_of(variant)
        result["asked"] = {each: validate(model, objective, asked, device=rt.device) for each, model in models.items()}
    return result


def by_rate(found: Mapping[float, float]) -> dict[str, float]:
    """What was found at each rate, in the order of the rates."""
    return {f"{rate:.3g}": found[rate] for rate in sorted(found)}


# Pretraining


def objective_of(variant: str) -> Objective | Joint:
    """What an arm is trained for."""
    return replaced_token_detection() if variant == REPLACED else MaskedLM()


def generator_of(config: BertConfig) -> BertConfig:
    """The generator's shape for a discriminator."""
    return config.replace(**GENERATOR)


def new_model(variant: str, rt: Runtime) -> Bert | Electra:
    """A model with initial weights; those of the encoder are the same in every arm."""
    bert: Bert = arms.make_model(load(rt).tokenizer, rt)
    if variant != REPLACED:
        return bert
    electra = Electra(generator_of(bert.config), bert.config).to(rt.device)
    electra.discriminator.encoder.load_state_dict(bert.encoder.state_dict())
    return electra


def pretrain(variant: str, rt: Runtime, *, rate: float, steps: int) -> Bert | Electra:
    """Train one arm; "untrained" is returned as it begins."""
    model = new_model(variant, rt)
    if variant != UNTRAINED:
        train(model, objective_of(variant), MASKINGS[variant], rt, rate=rate, steps=steps)
    return model.eval()


def train(
    model: nn.Module, objective: Objective | Joint, masking: MaskingConfig, rt: Runtime, *, rate: float, steps: int
) -> None:
    """Train a model on the stories."""
    data = load(rt)
    source = arms.masked(data.train_rows, data.tokenizer, masking, rt)
    config = TrainConfig(steps=steps, learning_rate=rate, warmup_steps=WARMUP, weight_decay=0.01)
    Trainer(model, objective, source, config, hardware=Hardware(rt.device, rt.precision), quiet=True).fit()


def encoder_of(model: Bert | Electra, rt: Runtime) -> Bert:
    """The pretrained encoder as that of a Bert."""
    bert = model.discriminator.as_bert().to(rt.device) if isinstance(model, Electra) else model
    return bert.eval()


def masked_places(rows: list[list[int]], data: Corpus, rt: Runtime) -> Sequence[Batch]:
    """Rows with 15 % of the tokens masked, all by [MASK], always the same."""
    return arms.masked(rows, data.tokenizer, GAPS, rt).in_order()


def losses_at(variant: str, rt: Runtime) -> Callable[[float], float]:
    """The loss of an arm on validation stories, as a function of its rate."""
    data = load(rt)
    asked, steps = masked_places(rows_of(data.valid), data, rt), steps_of(variant, data, rt, SWEPT_STEPS)
    filler: Bert | None = None
    if variant == REPLACED:
        filler = Bert(generator_of(arms.make_model(data.tokenizer, rt).config)).to(rt.device)
        train(filler, MaskedLM(), GAPS, rt, rate=GENERATOR_RATE, steps=SWEPT_STEPS)

    def loss(rate: float) -> float:
        try:
            model = pretrain(variant, rt, rate=rate, steps=steps)
        except DivergedError:
            return math.inf
        if not isinstance(model, Electra):
            return validate(model, MaskedLM(), asked, device=rt.device)["loss"]
        assert filler is not None
        model.generator = filler
        return validate(model, ReplacedTokens(), asked, device=rt.device)["loss"]

    return loss


# Compute


def flops_a_step(variant: str, data: Corpus, rt: Runtime) -> float:
    """Operations of a training step of 16 rows of mean length, forward and backward (twice the forward pass)."""
    if variant == UNTRAINED:
        return 0.0
    config: BertConfig = arms.make_model(data.tokenizer, rt).config
    length = round(np.mean([len(row) + 2 for row in data.train_rows]))
    forward = forward_flops(config, length, masked=0.0 if variant == REPLACED else MASKINGS[variant].rate)
    if variant == REPLACED:
        forward += 2.0 * config.hidden_size * (config.hidden_size + 1)  # the head, at every token
        forward += forward_flops(generator_of(config), length, masked=MASKINGS[variant].rate)
    return 3 * 16 * length * forward


def forward_flops(config: BertConfig, length: int, *, masked: float) -> float:
    """Forward operations of a token in the blocks and the MLM head; the pooler gets no gradient and is left out."""
    rows = flops_ledger(config, length, masked_fraction=masked)
    return sum(flops for name, flops in rows.items() if name != "pooler and NSP head")


def steps_of(variant: str, data: Corpus, rt: Runtime, steps: int) -> int:
    """The steps of an arm that cost as much as so many of "masked LM 15 %"."""
    if variant == UNTRAINED:
        return 0
    return round(steps * flops_a_step("masked LM 15 %", data, rt) / flops_a_step(variant, data, rt))


# Claims


@dataclass(frozen=True)
class Whereabouts:
    """Where somebody is after some sentences of a story."""

    sentences: list[list[str]]
    person: str
    places: list[tuple[str, str]]
    """The places told in the sentences, each with its preposition."""
    right: int
    moved: bool
    """Whether the person was somewhere else before."""


@dataclass(frozen=True)
class PlaceClaim:
    """A claim about where somebody is, and whether it is true."""

    about: Whereabouts
    claimed: int
    """The number of the place."""

    @property
    def true(self) -> bool:
        """Whether the person is there."""
        return self.claimed == self.about.right

    @property
    def place(self) -> str:
        """The place, without its preposition."""
        return self.about.places[self.claimed][1]

    @property
    def words(self) -> list[str]:
        """The sentences and the claim."""
        preposition, place = self.about.places[self.claimed]
        told = [word for sentence in self.about.sentences for word in sentence]
        return [*told, self.about.person, "was", preposition, "the", place, "."]


def whereabouts(story: Story) -> list[Whereabouts]:
    """Everything about a story that a claim can be made of.

    The place can be read: the sentence that brought the person there is among the sentences, and the person is named in
    it or before. Another place is told, too.
    """
    told: list[list[str]] = []
    came: dict[str, tuple[int, int]] = {}  # by name: the number of the place, and of the sentence that led there
    moved: set[str] = set()
    found = []
    for state, sentence in story.replay():
        start, size = len(told), 0
        while start and size + len(told[start - 1]) <= CONTEXT - 9:
            start -= 1
            size += len(told[start])
        window = told[start:]
        forms = [place.forms["en"] for place in state.places]
        seen = [number for number, form in enumerate(forms) if any(form["noun"] in each for each in window)]
        for who in state.people:
            name = who.entry.forms["en"]["name"]
            if name not in came or came[name][0] != who.at:
                moved |= {name} & came.keys()
                came[name] = (who.at, len(told) - 1)
            is_named = any(name in each for each in told[start : came[name][1] + 1])
            if is_named and came[name][1] >= start and who.at in seen and len(seen) > 1:
                places = [(forms[number]["prep"], forms[number]["noun"]) for number in seen]
                found.append(Whereabouts(window, name, places, seen.index(who.at), name in moved))
        told.append(sentence.words)
    return found


def find_place_claims(stories: Iterable[Story], *, count: int, seed: int) -> list[PlaceClaim]:
    """So many claims, half of them about somebody who has moved; of either half every second one is true.

    A story gives at most one claim of each kind.

    Raises:
        ValueError: the stories give fewer.
    """
    generator = np.random.default_rng(seed)
    found: dict[bool, list[PlaceClaim]] = {False: [], True: []}
    for story in stories:
        facts = whereabouts(story)
        for moved, claims in found.items():
            usable = [fact for fact in facts if fact.moved == moved]
            if usable and len(claims) < count // 2:
                fact = usable[int(generator.integers(len(usable)))]
                wrong = [number for number in range(len(fact.places)) if number != fact.right]
                is_true = len(claims) % 2 == 0
                claims.append(PlaceClaim(fact, fact.right if is_true else wrong[int(generator.integers(len(wrong)))]))
        if all(len(claims) == count // 2 for claims in found.values()):
            return [claim for pair in zip(*found.values(), strict=True) for claim in pair]
    raise ValueError(f"the stories give fewer than {count} claims: {[len(claims) for claims in found.values()]}")


@cache
def claims_of(split: str, rt: Runtime) -> list[PlaceClaim]:
    """The claims of a part; training claims are about stories of the pretraining."""
    data = load(rt)
    stories = data.world.stories(seed=0, split=split, count=len(data.train) if split == "train" else None)
    return find_place_claims(stories, count=EXAMPLES[split], seed=11)


def says_last_naming_sentence(claim: PlaceClaim) -> bool:
    """The rule that somebody is at the last place of the last sentence that names them and a place."""
    places = {noun for _, noun in claim.about.places}
    for sentence in reversed(claim.about.sentences):
        named = [word for word in sentence if word in places]
        if named and claim.about.person in sentence:
            return named[-1] == claim.place
    return False


def says_last_place(claim: PlaceClaim) -> bool:
    """The rule that everybody is at the last place of the text."""
    places = {noun for _, noun in claim.about.places}
    return [word for sentence in claim.about.sentences for word in sentence if word in places][-1] == claim.place


def by_kind(claims: Sequence[PlaceClaim], answers: Sequence[bool]) -> dict[str, float]:
    """The accuracy of answers on all claims, and on those about somebody who has moved or has not."""
    right = np.array([answer == claim.true for answer, claim in zip(answers, claims, strict=True)])
    moved = np.array([claim.about.moved for claim in claims])
    return {"all": right.mean().item(), "moved": right[moved].mean().item(), "unmoved": right[~moved].mean().item()}


def baselines(rt: Runtime) -> dict[str, dict[str, float]]:
    """The accuracy without a network on test claims."""
    claims = claims_of("test", rt)
    share = np.mean([claim.true for claim in claims]).item()
    return {
        "majority": by_kind(claims, [share >= 0.5] * len(claims)),
        "last sentence that names the person": by_kind(claims, [says_last_naming_sentence(each) for each in claims]),
        "last place": by_kind(claims, [says_last_place(each) for each in claims]),
    }


# Measures


@cache
def rows_for(task: str, split: str, rt: Runtime) -> list[Row]:
    """The examples of a part, ``[CLS] sentences claim [SEP]`` or ``[CLS] first [SEP] second [SEP]``, and their labels.

    Of a claim, 1 is true; of a pair, 0 is right, as in SentencePairs.
    """
    data = load(rt)
    tokenizer = data.tokenizer
    start, stop = [tokenizer.cls_id], [tokenizer.sep_id]
    if task == "claims":
        claims = claims_of(split, rt)
        texts, labels = [tokenizer.encode(" ".join(each.words)) for each in claims], [int(each.true) for each in claims]
    else:
        documents = {"train": data.train, "valid": data.valid, "test": arms.test_documents(rt)}[split]
        pairs = arms.make_pairs(documents, PAIRED[task], most=EXAMPLES[split])
        texts, labels = [[*each.first, *stop, *each.second] for each in pairs], [each.label for each in pairs]
    return [{"input_ids": [*start, *text, *stop], "labels": label} for text, label in zip(texts, labels, strict=True)]


def batches_for(task: str, split: str, rt: Runtime, *, batch_size: int, seed: int = 0) -> LabelledBatches:
    """The examples of a part in batches."""
    return LabelledBatches(
        rows_for(task, split, rt), batch_size=batch_size, pad_id=load(rt).tokenizer.pad_id, seed=seed
    )


def fine_tune(bert: Bert, task: str, rt: Runtime, *, rate: float, seed: int) -> SequenceClassifier:
    """Train all of a copy of the encoder, with a new linear layer on the state of [CLS]."""
    torch.manual_seed(seed)
    model = SequenceClassifier.from_pretrained(bert, 2, pooling="first").to(rt.device)
    config = TrainConfig(
        steps=TUNING_STEPS,
        learning_rate=rate,
        schedule="linear",
        warmup_steps=TUNING_STEPS // 10,
        final_fraction=0.0,
        weight_decay=0.01,
    )
    source = batches_for(task, "train", rt, batch_size=TUNING_BATCH, seed=seed)
    Trainer(model, Classification(), source, config, hardware=Hardware(rt.device, rt.precision), quiet=True).fit()
    return model.eval()


@torch.no_grad()
def accuracy(model: SequenceClassifier, task: str, split: str, rt: Runtime) -> dict[str, float]:
    """The accuracy of a fine-tuned model on a part; on claims also by their kind."""
    answers: list[bool] = []
    for batch in batches_for(task, split, rt, batch_size=100).in_order():
        logits_B2 = model(batch["input_ids"].to(rt.device), attention_mask=batch["attention_mask"].to(rt.device))
        answers += (logits_B2.argmax(-1) == 1).tolist()
    if task == "claims":
        return by_kind(claims_of(split, rt), answers)
    right = [answer == row["labels"] for answer, row in zip(answers, rows_for(task, split, rt), strict=True)]
    return {"all": np.mean(right).item()}


def fine_tuned(encoders: Mapping[int, Bert], task: str, rt: Runtime) -> dict[str, Any]:
    """Sweep the rate of fine-tuning on validation examples; the test accuracy of each seed at the best one."""
    tested: dict[float, dict[int, dict[str, float]]] = {}

    def mistakes(rate: float) -> float:
        try:
            models = {seed: fine_tune(bert, task, rt, rate=rate, seed=seed) for seed, bert in encoders.items()}
        except DivergedError:
            return math.inf
        tested[rate] = {seed: accuracy(model, task, "test", rt) for seed, model in models.items()}
        return 1 - np.mean([accuracy(model, task, "valid", rt)["all"] for model in models.values()]).item()

    swept = sweep(mistakes, TUNING_RATES, factor=3, further=2)
    rate = best_rate(swept)
    return {"rate": rate, "sweep": by_rate(swept), "accuracy": tested[rate]}


def probes(bert: Bert, rt: Runtime) -> dict[str, float]:
    """The test accuracy of linear probes of the frozen encoder."""
    data = load(rt)
    tokenizer = data.tokenizer

    def of_pairs(pairs: Sequence[Any]) -> Tensor:
        return arms.pair_features(bert, tokenizer, pairs)

    def of_texts(rows: Sequence[Sequence[int]]) -> Tensor:
        return arms.text_features(bert, tokenizer, rows)

    return {
        "next_sentence": arms.pair_accuracy(rt, "next_sentence", of_pairs),
        "sentence_order": arms.pair_accuracy(rt, "sentence_order", of_pairs),
        "mood": arms.mood_accuracy(data, of_texts),
    }
