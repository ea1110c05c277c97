"""The names of modules in Hugging Face's models, beside ours. Data, no code."""

from __future__ import annotations

PREFIXES = {
    "bert": "bert.",
    "esm": "esm.",
    "gpt2": "transformer.",
    "gpt_neox": "gpt_neox.",
    "llama": "model.",
}
"""What the names of the trunk begin with in a model with a head."""

BLOCKS = {
    "bert": ("encoder.layer", "encoder.stack"),
    "esm": ("encoder.layer", "encoder.stack"),
    "gpt2": ("h", "decoder"),
    "gpt_neox": ("layers", "decoder"),
    "llama": ("layers", "decoder"),
}
"""Where the blocks stand: theirs, ours."""

IN_BLOCK: dict[str, dict[str, str]] = {
    "bert": {
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "feed_forward.up": "intermediate.dense",
        "feed_forward.down": "output.dense",
        "feed_forward_norm": "output.LayerNorm",
    },
    "esm": {
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.output": "attention.output.dense",
        "attention_norm": "attention.LayerNorm",
        "feed_forward.up": "intermediate.dense",
        "feed_forward.down": "output.dense",
        "feed_forward_norm": "LayerNorm",
    },
    "gpt2": {
        "attention": "attn.c_attn",
        "attention.output": "attn.c_proj",
        "attention_norm": "ln_1",
        "feed_forward.up": "mlp.c_fc",
        "feed_forward.down": "mlp.c_proj",
        "feed_forward_norm": "ln_2",
    },
    "gpt_neox": {
        "attention": "attention.query_key_value",
        "attention.output": "attention.dense",
        "attention_norm": "input_layernorm",
        "feed_forward.up": "mlp.dense_h_to_4h",
        "feed_forward.down": "mlp.dense_4h_to_h",
        "feed_forward_norm": "post_attention_layernorm",
    },
    "llama": {
        "attention.query": "self_attn.q_proj",
        "attention.key": "self_attn.k_proj",
        "attention.value": "self_attn.v_proj",
        "attention.output": "self_attn.o_proj",
        "attention_norm": "input_layernorm",
        "feed_forward.up": "mlp.up_proj",
        "feed_forward.gate": "mlp.gate_proj",
        "feed_forward.down": "mlp.down_proj",
        "feed_forward_norm": "post_attention_layernorm",
    },
}
"""The modules of a block: ours, theirs. Where one of theirs holds query, key and value, it stands for "attention"."""

TRUNK: dict[str, dict[str, str]] = {
    "bert": {
        "encoder.embeddings.word_embeddings": "embeddings.word_embeddings",
        "encoder.embeddings.token_type_embeddings": "embeddings.token_type_embeddings",
        "encoder.embeddings.position.table": "embeddings.position_embeddings",
        "encoder.embeddings.norm": "embeddings.LayerNorm",
        "pooler.dense": "pooler.dense",
    },
    "esm": {
        "encoder.embeddings.word_embeddings": "embeddings.word_embeddings",
        "encoder.embeddings.norm": "embeddings.layer_norm",
        "encoder.stack.final_norm": "encoder.emb_layer_norm_after",
        "pooler.dense": "pooler.dense",
    },
    "gpt2": {
        "embeddings.word_embeddings": "wte",
        "embeddings.position.table": "wpe",
        "decoder.final_norm": "ln_f",
    },
    "gpt_neox": {"embeddings.word_embeddings": "embed_in", "decoder.final_norm": "final_layer_norm"},
    "llama": {"embeddings.word_embeddings": "embed_tokens", "decoder.final_norm": "norm"},
}
"""The other modules of the trunk: ours, theirs without the prefix."""

HEADS: dict[str, dict[str, str]] = {
    "bert": {
        "mlm_head.dense": "cls.predictions.transform.dense",
        "mlm_head.norm": "cls.predictions.transform.LayerNorm",
        "nsp_head": "cls.seq_relationship",
        "classifier": "classifier",
    },
    "esm": {
        "mlm_head.dense": "lm_head.dense",
        "mlm_head.norm": "lm_head.layer_norm",
        "classifier": "classifier.out_proj",
    },
}
"""The modules of heads: ours, theirs."""

OUTPUT = {"gpt2": "lm_head.weight", "gpt_neox": "embed_out.weight", "llama": "lm_head.weight"}
MLM_BIAS = {"bert": "cls.predictions.bias", "esm": "lm_head.bias"}
MLM_WEIGHT = {"bert": "cls.predictions.decoder.weight", "esm": "lm_head.decoder.weight"}
"""Output layers and the bias of the masked-language-model head."""
