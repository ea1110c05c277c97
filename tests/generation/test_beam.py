"""A wide beam is exhaustive search, a beam of one greedy search; batching, caching and stopping change nothing."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plm_core.generation.beam import Beam, continue_prompts, search, translate
from plm_core.generation.decoding import generate
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.recurrent_seq2seq import RecurrentSeq2Seq, RecurrentSeq2SeqConfig
from plm_core.models.seq2seq import Seq2Seq, Seq2SeqConfig

STOP, START = 0, 1


class Table:
    """A language model that is a table: from every prefix to logits drawn from a seed; one table for each source."""

    def __init__(self, seeds, width, vocabulary, levels=None):
        self.rows = [(seed, ()) for seed in seeds for _ in range(width)]
        self.vocabulary, self.levels = vocabulary, levels

    def logits(self, seed, prefix):
        number = sum((token + 1) * (self.vocabulary + 1) ** place for place, token in enumerate(prefix))
        logits = 2 * torch.randn(self.vocabulary, generator=torch.Generator().manual_seed(1000 * seed + number))
        return logits if self.levels is None else (logits * self.levels).round() / self.levels  # makes ties

    def next_logits(self, tokens_N):
        if tokens_N is not None:
            self.rows = [
                (seed, (*prefix, token)) for (seed, prefix), token in zip(self.rows, tokens_N.tolist(), strict=True)
            ]
        return torch.stack([self.logits(*row) for row in self.rows])

    def select(self, rows_N):
        self.rows = [self.rows[row] for row in rows_N.tolist()]


def all_outputs(table, seed, beam):
    """Every output and its score, by brute force."""
    found = []
    for length in range(1, beam.max_new_tokens + 1):
        for tokens in itertools.product(range(table.vocabulary), repeat=length):
            if STOP in tokens[:-1] or (tokens[-1] != STOP and length < beam.max_new_tokens):
                continue
            log_p = sum(
                float(table.logits(seed, tokens[:place]).double().log_softmax(-1)[token])
                for place, token in enumerate(tokens)
            )
            found.append((beam.score(log_p, length), tokens))
    return sorted(found, key=lambda each: -each[0])


def number_of_outputs(vocabulary, longest):
    return sum((vocabulary - 1) ** length for length in range(longest)) + (vocabulary - 1) ** longest


@given(
    seeds=st.lists(st.integers(0, 500), min_size=1, max_size=3),
    vocabulary=st.integers(2, 4),
    longest=st.integers(1, 3),
    penalty=st.sampled_from(["wu", "division"]),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 3.0]),
    data=st.data(),
)
@settings(max_examples=60)
def test_a_beam_as_wide_as_there_are_outputs_is_exhaustive_search(seeds, vocabulary, longest, penalty, alpha, data):
    width = number_of_outputs(vocabulary, longest)
    outputs = data.draw(st.integers(1, width))
    beam = Beam(width=width, max_new_tokens=longest, penalty=penalty, alpha=alpha, outputs=outputs)
    table = Table(seeds, width, vocabulary)
    found = search(table, len(seeds), beam, stop_token_id=STOP)
    for seed, best in zip(seeds, found, strict=True):
        expected = all_outputs(table, seed, beam)
        assert len(expected) == width
        assert [output.tokens for output in best] == [tokens for _, tokens in expected[:outputs]]
        assert [output.score for output in best] == pytest.approx([score for score, _ in expected[:outputs]])


@given(seeds=st.lists(st.integers(0, 500), min_size=1, max_size=4), levels=st.sampled_from([None, 1]))
@settings(max_examples=40)
def test_width_one_is_greedy_search_also_among_equals(seeds, levels):
    table = Table(seeds, 1, 5, levels)
    found = search(table, len(seeds), Beam(width=1, max_new_tokens=8), stop_token_id=STOP)
    for seed, (output,) in zip(seeds, found, strict=True):
        prefix = ()
        while len(prefix) < 8 and STOP not in prefix:
            prefix = (*prefix, int(table.logits(seed, prefix).argmax()))
        assert output.tokens == prefix


@given(seeds=st.lists(st.integers(0, 500), min_size=2, max_size=4), width=st.integers(1, 6), alpha=st.floats(0, 2))
@settings(max_examples=40)
def test_sources_side_by_side_change_nothing(seeds, width, alpha):
    beam = Beam(width=width, max_new_tokens=5, alpha=alpha, outputs=width)
    together = search(Table(seeds, width, 4), len(seeds), beam, stop_token_id=STOP)
    alone = [search(Table([seed], width, 4), 1, beam, stop_token_id=STOP)[0] for seed in seeds]
    assert together == alone


def test_early_stopping_changes_no_result(monkeypatch):
    beam = Beam(width=4, max_new_tokens=9, alpha=1.0, outputs=2)
    seeds = list(range(40))
    stopped = search(Table(seeds, 4, 5), len(seeds), beam, stop_token_id=STOP)
    steps = []

    def as_long_as_candidates_are_left(scores_BK, outputs, beam):
        going = (scores_BK.amax(1) > -math.inf).nonzero()[:, 0].tolist()
        steps.append(len(going))
        return going

    monkeypatch.setattr("plm_core.generation.beam.unfinished", as_long_as_candidates_are_left)
    assert search(Table(seeds, 4, 5), len(seeds), beam, stop_token_id=STOP) == stopped
    assert steps[-1] == 0


def test_a_penalty_makes_outputs_longer_and_log_probabilities_lower():
    seeds = list(range(60))
    found = {
        alpha: search(Table(seeds, 6, 5), 60, Beam(width=6, max_new_tokens=7, alpha=alpha), stop_token_id=STOP)
        for alpha in (0.0, 2.0)
    }
    length = {alpha: sum(len(best.tokens) for (best,) in each) for alpha, each in found.items()}
    log_p = {alpha: sum(best.log_probability for (best,) in each) for alpha, each in found.items()}
    assert length[0.0] < length[2.0]
    assert log_p[0.0] >= log_p[2.0]


def test_penalties_are_those_of_their_papers():
    assert Beam(alpha=0.6).divisor(7) == pytest.approx(2**0.6)
    assert Beam(alpha=1.0, penalty="division").score(-6.0, 3) == -2.0
    assert Beam(alpha=0.0).score(-6.0, 30) == -6.0
    assert Beam(alpha=0.6).divisor(1) == 1.0


def translator(position="sinusoidal"):
    torch.manual_seed(0)
    return Seq2Seq(
        Seq2SeqConfig(
            vocab_size=11,
            hidden_size=16,
            num_hidden_layers=1,
            num_decoder_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=12,
            position=position,
            initializer_range=0.7,
        )
    ).double()


SOURCES = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 2, 0, 0], [10, 2, 0, 0, 0]])
REAL = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]).bool()


class WithoutCache:
    """The same search with a whole forward pass at every step, each row on its own and without padding."""

    def __init__(self, model, sources, width):
        self.model, self.rows = model.eval(), [(source, [START]) for source in sources for _ in range(width)]

    def next_logits(self, tokens_N):
        if tokens_N is not None:
            self.rows = [
                (source, [*target, token]) for (source, target), token in zip(self.rows, tokens_N.tolist(), strict=True)
            ]
        with torch.no_grad():
            return torch.stack(
                [self.model(source[None], torch.tensor([target]))[0, -1] for source, target in self.rows]
            )

    def select(self, rows_N):
        self.rows = [self.rows[row] for row in rows_N.tolist()]


@pytest.mark.parametrize("position", ["sinusoidal", "learned", "t5"])
@pytest.mark.parametrize("width", [1, 3])
def test_translating_with_cache_and_padding_equals_whole_passes_one_by_one(position, width):
    model, beam = translator(position), Beam(width=width, max_new_tokens=8, outputs=width)
    greedy = translate(model, SOURCES[:1], start_token_id=START, stop_token_id=2, beam=Beam(1, 8))
    stop = greedy[0][0].tokens[2]  # so that some source ends early
    found = translate(model, SOURCES, attention_mask=REAL, start_token_id=START, stop_token_id=stop, beam=beam)
    bare = [source[real] for source, real in zip(SOURCES, REAL, strict=True)]
    expected = search(WithoutCache(model, bare, width), 3, beam, stop_token_id=stop)
    for best, reference in zip(found, expected, strict=True):
        assert [output.tokens for output in best] == [output.tokens for output in reference]
        assert [output.score for output in best] == pytest.approx([output.score for output in reference])
    assert min(len(output.tokens) for best in found for output in best) < 8, "some sources leave the batch early"


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_recurrent_model_is_searched_in_the_same_way(cell, attention):
    """With states that are carried on it finds what whole passes find, and greedy search is what the model writes."""
    torch.manual_seed(1)
    config = RecurrentSeq2SeqConfig(vocab_size=11, hidden_size=12, embedding_size=6, cell=cell, attention=attention)
    model = RecurrentSeq2Seq(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # so that outputs differ
    given = {"attention_mask": REAL, "start_token_id": START}
    (first,), *_ = translate(model, SOURCES, stop_token_id=2, beam=Beam(1, 8), **given)
    stop = first.tokens[-1]
    for width in (1, 3):
        beam = Beam(width=width, max_new_tokens=8, outputs=width)
        found = translate(model, SOURCES, stop_token_id=stop, beam=beam, **given)
        bare = [source[real] for source, real in zip(SOURCES, REAL, strict=True)]
        expected = search(WithoutCache(model, bare, width), 3, beam, stop_token_id=stop)
        for best, reference in zip(found, expected, strict=True):
            assert [output.tokens for output in best] == [output.tokens for output in reference]
    written = model.generate(SOURCES, start=START, max_new_tokens=8, attention_mask=REAL)
    greedy = translate(model, SOURCES, stop_token_id=stop, beam=Beam(width=1, max_new_tokens=8), **given)
    for row, (output,) in zip(written.tolist(), greedy, strict=True):
        assert list(output.tokens) == row[: len(output.tokens)]


def test_a_models_mode_and_the_random_generator_stay():
    model, state = translator().train(), torch.get_rng_state()
    translate(model, SOURCES, attention_mask=REAL, start_token_id=START, stop_token_id=2, beam=Beam(max_new_tokens=3))
    assert model.training
    assert torch.equal(state, torch.get_rng_state())


def test_continuing_prompts_with_width_one_is_greedy_generation():
    torch.manual_seed(0)
    config = GptConfig(vocab_size=17, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    model = Gpt(config.replace(max_position_embeddings=24, initializer_range=0.5)).double()
    prompts = [[3], [1, 4, 1, 5, 9, 2, 6], [5, 3, 5]]
    greedy = generate(model, prompts, max_new_tokens=9, temperature=0, stop_token_id=7)
    found = continue_prompts(model, prompts, stop_token_id=7, beam=Beam(width=1, max_new_tokens=9))
    assert [[*prompt, *best.tokens] for prompt, (best,) in zip(prompts, found, strict=True)] == greedy
    wide = Beam(width=4, max_new_tokens=9, outputs=4)
    together = continue_prompts(model, prompts, stop_token_id=7, beam=wide)
    for prompt, best in zip(prompts, together, strict=True):
        alone = continue_prompts(model, [prompt], stop_token_id=7, beam=wide)[0]
        assert [output.tokens for output in best] == [output.tokens for output in alone]
    with pytest.raises(ValueError, match="may have 26 tokens"):
        continue_prompts(model, prompts, stop_token_id=7, beam=Beam(max_new_tokens=20))


@pytest.mark.parametrize(
    "settings",
    [{"width": 0}, {"outputs": 5}, {"max_new_tokens": 0}, {"alpha": -0.6}, {"alpha": math.nan}, {"penalty": "none"}],
)
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"expected|must be|unknown"):
        Beam(**settings)


def test_targets_longer_than_the_model_and_damaged_weights_are_refused():
    model = translator()
    with pytest.raises(ValueError, match="at most 12 tokens"):
        translate(model, SOURCES, start_token_id=START, stop_token_id=2, beam=Beam(max_new_tokens=13))
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="not finite"):
        translate(model, SOURCES, start_token_id=START, stop_token_id=2, beam=Beam(max_new_tokens=3))
