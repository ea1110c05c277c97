"""The cache and prompts side by side change nothing; sequences end where they should; seeds reproduce."""

import pytest
import torch
from torch import nn

from plm_core.generation.decoding import generate, stream
from plm_core.generation.sampling import Sampling
from plm_core.models.gpt import Gpt, GptConfig

PROMPTS = [[3], [1, 4, 1, 5, 9, 2, 6], [5, 3, 5], [8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6], [4, 3, 3]]


def tiny(position="learned", context=24):
    torch.manual_seed(0)
    config = GptConfig(vocab_size=17, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, position=position)
    return Gpt(config.replace(max_position_embeddings=context, initializer_range=0.5)).double()


@pytest.fixture(scope="module")
def model():
    return tiny().float()


def test_greedy_with_cache_equals_full_passes(model):
    prompt = torch.randint(0, 17, (3, 5), generator=torch.Generator().manual_seed(1))
    out = generate(model, prompt, max_new_tokens=15, temperature=0)
    expected = prompt
    model.eval()
    for _ in range(15):
        expected = torch.cat((expected, model(expected)[:, -1].argmax(-1, keepdim=True)), dim=1)
    assert torch.equal(out, expected)


def test_generation_continues_beyond_the_context(model):
    prompt = torch.tensor([[1, 2, 3]])
    out = generate(model, prompt, max_new_tokens=60, seed=0)
    assert out.shape == (1, 63)
    assert torch.equal(out[:, :3], prompt)


def test_seed_reproduces_and_leaves_the_global_generator_alone(model):
    prompt = torch.tensor([[1, 2]])
    state = torch.get_rng_state()
    first = generate(model, prompt, max_new_tokens=10, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, generate(model, prompt, max_new_tokens=10, seed=4))
    assert not torch.equal(first, generate(model, prompt, max_new_tokens=10, seed=5))


def test_samples_follow_the_distribution(model):
    """20,000 draws; each token's frequency within 5 standard errors: a false alarm has probability 17 x 6e-7."""
    prompt = torch.tensor([[3, 1, 4]])
    model.eval()
    with torch.no_grad():
        expected = model(prompt)[0, -1].softmax(-1)
    n = 20_000
    drawn = generate(model, prompt.expand(n, -1), max_new_tokens=1, seed=0)[:, -1]
    frequency = torch.bincount(drawn, minlength=17) / n
    assert ((frequency - expected).abs() <= 5 * (expected * (1 - expected) / n).sqrt() + 1e-6).all()


def test_stop_token_ends_rows(model):
    prompt = torch.randint(0, 17, (4, 3), generator=torch.Generator().manual_seed(2))
    out = generate(model, prompt, max_new_tokens=20, seed=1, stop_token_id=5)
    for row in out[:, 3:].tolist():
        if 5 in row:
            assert set(row[row.index(5) :]) == {5}


def test_impossible_prompts(model):
    with pytest.raises(ValueError, match="prompt is empty"):
        generate(model, torch.zeros(1, 0, dtype=torch.long), max_new_tokens=1)
    with pytest.raises(ValueError, match="shorten it"):
        generate(model, torch.zeros(1, 25, dtype=torch.long), max_new_tokens=1)


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope", "alibi", "t5", "shaw", "transformer_xl", "none"])
def test_each_prompt_of_a_batch_is_continued_as_on_its_own(position):
    """In fp64, so that no rounding decides between two tokens; 40 tokens pass the context of 24 in every sequence."""
    model = tiny(position)
    alone = [generate(model, [prompt], max_new_tokens=40, temperature=0)[0] for prompt in PROMPTS]
    assert generate(model, PROMPTS, max_new_tokens=40, temperature=0) == alone


def test_each_prompt_of_a_batch_ends_as_on_its_own():
    model = tiny()
    settings = {"max_new_tokens": 40, "seed": 2, "stop_token_id": 5}
    together = generate(model, PROMPTS * 2, **settings)
    alone = generate(model, PROMPTS, **settings)
    assert together[: len(PROMPTS)] == alone
    assert len({len(row) for row in together}) > 2
    for row, prompt in zip(together, PROMPTS * 2, strict=True):
        new = row[len(prompt) :]
        assert 5 not in new[:-1]
        assert new[-1] == 5 or len(new) == 40


def test_a_short_sequence_goes_on_when_the_longest_has_ended():
    """The longest prompt nearly fills the context; what the others see must not shrink with it."""
    model = tiny()
    prompts = [[2, 3], list(range(3, 17)) + list(range(6, 15))]  # 23 of 24 tokens
    alone = generate(model, prompts[:1], max_new_tokens=30, temperature=0)
    stop = generate(model, prompts[1:], max_new_tokens=1, temperature=0)[0][-1]
    together = generate(model, prompts, max_new_tokens=30, temperature=0, stop_token_id=stop)
    expected = alone[0] if stop not in alone[0][2:] else alone[0][: alone[0].index(stop, 2) + 1]
    assert together[0] == expected
    assert together[1] == [*prompts[1], stop]


def test_suppressed_tokens_are_never_drawn(model):
    for temperature in (0.0, 1.0):
        out = generate(
            model, [[1]], max_new_tokens=200, temperature=temperature, suppressed_token_ids=range(3, 17), seed=0
        )
        assert set(out[0]) <= {0, 1, 2}


def test_a_stream_gives_the_tokens_of_the_whole_one_step_at_a_time(model):
    rows = [list(prompt) for prompt in PROMPTS]
    for tokens in stream(model, PROMPTS, max_new_tokens=9, sampling=Sampling(), seed=3):
        for row, token in tokens:
            rows[row].append(token)
    assert rows == generate(model, PROMPTS, max_new_tokens=9, seed=3)


def test_the_models_mode_comes_back_also_from_a_stream_that_is_left(model):
    model.train()
    steps = stream(model, PROMPTS, max_new_tokens=9, sampling=Sampling())
    next(steps)
    assert not model.training
    steps.close()
    assert model.training


def test_what_was_generated_can_be_trained_on(model):
    out = generate(model, torch.tensor([[1, 2]]), max_new_tokens=4, seed=0)
    model(out).sum().backward()


def test_a_model_whose_weights_are_nan_is_refused(model):
    broken = tiny().float()
    nn.init.constant_(broken.embeddings.word_embeddings.weight, float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        generate(broken, [[1]], max_new_tokens=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": float("nan")}, "temperature"),
        ({"max_new_tokens": -5}, "max_new_tokens"),
        ({"seed": -1}, "seed"),
        ({"stop_token_id": 17}, "ids are 0 to 16"),
        ({"suppressed_token_ids": [-1]}, "ids are 0 to 16"),
        ({"suppressed_token_ids": range(17)}, "none is left"),
    ],
)
def test_impossible_settings_are_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(model, [[1]], **{"max_new_tokens": 1, **arguments})
