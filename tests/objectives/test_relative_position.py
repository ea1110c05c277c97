"""Before training the loss is the labels' entropy; the floor without positions is what a model without them reaches."""

import itertools
import math
from collections import defaultdict

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.data.token_pairs import TokenPairBatches, TokenPairConfig, TokenPairs
from plm_core.evaluation.validation import validate
from plm_core.models.bert import BertConfig
from plm_core.models.pair_head import BertWithPairs
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.relative_position import RelativePosition, initial_excess_bound, labels_entropy, lowest_loss
from plm_core.training.config import TrainConfig
from plm_core.training.trainer import Trainer

PAD, CLS, SEP = 0, 1, 2
SPECIAL = (PAD, CLS, SEP)
VOCABULARY = 20


def texts_of(count=24, length=12, seed=0, tokens=17):
    generator = torch.Generator().manual_seed(seed)
    return [[CLS, *torch.randint(3, 3 + tokens, (length,), generator=generator).tolist(), SEP] for _ in range(count)]


def model_of(position="learned", num_labels=8, **changes):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
        position=position,
        **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} | changes,
    )
    return BertWithPairs(config, num_pair_labels=num_labels)


def source_of(texts, config, batch_size=24):
    pairs = TokenPairs(special_ids=SPECIAL, config=config, seed=0)
    return TokenPairBatches(texts, pairs=pairs, pad_id=PAD, batch_size=batch_size, seed=0)


def by_brute_force(texts, config, sees):
    """The floor by listing every pair that can be drawn, with its probability, straight from the definition."""
    k, usable = config.max_distance, []
    for text in texts:
        places = [place for place, token in enumerate(text) if token not in SPECIAL]
        if len(places) > k:
            usable.append((text, places))
    labels = 2 * k + (config.negatives and len(usable) > 1)
    joint = defaultdict(float)

    def add(first, second, label, probability):
        (text, i), (other, j) = first, second
        key = {
            "nothing": (),
            "tokens": (text[i], other[j]),
            "texts": (text[i], other[j], tuple(sorted(text)), tuple(sorted(other))),
        }[sees]
        joint[key, label] += probability

    for number, (text, places) in enumerate(usable):
        by_label = defaultdict(list)
        for i, j in itertools.permutations(places, 2):
            clipped = max(-k, min(k, j - i))
            by_label[clipped + k if clipped < 0 else clipped + k - 1].append((i, j))
        for label, pairs in by_label.items():
            for i, j in pairs:
                add((text, i), (text, j), label, 1 / len(usable) / labels / len(pairs))
        if labels > 2 * k:
            for another, (other, their_places) in enumerate(usable):
                if another != number:
                    for i, j in itertools.product(places, their_places):
                        share = 1 / len(usable) / labels / (len(usable) - 1) / len(places) / len(their_places)
                        add((text, i), (other, j), 2 * k, share)
    known = defaultdict(float)
    for (key, _), probability in joint.items():
        known[key] += probability
    assert sum(known.values()) == pytest.approx(1)
    return -sum(probability * math.log(probability / known[key]) for (key, _), probability in joint.items())


@given(
    texts=st.lists(st.lists(st.integers(3, 5), min_size=0, max_size=6), min_size=1, max_size=5),
    k=st.integers(1, 3),
    negatives=st.booleans(),
)
@settings(max_examples=60)
def test_the_floors_are_conditional_entropies(texts, k, negatives):
    texts = [[CLS, *text, SEP] for text in [*texts, [3, 4, 3, 5]]]
    config = TokenPairConfig(max_distance=k, negatives=negatives)
    floors = [lowest_loss(texts, config, special_ids=SPECIAL, sees=sees) for sees in ("nothing", "tokens", "texts")]
    expected = [by_brute_force(texts, config, sees) for sees in ("nothing", "tokens", "texts")]
    assert floors == pytest.approx(expected, abs=1e-9)
    for more, less in itertools.pairwise(floors):  # equal ones may differ by rounding
        assert less < more + 1e-12, "who knows more has a lower floor"


def test_floors_that_can_be_worked_out_by_hand():
    """Text a a: nothing tells the two apart. Text a b: the tokens give the direction away. Both orders: not so."""
    config = TokenPairConfig(max_distance=1)
    floor = {
        name: [lowest_loss(texts, config, special_ids=SPECIAL, sees=sees) for sees in ("tokens", "texts")]
        for name, texts in {"a a": [[3, 3]], "a b": [[3, 4]], "both": [[3, 4], [4, 3]]}.items()
    }
    assert floor["a a"] == pytest.approx([math.log(2)] * 2)
    assert floor["a b"] == pytest.approx([0.0, 0.0])
    assert floor["both"] == pytest.approx([math.log(2)] * 2)


@pytest.mark.parametrize("negatives", [False, True])
@pytest.mark.parametrize("std", [0.02, 0.2])
def test_before_training_the_loss_is_the_labels_entropy_within_its_bound(negatives, std):
    """All 24 x 27 labels are equally frequent, so what is left is the bound and a standard error, taken five times."""
    config = TokenPairConfig(max_distance=4, pairs_per_row=3 * (8 + negatives), negatives=negatives)
    batch = source_of(texts_of(), config).batch(0)
    assert len(set(torch.bincount(batch["token_pair_labels"]).tolist())) == 1
    model = model_of(num_labels=config.num_labels, initializer_range=std).eval()
    with torch.no_grad():
        part = RelativePosition()(model, batch)
        logits = model(batch["input_ids"], token_pairs=batch["token_pairs"]).pair_logits
    losses = F.cross_entropy(logits, batch["token_pair_labels"], reduction="none")
    error = float(losses.std()) / len(losses) ** 0.5
    excess = part.total.item() / part.count - labels_entropy(config)
    assert labels_entropy(config) == pytest.approx(math.log(8 + negatives))
    assert -5 * error <= excess <= initial_excess_bound(logits) + 5 * error
    if std == 0.02:
        assert abs(excess) < 0.02, "the usual initial weights are small enough"


def test_the_bound_holds_for_labels_that_do_not_depend_on_the_logits():
    logits = 3 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    every_label = torch.arange(6).repeat(50)
    loss = F.cross_entropy(logits.repeat_interleave(6, dim=0), every_label)
    assert 0 <= float(loss) - math.log(6) <= initial_excess_bound(logits)


def test_a_trunk_without_positions_gives_the_same_loss_to_every_order_of_a_row():
    """That is why its floor is the one that sees texts without their order; with positions it is another loss."""
    config = TokenPairConfig(max_distance=4)
    batch = source_of(texts_of(4), config, batch_size=4).batch(0)
    order = torch.randperm(14, generator=torch.Generator().manual_seed(1))
    places = order.argsort()  # where each token has gone
    pairs = batch["token_pairs"]
    moved = {
        **batch,
        "input_ids": batch["input_ids"][:, order],
        "token_pairs": pairs // 14 * 14 + places[pairs % 14],
    }
    for position, is_same in (("none", True), ("learned", False)):
        model = model_of(position, initializer_range=0.3).eval()
        with torch.no_grad():
            one, other = (RelativePosition()(model, each).total for each in (batch, moved))
        assert torch.allclose(one, other, rtol=1e-4) == is_same


def test_without_positions_training_stops_at_the_floor_and_with_them_it_goes_below():
    """Two texts of the same tokens in opposite orders: without positions no pair's direction can be known."""
    config = TokenPairConfig(max_distance=2, pairs_per_row=8)
    texts = [[3, 4, 5, 6], [6, 5, 4, 3]]
    floor = lowest_loss(texts, config, special_ids=SPECIAL, sees="texts")
    assert floor > math.log(2) - 1e-9
    reached = {}
    for position in ("none", "learned"):
        source = source_of(texts * 16, config, batch_size=16)
        train = TrainConfig(steps=100, warmup_steps=10, learning_rate=5e-3, weight_decay=0.0, eval_every=100)
        trainer = Trainer(model_of(position, num_labels=4), RelativePosition(), source, train, quiet=True)
        trainer.fit()
        reached[position] = validate(trainer.model, RelativePosition(), list(source.in_order()))["loss"]
    assert floor - 0.02 < reached["none"] < floor + 0.06
    assert reached["learned"] < 0.1 < floor


def test_one_trunk_serves_masked_and_pair_objectives():
    model, config = model_of(), TokenPairConfig(max_distance=4)
    batch = dict(source_of(texts_of(4), config, batch_size=4).batch(0))
    chosen = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    chosen[:, 3] = True
    batch["labels"] = batch["input_ids"].masked_fill(~chosen, -100)
    for objective, head, other in (
        (MaskedLM(), "mlm_head.dense.weight", "pair_head.dense.weight"),
        (RelativePosition(), "pair_head.dense.weight", "mlm_head.dense.weight"),
    ):
        model.zero_grad()
        objective(model, objective.prepare(batch)).total.backward()
        assert model.get_parameter(head).grad is not None
        assert model.get_parameter(other).grad is None
        assert model.get_parameter("encoder.embeddings.word_embeddings.weight").grad is not None


def test_what_makes_no_sense_is_refused():
    config = TokenPairConfig(max_distance=4)
    with pytest.raises(ValueError, match="no text has more than max_distance = 4"):
        lowest_loss([[CLS, 3, 4, SEP]], config, special_ids=SPECIAL, sees="texts")
    with pytest.raises(ValueError, match="unknown sees"):
        lowest_loss(texts_of(2), config, special_ids=SPECIAL, sees="order")
    with pytest.raises(ValueError, match=r"shape \(P, 2\)"):
        model_of()(torch.tensor([[3, 4]]), token_pairs=torch.tensor([0, 1]))
