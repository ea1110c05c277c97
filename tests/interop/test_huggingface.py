"""Our BERT and GPT-2 compute what Hugging Face's do, forward and backward, and folders travel both ways offline."""

import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file

from plm_core.interop.configurations import config_from_hugging_face
from plm_core.interop.huggingface import load_hugging_face, load_pretrained, save_pretrained
from plm_core.interop.translation import from_hugging_face, to_hugging_face
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt
from plm_core.weights import check_ties, stripped_state_dict

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def _offline(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)


def disturb(model: torch.nn.Module) -> None:
    """Move every parameter away from its initial value: biases of zero would hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def their_bert(hidden_act: str = "gelu") -> transformers.BertForPreTraining:
    config = transformers.BertConfig(
        vocab_size=61,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=20,
        type_vocab_size=3,
        hidden_act=hidden_act,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = transformers.BertForPreTraining(config)
    disturb(model)
    return model


def their_gpt2(activation: str = "gelu_new") -> transformers.GPT2LMHeadModel:
    config = transformers.GPT2Config(
        vocab_size=61,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_inner=48,
        n_positions=20,
        activation_function=activation,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config)
    disturb(model)
    return model


def ours(theirs: transformers.PreTrainedModel) -> Bert | Gpt:
    config = config_from_hugging_face(theirs.config.to_dict())
    model = Bert(config) if isinstance(config, BertConfig) else Gpt(config)
    load_hugging_face(model, theirs.state_dict())
    return model


def parameters_equal(model: Bert | Gpt, theirs: transformers.PreTrainedModel, *, gradients: bool) -> None:
    state = {
        name: parameter.grad if gradients else parameter.detach()
        for name, parameter in theirs.named_parameters()
        if parameter.grad is not None
    }
    expected = from_hugging_face(state, model.config, list(stripped_state_dict(model)))
    for name, parameter in model.named_parameters():
        value = parameter.grad if gradients else parameter.detach()
        torch.testing.assert_close(value, expected.pop(name), **CLOSE, msg=lambda m, n=name: f"{n}: {m}")
    assert not expected


@pytest.mark.parametrize("hidden_act", ["gelu", "relu", "gelu_pytorch_tanh"])
def test_bert_has_hugging_faces_logits_and_training_step(hidden_act: str) -> None:
    theirs = their_bert(hidden_act).train()
    model = ours(theirs).train()
    lengths = torch.tensor([20, 13, 2])
    real = torch.arange(20)[None] < lengths[:, None]
    ids = torch.randint(1, 61, (3, 20)).masked_fill(~real, 0)
    types = torch.randint(3, (3, 20))
    masked = (torch.rand(3, 20) < 0.3) & real
    masked[:, 1] = True
    labels, next_sentence = torch.randint(61, (3, 20)), torch.tensor([0, 1, 1])

    reference = theirs(
        input_ids=ids,
        attention_mask=real.long(),
        token_type_ids=types,
        labels=labels.masked_fill(~masked, -100),
        next_sentence_label=next_sentence,
    )
    output = model(ids, attention_mask=real, token_type_ids=types, masked_positions=masked)
    torch.testing.assert_close(output.prediction_logits, reference.prediction_logits[masked], **CLOSE)
    torch.testing.assert_close(output.seq_relationship_logits, reference.seq_relationship_logits, **CLOSE)
    trunk = theirs.bert(ids, attention_mask=real.long(), token_type_ids=types)
    torch.testing.assert_close(output.last_hidden_state[real], trunk.last_hidden_state[real], **CLOSE)
    torch.testing.assert_close(output.pooler_output, trunk.pooler_output, **CLOSE)

    loss = F.cross_entropy(output.prediction_logits, labels[masked])
    loss = loss + F.cross_entropy(output.seq_relationship_logits, next_sentence)
    torch.testing.assert_close(loss, reference.loss, **CLOSE)
    one_step_each(model, loss, theirs, reference.loss)


@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu"])
def test_gpt2_has_hugging_faces_logits_and_training_step(activation: str) -> None:
    theirs = their_gpt2(activation).train()
    model = ours(theirs).train()
    real = torch.arange(20)[None] < torch.tensor([20, 13, 2])[:, None]
    ids = torch.randint(61, (3, 20)).masked_fill(~real, 0)
    labels = ids.masked_fill(~real, -100)
    reference = theirs(input_ids=ids, attention_mask=real.long(), labels=labels)
    logits = model(ids, attention_mask=real)
    torch.testing.assert_close(logits[real], reference.logits[real], **CLOSE)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(loss, reference.loss, **CLOSE)
    one_step_each(model, loss, theirs, reference.loss)


def one_step_each(model: Bert | Gpt, loss, theirs, their_loss) -> None:
    for network, value in ((model, loss), (theirs, their_loss)):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
        value.backward()
        if network is theirs:
            parameters_equal(model, theirs, gradients=True)
        optimiser.step()
    parameters_equal(model, theirs, gradients=False)


@torch.no_grad()
def test_gpt2_has_hugging_faces_logits_token_by_token_from_a_cache() -> None:
    theirs = their_gpt2().eval()
    model = ours(theirs).eval()
    ids = torch.randint(61, (2, 12))
    cache, their_cache = model.new_cache(), None
    for start, end in ((0, 5), (5, 6), (6, 7), (7, 12)):
        reference = theirs(input_ids=ids[:, start:end], past_key_values=their_cache, use_cache=True)
        their_cache = reference.past_key_values
        torch.testing.assert_close(model(ids[:, start:end], cache=cache), reference.logits, **CLOSE)


@torch.no_grad()
def test_gpt2_has_hugging_faces_logits_with_padding_on_the_left() -> None:
    theirs = their_gpt2().eval()
    model = ours(theirs).eval()
    real = torch.arange(10)[None] >= torch.tensor([0, 4])[:, None]
    ids = torch.randint(61, (2, 10))
    position_ids = (real.cumsum(-1) - 1).clamp(min=0)
    reference = theirs(input_ids=ids, attention_mask=real.long(), position_ids=position_ids).logits
    logits = model(ids, attention_mask=real, position_ids=position_ids)
    torch.testing.assert_close(logits[real], reference[real], **CLOSE)


@pytest.mark.parametrize("make", [their_bert, their_gpt2])
def test_names_and_layouts_translate_there_and_back(make) -> None:
    model = ours(make())
    state = stripped_state_dict(model)
    back = from_hugging_face(to_hugging_face(state, model.config), model.config, list(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("make", [their_bert, their_gpt2])
@pytest.mark.parametrize("tie", [True, False])
def test_an_exported_folder_loads_in_hugging_face_and_comes_back(make, tie: bool, tmp_path) -> None:
    model = ours(make())
    if not tie:
        other = type(model)(model.config.replace(tie_word_embeddings=False))
        disturb(other)
        model = other
    model.eval()
    save_pretrained(model, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert ("lm_head.weight" in stored or "cls.predictions.decoder.weight" in stored) is not tie

    ids = torch.randint(61, (2, 9))
    everything = torch.ones_like(ids, dtype=torch.bool)
    loaded, report = transformers.AutoModelForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    trunk, report = transformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    again = load_pretrained(tmp_path)
    assert again.config == model.config
    check_ties(again)
    with torch.no_grad():
        if isinstance(model, Bert):
            expected = model(ids, masked_positions=everything)
            torch.testing.assert_close(loaded(ids).prediction_logits.flatten(0, 1), expected.prediction_logits, **CLOSE)
            torch.testing.assert_close(loaded(ids).seq_relationship_logits, expected.seq_relationship_logits, **CLOSE)
            torch.testing.assert_close(trunk(ids).last_hidden_state, expected.last_hidden_state, **CLOSE)
            assert torch.equal(again(ids, masked_positions=everything).prediction_logits, expected.prediction_logits)
        else:
            torch.testing.assert_close(loaded(ids).logits, model(ids), **CLOSE)
            torch.testing.assert_close(trunk(ids).last_hidden_state, model.hidden_states(ids), **CLOSE)
            assert torch.equal(again(ids), model(ids))


@pytest.mark.parametrize("make", [their_bert, their_gpt2])
def test_a_loaded_model_keeps_its_ties_in_training(make, tmp_path) -> None:
    make().save_pretrained(tmp_path)
    model = load_pretrained(tmp_path).train()
    alias = model.lm_head if isinstance(model, Gpt) else model.mlm_head.decoder
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    ids = torch.randint(61, (2, 9))
    for _ in range(2):
        alias((model.hidden_states if isinstance(model, Gpt) else model.encoder)(ids)).logsumexp(-1).sum().backward()
        optimiser.step()
    check_ties(model)
    save_pretrained(model, tmp_path / "after")
    theirs = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "after")
    assert theirs.get_output_embeddings().weight is theirs.get_input_embeddings().weight
    assert torch.equal(theirs.get_input_embeddings().weight, alias.weight)


def test_headless_legacy_sharded_and_pickled_folders_load(tmp_path) -> None:
    theirs = their_bert().eval()
    ids = torch.randint(61, (2, 9))
    expected = theirs.bert(ids).last_hidden_state.detach()

    theirs.bert.save_pretrained(tmp_path / "headless")
    with pytest.warns(UserWarning, match="left at their initial values: mlm_head"):
        model = load_pretrained(tmp_path / "headless")
    torch.testing.assert_close(model.encoder(ids), expected, **CLOSE)

    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="40KB")
    assert (tmp_path / "sharded" / "model.safetensors.index.json").exists()
    torch.testing.assert_close(load_pretrained(tmp_path / "sharded").encoder(ids), expected, **CLOSE)

    folder = tmp_path / "pickled"
    theirs.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for n, t in state.items()
    }
    torch.save(old, folder / "pytorch_model.bin")
    torch.testing.assert_close(load_pretrained(folder).encoder(ids), expected, **CLOSE)

    gpt2 = their_gpt2().eval()
    gpt2.transformer.save_pretrained(tmp_path / "gpt2")
    torch.testing.assert_close(load_pretrained(tmp_path / "gpt2")(ids), gpt2(ids).logits, **CLOSE)


def test_damaged_folders_are_explained(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"it has no config\.json"):
        load_pretrained(tmp_path)
    their_gpt2().save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    first = "transformer.h.0.ln_1.weight"
    save_file({n: t for n, t in state.items() if n != first}, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"lack 1 parameters of the trunk, for example decoder.layers.0.attention_norm"
    ):
        load_pretrained(tmp_path)
    save_file(state | {first: torch.zeros(7)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"attention_norm.weight: \(7,\) instead of \(32,\)"):
        load_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no weights: expected one of model\.safetensors"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="expected an object with keys, found list"):
        load_pretrained(tmp_path)
