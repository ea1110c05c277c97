"""Every shape that one of Hugging Face's families computes is exported, computes the same there, and comes back."""

import json
import warnings

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from plm_core.compression.low_rank import factorise
from plm_core.interop import load_pretrained, save_pretrained
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.positions import Rope
from plm_core.models.replacement import replace_modules

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
}
ROTARY = {"position": "rope"}
LLAMA = {"position": "rope", "norm": "rmsnorm", "hidden_act": "swiglu"}
ENCODERS = [
    ({}, "Bert"),
    ({"use_bias": False}, "Bert"),
    ({"position": "none", "type_vocab_size": 0}, "Bert"),
    ({"position": "sinusoidal", "hidden_act": "relu"}, "Bert"),
    ({"tie_word_embeddings": False}, "Bert"),
    ({"position": "rope", "norm_position": "pre"}, "Esm"),
    ({"position": "rope", "norm_position": "pre", "type_vocab_size": 0, "use_bias": False}, "Esm"),
    ({"position": "rope", "norm_position": "pre", "max_position_embeddings": None}, "Esm"),
]
DECODERS = [
    ({}, "GPT2"),
    ({"use_bias": False, "hidden_act": "gelu"}, "GPT2"),
    ({"position": "none"}, "GPT2"),
    ({"position": "sinusoidal"}, "GPT2"),
    ({"tie_word_embeddings": False}, "GPT2"),
    (ROTARY, "GPTNeoX"),
    (ROTARY | {"use_bias": False, "hidden_act": "relu", "max_position_embeddings": None}, "GPTNeoX"),
    (LLAMA, "Llama"),
    (LLAMA | {"hidden_act": "geglu", "use_bias": False, "tie_word_embeddings": False}, "Llama"),
]
IDS = torch.randint(61, (3, 11), generator=torch.Generator().manual_seed(1))
REAL = torch.arange(11)[None] < torch.tensor([11, 7, 2])[:, None]


@pytest.fixture(autouse=True)
def _offline(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)


def trained(model: torch.nn.Module) -> torch.nn.Module:
    """A model whose parameters have all moved: biases of zero would hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def in_transformers(folder) -> transformers.PreTrainedModel:
    """The model of a folder in Hugging Face's own class; no weight may be missing or left over."""
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, report = getattr(transformers, architecture).from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model.eval()


def silently_loaded(folder):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="not in the file")
        return load_pretrained(folder)


@torch.no_grad()
@pytest.mark.parametrize(("changes", "family"), ENCODERS)
def test_an_encoders_predictions_are_the_same_in_transformers_and_after_the_way_back(changes, family, tmp_path) -> None:
    model = trained(Bert(BertConfig(**SIZES | changes)))
    notes = save_pretrained(model, tmp_path)
    theirs = in_transformers(tmp_path)
    assert type(theirs).__name__.startswith(family)
    assert bool(notes) == (family == "Esm")
    logits = model(IDS, attention_mask=REAL, masked_positions=REAL).prediction_logits
    found = theirs(IDS, attention_mask=REAL.long())
    torch.testing.assert_close(
        found.prediction_logits[REAL] if family == "Bert" else found.logits[REAL], logits, **CLOSE
    )
    again = silently_loaded(tmp_path)(IDS, attention_mask=REAL, masked_positions=REAL).prediction_logits
    torch.testing.assert_close(again, logits, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(("changes", "family"), ENCODERS)
def test_a_classifiers_logits_are_the_same_in_transformers_and_after_the_way_back(changes, family, tmp_path) -> None:
    model = trained(BertClassifier(ClassifierConfig(**SIZES | changes, num_labels=3)))
    save_pretrained(model, tmp_path)
    theirs = in_transformers(tmp_path)
    assert type(theirs).__name__ == f"{family}ForSequenceClassification"
    logits = model(IDS, attention_mask=REAL)
    torch.testing.assert_close(theirs(IDS, attention_mask=REAL.long()).logits, logits, **CLOSE)
    again = load_pretrained(tmp_path)
    assert isinstance(again, BertClassifier)
    torch.testing.assert_close(again(IDS, attention_mask=REAL), logits, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(("changes", "family"), DECODERS)
def test_a_decoders_logits_are_the_same_in_transformers_and_after_the_way_back(changes, family, tmp_path) -> None:
    model = trained(Gpt(GptConfig(**SIZES | changes)))
    assert save_pretrained(model, tmp_path) == []
    theirs = in_transformers(tmp_path)
    assert type(theirs).__name__.startswith(family)
    logits = model(IDS, attention_mask=REAL)[REAL]
    torch.testing.assert_close(theirs(IDS, attention_mask=REAL.long()).logits[REAL], logits, **CLOSE)
    torch.testing.assert_close(load_pretrained(tmp_path)(IDS, attention_mask=REAL)[REAL], logits, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("family", ["gpt_neox", "llama"])
def test_models_that_transformers_has_made_are_read(family, tmp_path) -> None:
    sizes = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 48, "max_position_embeddings": 20, "bos_token_id": 0, "eos_token_id": 1}
    if family == "llama":
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    else:
        rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
        config = transformers.GPTNeoXConfig(**sizes, use_parallel_residual=False, rope_parameters=rope)
        theirs = transformers.GPTNeoXForCausalLM(config)
    trained(theirs).save_pretrained(tmp_path)
    torch.testing.assert_close(load_pretrained(tmp_path)(IDS), theirs(IDS).logits, **CLOSE)


def test_positions_that_the_configuration_does_not_name_are_refused(tmp_path) -> None:
    model = Gpt(GptConfig(**SIZES | ROTARY), position=Rope(8, pairing="half"))
    with pytest.raises(ValueError, match="built with positions of another kind"):
        save_pretrained(model, tmp_path / "x")
    with pytest.raises(ValueError, match="built with positions of another kind"):
        save_pretrained(Gpt(GptConfig(**SIZES | {"position": "none"}), position=Rope(8)), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_compressed_layers_that_no_family_has_are_refused(tmp_path) -> None:
    model = Gpt(GptConfig(**SIZES))
    layer = model.decoder.layers[0].feed_forward.up
    replace_modules(model, {"decoder.layers.0.feed_forward.up": factorise(layer, 4)})
    with pytest.raises(ValueError, match=r"compressed model has \d+ layers that GPT-2 has not"):
        save_pretrained(model, tmp_path / "x")


def test_an_exported_model_is_not_changed(tmp_path) -> None:
    model = trained(Gpt(GptConfig(**SIZES | {"position": "sinusoidal", "use_bias": False})))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_pretrained(model, tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_output_layer_that_contradicts_the_configuration_is_refused(tmp_path) -> None:
    save_pretrained(Gpt(GptConfig(**SIZES)), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    words = state["transformer.wte.weight"]
    save_file(state | {"lm_head.weight": words.clone()}, tmp_path / "model.safetensors")
    load_pretrained(tmp_path)  # a copy says nothing new
    save_file(state | {"lm_head.weight": words + 1}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="an output layer of its own, but the configuration says"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformer.h.2.ln_1.weight", "the configuration says that there are 2 layers"),
        ("transformer.h.0.attn.distance_embedding.weight", "a part of the model that cannot be computed here"),
    ],
)
def test_parts_of_the_trunk_that_have_no_place_here_are_refused(name, message, tmp_path) -> None:
    save_pretrained(Gpt(GptConfig(**SIZES)), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file(state | {name: torch.ones(32)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_pretrained(tmp_path)


def test_heads_of_other_tasks_are_left_out_with_a_warning(tmp_path) -> None:
    save_pretrained(Bert(BertConfig(**SIZES)), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file(state | {"qa_outputs.weight": torch.ones(2, 32)}, tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match="left out: qa_outputs.weight"):
        load_pretrained(tmp_path)
