"""Configurations go to and from Hugging Face's; what one side cannot express or compute is refused by name."""

import warnings

import pytest

from plm_core.interop.configurations import config_from_hugging_face
from plm_core.interop.huggingface import save_pretrained
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            BertConfig.tiny(9).replace(norm_position="pre"),
            "as BERT, norm_position is 'pre' and should be 'post'; as ESM",
        ),
        (
            GptConfig.tiny(9).replace(position="rope", norm="rmsnorm"),
            "as Llama, hidden_act is 'gelu_new' and should be",
        ),
        (GptConfig.tiny(9).replace(hidden_act="swiglu"), "as GPT-2, hidden_act is 'swiglu'"),
        (GptConfig.tiny(9).replace(position="alibi"), "as GPT-NeoX, position is 'alibi' and should be 'rope'"),
        (GptConfig.tiny(9).replace(position="none", max_position_embeddings=None), "table of positions needs a length"),
    ],
)
def test_shapes_that_hugging_face_cannot_express_are_refused(config, message: str, tmp_path) -> None:
    model = Bert(config) if isinstance(config, BertConfig) else Gpt(config)
    with pytest.raises(ValueError, match=message):
        save_pretrained(model, tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "mamba"}, "type 'mamba': only 'bert', 'esm', 'gpt2', 'gpt_neox', 'llama'"),
        ({"model_type": "bert", "position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"model_type": "bert", "quantization_config": {"bits": 8}}, "quantization_config="),
        ({"model_type": "gpt_neox", "use_parallel_residual": False}, "partial_rotary_factor=0.25"),
        ({"model_type": "gpt_neox", "use_parallel_residual": True}, "use_parallel_residual=True"),
        ({"model_type": "llama", "num_key_value_heads": 8}, "num_key_value_heads=8"),
        ({"model_type": "llama", "rope_theta": 5e5}, "rope_theta=500000.0"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2}}, "rope_type='linear'"),
        ({"model_type": "llama", "sliding_window": 64}, "sliding_window=64"),
        ({"model_type": "esm", "emb_layer_norm_before": True}, "position_embedding_type='absolute'"),
        ({"model_type": "bert", "num_hidden_layers": "six"}, "num_hidden_layers: expected int, got 'six'"),
        ({"model_type": ["bert"]}, "type"),
        ({"model_type": "bert", "is_decoder": True}, "is_decoder=True"),
        ({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True}, "cannot be computed here"),
        ({"model_type": "bert", "hidden_act": "silu"}, "hidden_act='silu'"),
    ],
)
def test_variants_that_cannot_be_computed_are_refused(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_from_hugging_face(values)


def test_different_dropouts_of_gpt2_are_reported() -> None:
    with pytest.warns(UserWarning, match="matters for further training only"):
        config_from_hugging_face({"model_type": "gpt2", "embd_pdrop": 0.0, "resid_pdrop": 0.1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config_from_hugging_face({"model_type": "gpt2"}) == GptConfig.gpt2()
        assert config_from_hugging_face({"model_type": "bert"}) == BertConfig.base()
