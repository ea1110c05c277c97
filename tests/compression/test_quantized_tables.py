"""Word vectors of 8 and 4 bits: what is computed, stored and read back, alone and with a tied output layer."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plm_core.compression.quantize import QuantizeConfig, quantize_model
from plm_core.compression.quantized_tables import QuantizedEmbedding, TiedOutput
from plm_core.compression.saved import describe, load_compressed, rebuild, save_compressed
from plm_core.compression.structure import stored_bytes

FOUR = QuantizeConfig(bits=4, granularity="group", group_size=8, embedding_bits=4, scale_bits=16)


@pytest.mark.parametrize("scale_bits", [16, 32])
@pytest.mark.parametrize(("bits", "group_size"), [(8, None), (8, 8), (4, None), (4, 8)])
def test_a_number_is_off_by_half_a_scale_at_most_and_rows_are_those_of_the_table(bits, group_size, scale_bits):
    torch.manual_seed(0)
    table = nn.Embedding(50, 32)
    made = QuantizedEmbedding.of(table, bits=bits, group_size=group_size, scale_bits=scale_bits)
    scale = made.scale.float().reshape(50, -1).repeat_interleave(group_size or 32, dim=1)
    assert ((made.weight - table.weight).abs() <= scale / 2 * (1 + 1e-5)).all()
    ids = torch.tensor([[3, 0], [49, 3]])
    assert torch.equal(made(ids), made.weight[ids])
    assert made.values.numel() == 50 * 32 * bits // 8
    assert made.scale.numel() == 50 * (32 // group_size if group_size else 1)


def test_four_bits_with_groups_take_the_bytes_they_say(gpt):
    eight, four = copy.deepcopy(gpt), gpt
    quantize_model(eight, FOUR.replace(embedding_bits=8))
    quantize_model(four, FOUR)
    words, width = gpt.config.vocab_size, gpt.config.hidden_size
    assert stored_bytes(eight) - stored_bytes(four) == words * (width + 2) - words * (width // 2 + 2 * width // 8)


def test_a_tied_output_layer_reads_the_table_and_comes_back_from_the_disk(gpt, ids, tmp_path):
    quantize_model(gpt.eval(), FOUR)
    [output] = [module for module in gpt.modules() if isinstance(module, TiedOutput)]
    x = torch.randn(3, 32)
    torch.testing.assert_close(output(x), F.linear(x, gpt.embeddings.word_embeddings.weight))
    save_compressed(gpt, tmp_path)
    again = type(gpt)(gpt.config).eval()
    load_compressed(again, tmp_path)
    assert describe(again) == describe(gpt)
    with torch.no_grad():
        assert torch.equal(again(ids), gpt(ids))


@pytest.mark.parametrize(
    ("entry", "message"),
    [({"bits": 3}, "bits must be"), ({"group_size": 64}, "group_size is 64"), ({"group_size": 0}, "positive")],
)
def test_a_damaged_description_is_refused(gpt, entry, message):
    sizes = {"num_embeddings": 40, "embedding_dim": 32}
    with pytest.raises(ValueError, match=message):
        rebuild(gpt, {"embeddings.word_embeddings": {"kind": "quantized_embedding", **sizes, **entry}})
