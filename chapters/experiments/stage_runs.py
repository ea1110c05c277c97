"""What the experiments on pretraining in stages share: texts, the trunk with its heads, stages, and measurements.

Objectives have one letter each: C, the next word is predicted; M, masked words; R, the relative position of two words;
P, the next word after a prefix that is read in both directions. An order such as "CRM" names its stages from first to
last. All stages of a run see other stories, none of them twice; so do the objectives of a mixture, but for the few rows
by which the lots go beyond an objective's share.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plm_core.data.batch import Batch, padding_mask
from plm_core.data.batches import MaskedBatches, PaddedBatches
from plm_core.data.masking import Masker, MaskingConfig
from plm_core.data.mixture import MixtureBatches, all_tagged, temperature_shares
from plm_core.data.prefixes import PrefixBatches
from plm_core.data.token_pairs import TokenPairBatches, TokenPairConfig, TokenPairs
from plm_core.data.tokenizer_training import word_tokenizer
from plm_core.data.tokenizers import Tokenizer, pad
from plm_core.evaluation.modes import evaluation_mode
from plm_core.evaluation.probes import fit_linear_probe
from plm_core.evaluation.skills import predict_tokens, read_ideally, score_skills
from plm_core.evaluation.validation import validate
from plm_core.models.bert import BertConfig
from plm_core.models.pair_head import BertWithPairs
from plm_core.objectives.base import Objective
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.mixture import Mixture
from plm_core.objectives.prefix_lm import CausalTrunkLM, PrefixLM, prefix_mask
from plm_core.objectives.relative_position import RelativePosition
from plm_core.storyworld import Story, StoryWorld
from plm_core.storyworld.goals import FATES
from plm_core.storyworld.skill_reading import ReadWord
from plm_core.storyworld.tasks import moods
from plm_core.training.config import TrainConfig
from plm_core.training.curriculum import Curriculum, Stage

Scheme = Literal["learned", "rope", "none"]
SCHEMES: list[Scheme] = ["learned", "rope", "none"]
NAMES = {"C": "causal_lm", "M": "masked_lm", "R": "relative_position", "P": "prefix_lm"}
OBJECTIVES: dict[str, type[Objective]] = {"C": CausalTrunkLM, "M": MaskedLM, "R": RelativePosition, "P": PrefixLM}
BATCH, STAGE_STEPS, STAGES = 8, 400, 3
WIDTH, BLOCKS, LONGEST = 96, 3, 256
MASKED, MASKED_IN_TESTS = 0.4, 0.15
PAIRS = TokenPairConfig(max_distance=8, pairs_per_row=16)
VALID, TEST, LABELS, PROBED = 64, 100, (64, 256, 1024), 600


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a run in stages, and what is made of them: batches, the trunk, and stages.

    Args:
        tokenizer: gives ids and special tokens.
        training: the rows of a seed's stage, or of several; every number of a stage has other ones.
        valid: the rows on which rates and checkpoints are chosen.
        test: the rows on which results are reported.
    """

    tokenizer: Tokenizer
    training: Callable[[int, int, int], list[list[int]]]
    valid: list[list[int]]
    test: list[list[int]]
    _kept: dict[tuple[str, str], list[Batch]] = field(default_factory=dict)

    def framed(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Rows between [CLS] and [SEP]."""
        return [[self.tokenizer.cls_id, *row, self.tokenizer.sep_id] for row in rows]

    def source(self, objective: str, rows: list[list[int]], seed: int, *, training: bool = True) -> Any:
        """The batches of an objective; in training more words are masked than in tests."""
        tokens = self.tokenizer
        special = sorted(tokens.special_ids)
        settings: dict[str, Any] = {"batch_size": BATCH, "seed": seed}
        if objective == "M":
            masker = Masker(
                vocab_size=len(tokens),
                mask_token_id=tokens.mask_id,
                special_ids=special,
                config=MaskingConfig(rate=MASKED if training else MASKED_IN_TESTS),
                seed=seed,
            )
            return MaskedBatches(rows, tokenizer=tokens, masker=masker, max_length=LONGEST, **settings)
        if objective == "R":
            pairs = TokenPairs(special_ids=special, config=PAIRS, seed=seed)
            return TokenPairBatches(self.framed(rows), pairs=pairs, pad_id=tokens.pad_id, **settings)
        padded = PaddedBatches(self.framed(rows), pad_id=tokens.pad_id, **settings)
        return PrefixBatches(padded, seed=seed) if objective == "P" else padded

    def held_out(self, objective: str, split: Literal["valid", "test"]) -> list[Batch]:
        """The validation or test batches of an objective, always the same."""
        if (objective, split) not in self._kept:
            rows = self.valid if split == "valid" else self.test
            self._kept[objective, split] = list(self.source(objective, rows, seed=0, training=False).in_order())
        return self._kept[objective, split]

    def build(self, seed: int, scheme: Scheme = "rope") -> BertWithPairs:
        """A trunk with its heads and initial weights."""
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=WIDTH,
            num_hidden_layers=BLOCKS,
            num_attention_heads=WIDTH // 32,
            intermediate_size=4 * WIDTH,
            max_position_embeddings=LONGEST,
            position=scheme,
            type_vocab_size=0,
            norm_position="pre",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.7 / math.sqrt(WIDTH),
        )
        return BertWithPairs(config, num_pair_labels=PAIRS.num_labels)

    def stage(self, objective: str, number: int, *, rate: float, seed: int, steps: int = STAGE_STEPS) -> Stage:
        """One objective alone, as the stage of that number."""
        rows = self.training(seed, number, max(1, steps // STAGE_STEPS))
        source = self.source(objective, rows, seed=seed)
        valid = self.held_out(objective, "valid")
        return Stage(NAMES[objective], OBJECTIVES[objective](), source, settings_of(steps, rate), valid)

    def mixed(
        self,
        shares: dict[str, float],
        number: int,
        *,
        rate: float,
        seed: int,
        steps: int = STAGE_STEPS,
        name: str = "mixture",
    ) -> Stage:
        """Several objectives side by side, every batch one of them, drawn by its share; each has rows of its own."""
        rows = self.training(seed, number, max(1, steps // STAGE_STEPS))
        ends = [round(len(rows) * part / sum(shares.values())) for part in accumulate(shares.values())]
        own = [rows[first:end] for first, end in pairwise([0, *ends])]
        sources = [self.source(each, part, seed=seed) for each, part in zip(shares, own, strict=True)]
        objective = Mixture([OBJECTIVES[each]() for each in shares])
        batches = MixtureBatches(sources, list(shares.values()), seed=seed)
        together = all_tagged([self.held_out(each, "valid") for each in shares])
        return Stage(name, objective, batches, settings_of(steps, rate), together)

    def shares_at(self, temperature: float) -> dict[str, float]:
        """The shares of C, M and R: the sizes are how many labels a batch of each has in training."""
        batches = [list(self.source(each, self.valid, seed=0).in_order()) for each in "CMR"]
        sizes = [sum(map(count_labels, each)) / len(each) for each in batches]
        return dict(zip("CMR", temperature_shares(sizes, temperature), strict=True))

    def losses(self, model: nn.Module) -> dict[str, float]:
        """The mean test loss of each objective, in nats a label, and the accuracy on masks and pairs."""
        found: dict[str, float] = {}
        for letter in "CMR":
            measured = validate(model, OBJECTIVES[letter](), self.held_out(letter, "test"))
            found |= {letter: measured["loss"], f"{letter}, right": measured[f"{NAMES[letter]}/accuracy"]}
        return found


@cache
def world() -> StoryWorld:
    """The world of all stories."""
    return StoryWorld("small", "en")


@cache
def storyworld() -> Texts:
    """StoryWorld, one token for each word; [SEP] ends a story."""
    tokenizer = word_tokenizer([word for word in world().vocabulary if word != "<eos>"])

    def encode(stories: Iterable[Story]) -> list[list[int]]:
        return [tokenizer.encode(" ".join(story.words[:-1])) for story in stories]

    @cache
    def training(seed: int, stage: int, stages: int) -> list[list[int]]:
        count = STAGE_STEPS * BATCH
        told = islice(world().stories(seed, "train"), stage * count, (stage + stages) * count)
        return [row for row in encode(told) if len(row) + 2 <= LONGEST]

    return Texts(tokenizer, training, valid=encode(world().stories(0, "valid", VALID)), test=encode(test_stories()[0]))


@cache
def test_stories() -> tuple[list[Story], list[list[ReadWord]]]:
    """The stories on which results are reported, and how the ideal reader reads them."""
    stories = [story for story in world().stories(0, "test", TEST) if len(story.words) + 1 <= LONGEST]
    return stories, read_ideally(stories)


def settings_of(steps: int, rate: float) -> TrainConfig:
    """How a stage is trained: Muon, a short warm-up, and a rate that falls to a hundredth."""
    return TrainConfig(
        steps=steps,
        optimizer="muon",
        learning_rate=rate,
        schedule="linear",
        warmup_steps=min(100, steps // 10),
        final_fraction=0.01,
        weight_decay=0.05,
        log_every=steps,
        eval_every=max(1, steps // 4),
        save_every=max(1, steps // 2),
        keep_last=1,
    )


def count_labels(batch: Batch) -> int:
    """The number of labels of a batch."""
    if "token_pair_labels" in batch:
        return len(batch["token_pair_labels"])
    return int((batch["labels"] >= 0).sum())


def run_stages(
    model: BertWithPairs, stages: Sequence[Stage], folder: Path, *, seed: int, begun: Path | None = None
) -> BertWithPairs:
    """Train in stages; what an earlier curriculum with the same first stages has done is copied, not repeated.

    Args:
        model: trained in place.
        stages: in order.
        folder: of this curriculum; one that was interrupted goes on there.
        seed: of the stages' random numbers.
        begun: the folder of a curriculum whose stages, all finished, are the first ones of this.
    """
    if begun is not None and not folder.exists():
        shutil.copytree(begun, folder)
    Curriculum(model, stages, folder, seed=seed, quiet=True).fit(resume=True)
    return model


# --- measurements -----------------------------------------------------------------------------------------------------


class AsReader(nn.Module):
    """A trunk as a causal model: ids (B, T) to logits (B, T, V), every word predicted from those before it."""

    def __init__(self, model: BertWithPairs) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits of the next word."""
        everywhere = torch.ones_like(ids_BT, dtype=torch.bool)
        mask_BTT = prefix_mask(ids_BT.new_zeros(len(ids_BT)), everywhere)
        logits_NV = self.model(ids_BT, attention_mask=mask_BTT, masked_positions=everywhere).prediction_logits
        return logits_NV.view(*ids_BT.shape, -1)


def skills(model: BertWithPairs) -> dict[str, float]:
    """The excess over the ideal reader of each skill and of all words, in nats a word, read from left to right."""
    texts, readings = storyworld(), test_stories()[1]
    predictions = predict_tokens(AsReader(model), texts.framed(texts.test), batch_size=16)
    return {each.skill: each.excess for each in score_skills(readings, predictions)}


@cache
def mood_examples(split: str, count: int) -> tuple[list[list[int]], Tensor]:
    """Stories without their last sentence, as ids, and the numbers of their moods."""
    found = list(moods(world(), count, seed=7, split=split))
    texts = storyworld()
    rows = [texts.tokenizer.encode(" ".join(each.words)) for each in found]
    return texts.framed(rows), torch.tensor([FATES.index(each.label) for each in found])


@torch.no_grad()
def pooled(model: BertWithPairs, rows: Sequence[Sequence[int]], *, causal: bool) -> Tensor:
    """The mean and the last of the trunk's states of each row, side by side, (N, 2D)."""
    found: list[Tensor] = []
    with evaluation_mode(model):
        for first in range(0, len(rows), 32):
            ids_BT = pad(rows[first : first + 32], storyworld().tokenizer.pad_id)
            real_BT = padding_mask([len(row) for row in rows[first : first + 32]])
            mask = prefix_mask(ids_BT.new_zeros(len(ids_BT)), real_BT) if causal else real_BT
            x_BTD = model.encoder(ids_BT, attention_mask=mask)
            mean_BD = (x_BTD * real_BT[..., None]).sum(dim=1) / real_BT.sum(dim=1, keepdim=True)
            last_BD = x_BTD[torch.arange(len(ids_BT)), real_BT.sum(dim=1) - 1]
            found.append(torch.cat([mean_BD, last_BD], dim=1))
    return torch.cat(found)


def probe(model: BertWithPairs) -> dict[str, dict[str, float]]:
    """How often a linear classifier on frozen states finds the mood, by the number of its labels.

    The states are those of a reader of both sides, and those of a reader from left to right.
    """
    train, labels = mood_examples("train", max(LABELS))
    test, truth = mood_examples("test", PROBED)
    found: dict[str, dict[str, float]] = {}
    for name, causal in (("both sides", False), ("left to right", True)):
        features, seen = pooled(model, train, causal=causal), pooled(model, test, causal=causal)
        found[name] = {
            str(count): fit_linear_probe(features[:count], labels[:count]).accuracy(seen, truth) for count in LABELS
        }
    return found


def measure(model: BertWithPairs) -> dict[str, Any]:
    """Losses of all objectives, skills, and the probe."""
    return {"losses": storyworld().losses(model), "skills": skills(model), "probe": probe(model)}
