"""Prompts and prefixes: they begin as real words, padding changes nothing, and they alone are trained and stored."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from plm_core.models.gpt import Gpt
from plm_core.models.heads import SequenceClassifier, TokenClassifier
from plm_core.models.prompt_tuning import (
    PromptConfig,
    add_prompt,
    load_prompt,
    prompts,
    remove_prompt,
    save_prompt,
)
from plm_core.models.transformer import Trace
from plm_core.training.optim import layer_depths
from tests.models.small_models import bert, gpt, seq2seq

RELATIVE = ("none", "rope", "alibi", "t5", "shaw", "transformer_xl")
"""Schemes under which only distances count, so that a prompt stands exactly where words before the text would."""
KINDS = ("prompt", "prefix")
WORDS = [7, 3, 11]
IDS = torch.arange(12).view(2, 6) % 50
CONFIGS = {kind: PromptConfig(kind=kind, length=3) for kind in KINDS}


def batch() -> dict[str, torch.Tensor]:
    return {"input_ids": IDS, "attention_mask": torch.arange(6) < torch.tensor([[6], [4]])}


def tagger(trunk=gpt, **changes) -> TokenClassifier:
    torch.manual_seed(0)
    return TokenClassifier.from_pretrained(trunk(**changes), 3).eval()


def trained_by_chance(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("position", RELATIVE)
@pytest.mark.parametrize(("kind", "trunk"), [("prompt", gpt), ("prompt", bert), ("prefix", gpt)])
def test_at_first_the_model_reads_real_words_before_the_text(kind, trunk, position):
    """A prefix of a Bert is left out: real words before the text would attend to the text, a prefix does not."""
    model = tagger(trunk, position=position)
    expected = model(torch.cat([torch.tensor([WORDS] * 2), IDS], dim=1))[:, 3:]
    add_prompt(model, CONFIGS[kind], initial_ids=WORDS)
    torch.testing.assert_close(model(IDS), expected, rtol=1e-4, atol=1e-5)


def test_a_gpts_own_logits_are_those_after_the_words():
    model = gpt(position="rope").eval()
    expected = model(torch.cat([torch.tensor([WORDS] * 2), IDS], dim=1))[:, 3:]
    for kind in KINDS:
        add_prompt(model, CONFIGS[kind], initial_ids=WORDS)
        torch.testing.assert_close(model(IDS), expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match="takes no key-value cache"), torch.no_grad():
            model(IDS, cache=model.new_cache())
        remove_prompt(model)
    assert isinstance(model, Gpt)


def test_a_prefix_is_seen_by_every_token_through_attention_written_out():
    """One layer of a Bert: softmax over the prefix's keys and the text's."""
    model = tagger(bert, num_hidden_layers=1)
    add_prompt(model, CONFIGS["prefix"])
    trained_by_chance(model)
    prefixed = model.encoder.stack
    trace = Trace(keep_attentions=True)
    model(IDS[:1], trace=trace)
    attention, x_1TD = prefixed.base.layers[0].attention, trace.hidden_states[0]
    q, k, _ = (
        part(x_1TD)[0].unflatten(-1, (4, 8)).transpose(0, 1)
        for part in (attention.query, attention.key, attention.value)
    )
    scores = q @ torch.cat([prefixed.keys[0], k], dim=1).transpose(1, 2) / 8**0.5
    torch.testing.assert_close(trace.attentions[0][0], scores.softmax(-1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("trunk", "position"), [(bert, "learned"), (bert, "t5"), (gpt, "learned"), (gpt, "alibi")])
def test_padding_changes_no_logit(kind, trunk, position):
    model = tagger(trunk, position=position)
    add_prompt(model, CONFIGS[kind])
    trained_by_chance(model)
    together = model(**batch())
    for row, length in enumerate((6, 4)):
        torch.testing.assert_close(model(IDS[row : row + 1, :length])[0], together[row, :length], rtol=1e-4, atol=1e-5)


def test_packed_documents_see_the_prompt_and_not_each_other():
    model = tagger(gpt, position="none")
    same = torch.zeros(1, 6, 6, dtype=torch.bool)
    same[:, :4, :4] = same[:, 4:, 4:] = True
    for kind in KINDS:
        add_prompt(model, CONFIGS[kind])
        packed = model(IDS[:1], attention_mask=same)
        apart = torch.cat([model(IDS[:1, :4]), model(IDS[:1, 4:])], dim=1)
        torch.testing.assert_close(packed, apart, rtol=1e-4, atol=1e-5)
        remove_prompt(model)


def test_texts_long_enough_to_be_unpadded_give_the_same_logits():
    model = tagger(bert, max_position_embeddings=128)
    add_prompt(model, CONFIGS["prompt"])
    ids = torch.arange(200).view(2, 100) % 50
    mask = torch.arange(100) < torch.tensor([[100], [60]])
    together = model(ids, attention_mask=mask)
    torch.testing.assert_close(model(ids[1:, :60])[0], together[1, :60], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trunk", [bert, gpt])
def test_gradients_reach_the_prompt_and_the_classifier_only(kind, trunk):
    model = SequenceClassifier.from_pretrained(trunk(), 3)
    add_prompt(model, CONFIGS[kind])
    model(**batch()).square().sum().backward()
    found = {name.rpartition(".")[2]: p.grad for name, p in model.named_parameters() if p.grad is not None}
    expected = {"weight", "bias"} | ({"prompt"} if kind == "prompt" else {"keys", "values"})
    assert found.keys() == expected
    assert all(gradient.abs().sum() > 0 for gradient in found.values())
    assert {name for name, p in model.named_parameters() if p.requires_grad and "encoder" not in name} == {
        "classifier.weight",
        "classifier.bias",
    }
    layer_depths(model)  # the blocks are still found


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_holds_the_small_part_alone_and_restores_the_model(kind, tmp_path):
    model, config = tagger(bert), CONFIGS[kind]
    add_prompt(model, config)
    save_prompt(trained_by_chance(model), tmp_path / "p.safetensors", config)
    stored = {name: tuple(tensor.shape) for name, tensor in load_file(tmp_path / "p.safetensors").items()}
    own = {"encoder.stack.prompt": (3, 32)} if kind == "prompt" else {}
    own |= {f"encoder.stack.{part}": (2, 4, 3, 8) for part in ("keys", "values") if kind == "prefix"}
    assert stored == own | {"classifier.weight": (3, 32), "classifier.bias": (3,)}
    again = tagger(bert)
    assert load_prompt(again, tmp_path / "p.safetensors") == config
    assert torch.equal(again(**batch()), model(**batch()))
    torch.manual_seed(3)
    other = TokenClassifier.from_pretrained(bert(), 3).eval()
    before = other(IDS)
    with pytest.raises(ValueError, match="trained on other weights than this model has"):
        load_prompt(other, tmp_path / "p.safetensors")
    assert torch.equal(other(IDS), before)
    assert not prompts(other)
    with pytest.raises(ValueError, match="the model's prompt is not that of"):
        save_prompt(model, tmp_path / "p.safetensors", config.replace(length=4))


def test_a_prompt_is_drawn_from_the_seed_and_modes_are_kept():
    made = []
    for _ in range(2):
        torch.manual_seed(4)
        model = tagger(bert, hidden_dropout_prob=0.5)
        model.train()
        model.encoder.embeddings.eval()
        add_prompt(model, PromptConfig(length=5))
        assert model.encoder.stack.base.training
        assert not model.encoder.embeddings.training
        made.append(model.encoder.stack.prompt)
    assert torch.equal(*made)


def test_what_cannot_be_is_refused_and_leaves_the_model_as_it_was(tmp_path):
    model = tagger()
    before = model(IDS)
    for config, ids, message in (
        (PromptConfig(length=25), None, "the sequence has 25 tokens, the model takes 24"),
        (PromptConfig(length=3), [1, 2], "a prompt of 3 vectors cannot begin as 2 words"),
        (PromptConfig(length=1), [50], "valid ids are 0 to 49"),
        (PromptConfig(modules_to_save=("head",)), None, "no module 'head' to train"),
    ):
        with pytest.raises(ValueError, match=message):
            add_prompt(model, config, initial_ids=ids)
    with pytest.raises(ValueError, match="the model has no prompt"):
        save_prompt(model, tmp_path / "p.safetensors", PromptConfig())
    assert torch.equal(model(IDS), before)
    assert all(p.requires_grad for p in model.parameters())
    add_prompt(model, PromptConfig())
    with pytest.raises(ValueError, match="this one has a prompt already"):
        add_prompt(model, PromptConfig())
    with pytest.raises(ValueError, match="this one has 2 stacks of blocks"):
        add_prompt(seq2seq(), PromptConfig())
    with pytest.raises(ValueError, match="length must be positive"):
        PromptConfig(length=0)
