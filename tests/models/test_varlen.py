"""Attention over sequences of several lengths by one kernel: the same results, and nothing on the way that waits.

The kernel itself needs a GPU. Elsewhere a written-out one with the same signature takes its place, so that all that
surrounds it is tested here too.
"""

import contextlib
import itertools
import math
import sys
from types import SimpleNamespace

import pytest
import torch

from plm_core.data.batches import MaskedPairBatches, PackedBatches, PaddedBatches
from plm_core.data.labels import IGNORE
from plm_core.data.masking import Masker
from plm_core.data.packing import same_document
from plm_core.data.sentence_pairs import SentencePairs
from plm_core.data.tokenizer_training import train_words
from plm_core.models import transformer, varlen
from plm_core.models.attention import attend
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.inputs import expand_mask
from plm_core.models.varlen import (
    PackedSequences,
    attend_packed,
    attend_varlen,
    find_sequences,
    varlen_available,
    varlen_kernel,
)
from plm_core.objectives import inputs as inputs_of_objectives
from plm_core.objectives.base import Joint
from plm_core.objectives.causal_lm import CausalLM
from plm_core.objectives.inputs import model_inputs, transformer_inputs
from plm_core.objectives.masked_lm import MaskedLM
from plm_core.objectives.sentence_pair import NextSentence

SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}


def written_out(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1)):
    """The kernel's contract in the open: queries, keys and values (N, H, K) of sequences end to end."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert window_size in ((-1, -1), (-1, 0))
    assert (cu_seq_q[-1], cu_seq_k[-1]) == (len(query), len(key))
    found = []
    for (q0, q1), (k0, k1) in zip(*(itertools.pairwise(b.tolist()) for b in (cu_seq_q, cu_seq_k)), strict=True):
        assert q1 - q0 <= max_q
        assert k1 - k0 <= max_k
        q, k, v = (x.transpose(0, 1) for x in (query[q0:q1], key[k0:k1], value[k0:k1]))
        scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        if window_size == (-1, 0):
            scores = scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(k1 - k0 - (q1 - q0)), -math.inf)
        found.append((scores.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(found)


def use_kernel(monkeypatch, kernel) -> None:
    monkeypatch.setattr(varlen, "varlen_kernel", lambda: kernel)
    monkeypatch.setattr(varlen, "varlen_available", lambda x, *, head_size, dropout: dropout == 0)


@pytest.fixture
def kernel_everywhere(monkeypatch) -> None:
    """Treat every device like a GPU: the sequences come with the batch and one kernel computes their attention."""
    torch.manual_seed(0)
    use_kernel(monkeypatch, written_out)
    monkeypatch.setattr(transformer, "find_sequences", lambda *_: pytest.fail("the sequences came with the batch"))
    monkeypatch.setattr(PackedSequences, "saves_time", lambda self, x, **options: varlen.varlen_available(x, **options))


def documents(count=12):
    return [torch.arange(7, 9 + (5 * number) % 11) for number in range(count)]


def packed():
    return PackedBatches(documents(), row_length=24, batch_size=3, pad_id=0, seed=0).batch(0)


def padded():
    return PaddedBatches([d.tolist() for d in documents()], batch_size=5, pad_id=0, seed=0).batch(0)


def masked_pairs():
    tokenizer = train_words([" ".join(f"w{i}" for i in range(20))])
    masker = Masker(
        vocab_size=len(tokenizer), mask_token_id=tokenizer.mask_id, special_ids=sorted(tokenizer.special_ids)
    )
    texts = [[d.tolist(), d.flip(0).tolist(), d.tolist()] for d in documents()]
    return MaskedPairBatches(
        SentencePairs(texts, max_tokens=20), tokenizer=tokenizer, masker=masker, batch_size=4, seed=0
    ).batch(0)


CASES = {
    "packed": (Gpt, GptConfig, CausalLM(sliced=True), packed),
    "padded": (Gpt, GptConfig, CausalLM(sliced=True), padded),
    "pairs": (Bert, BertConfig, Joint([MaskedLM(), NextSentence()]), masked_pairs),
}


def loss_and_gradients(model, objective, batch):
    model.zero_grad()
    terms = objective.terms(model, objective.prepare(batch))
    torch.stack([part.total for part in terms.values()]).sum().backward()
    return {name: part.sums() for name, part in terms.items()}, [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_of_the_padded_batch(case, monkeypatch, kernel_everywhere) -> None:
    make, config, objective, source = CASES[case]
    model, batch = make(config(vocab_size=60, **SHAPE)).double(), source()
    calls = []
    use_kernel(monkeypatch, lambda *args, **options: calls.append(args) or written_out(*args, **options))
    ragged = loss_and_gradients(model, objective, batch)
    assert len(calls) == SHAPE["num_hidden_layers"]
    monkeypatch.setattr(varlen, "varlen_available", lambda *_, **__: False)
    dense = loss_and_gradients(model, objective, batch)
    assert len(calls) == SHAPE["num_hidden_layers"], "without the kernel the batch stays padded"
    torch.testing.assert_close(ragged, dense, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_a_step_never_waits_for_the_device(case, monkeypatch) -> None:
    """Tensors on the meta device have shapes and no values: code that needs a value, or a count of values, fails."""
    make, config, objective, source = CASES[case]
    if isinstance(objective, CausalLM):  # the sliced loss asks autocast about the device, which meta is unknown to
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
        monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    use_kernel(monkeypatch, lambda query, *args, **options: torch.empty_like(query) + query)
    monkeypatch.setattr(PackedSequences, "saves_time", lambda self, x, **options: True)
    model = make(config(vocab_size=60, **SHAPE)).to("meta")
    batch = {key: value.to("meta") for key, value in objective.prepare(source()).items()}
    seen = []
    model.register_forward_pre_hook(lambda _, args, inputs: seen.append(inputs["sequences"]), with_kwargs=True)
    terms = objective.terms(model, batch)
    torch.stack([part.total for part in terms.values()]).sum().backward()
    assert isinstance(seen[0], PackedSequences)
    with pytest.raises((RuntimeError, NotImplementedError)):
        seen[0].cu_seqlens.tolist()


def test_dropout_of_weights_keeps_the_padding(kernel_everywhere) -> None:
    model = Gpt(GptConfig(vocab_size=60, **(SHAPE | {"attention_probs_dropout_prob": 0.1})))
    sequences = transformer_inputs(packed())["sequences"]
    assert model.decoder.sequences_to_unpad(torch.zeros(3, 24, 16), None, sequences) is None
    model.eval()
    assert model.decoder.sequences_to_unpad(torch.zeros(3, 24, 16), None, sequences) is sequences


def test_compiled_blocks_keep_the_padding(monkeypatch) -> None:
    monkeypatch.setattr(varlen, "SHORTEST_MEAN", 1)
    model, batch = Gpt(GptConfig(vocab_size=60, **SHAPE)), packed()
    inputs = model_inputs(batch)
    expected = model(**inputs)
    for block in model.decoder.layers:
        block.compile(backend="eager")
    monkeypatch.setattr(PackedSequences, "unpad", lambda *_: pytest.fail("one shape for every batch of a size"))
    real = batch["labels"] != IGNORE
    torch.testing.assert_close(model(**inputs)[real], expected[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("source", [packed, padded, masked_pairs])
def test_sources_give_the_sequences_that_the_mask_describes(source) -> None:
    batch = source()
    B, T = batch["input_ids"].shape
    mask_BT = batch.get("attention_mask")
    if mask_BT is None:  # labels end one token before the document does
        labelled_BT = batch["labels"] != IGNORE
        mask_BT = labelled_BT | torch.cat([torch.zeros(B, 1, dtype=torch.bool), labelled_BT[:, :-1]], dim=1)
    found = find_sequences(expand_mask(mask_BT, batch=B, queries=T, keys=T), (B, T))
    assert found is not None
    assert torch.equal(found.token_indices, batch["token_indices"])
    assert torch.equal(found.cu_seqlens, batch["cu_seqlens"])
    assert batch["cu_seqlens"].dtype == torch.int32


@pytest.mark.parametrize("case", CASES)
def test_sequences_of_the_source_are_used_on_every_device_and_never_found_again(case, monkeypatch) -> None:
    make, config, objective, source = CASES[case]
    monkeypatch.setattr(varlen, "SHORTEST_MEAN", 1)
    for module in (transformer, inputs_of_objectives):
        monkeypatch.setattr(module, "find_sequences", lambda *_: pytest.fail("the sequences came with the batch"))
    unpadded = []
    unpad = PackedSequences.unpad
    monkeypatch.setattr(PackedSequences, "unpad", lambda self, x: unpadded.append(self) or unpad(self, x))
    batch = source()
    objective.terms(make(config(vocab_size=60, **SHAPE)), objective.prepare(batch))
    assert [sequences.cu_seqlens is batch["cu_seqlens"] for sequences in unpadded] == [True]


def test_the_sequences_of_a_padding_mask_are_added_before_the_batch_is_moved() -> None:
    source = masked_pairs()
    bare = {key: value for key, value in source.items() if key not in ("token_indices", "cu_seqlens")}
    prepared = NextSentence().prepare(bare)
    assert torch.equal(prepared["cu_seqlens"], source["cu_seqlens"])
    assert torch.equal(prepared["token_indices"], source["token_indices"])


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_of_some_queries_is_that_of_all_queries_at_their_positions(is_causal) -> None:
    cu_seqlens = torch.tensor([0, 3, 4, 10], dtype=torch.int32)
    row = PackedSequences(torch.arange(10), cu_seqlens, (1, 10))
    q, k, v = (torch.randn(1, 2, 10, 4, dtype=torch.double) for _ in range(3))
    chosen = torch.ones(1, 10, dtype=torch.bool)
    chosen[0, [1, 3, 4, 5]] = is_causal  # under a causal mask all: the kernel aligns the last query with the last key
    restricted, query_positions = row.restrict_queries(chosen)
    one_by_one = attend_packed(q[:, :, query_positions], k, v, restricted, is_causal=is_causal)
    dense = same_document(torch.tensor([[0] * 3 + [1] + [2] * 6]))[:, None]
    expected, _ = attend(q, k, v, mask=dense, is_causal=is_causal, implementation="explicit")
    torch.testing.assert_close(one_by_one, expected[:, :, query_positions])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "varlen_kernel", lambda: written_out)
        together = attend_varlen(q[:, :, query_positions], k, v, restricted, is_causal=is_causal, scale=None)
    torch.testing.assert_close(together, expected[:, :, query_positions])


def test_the_kernel_is_used_exactly_where_it_can_run(monkeypatch) -> None:
    def serves(device="cuda", dtype=torch.bfloat16, head_size=64, dropout=0.0):
        return varlen_available(
            SimpleNamespace(device=torch.device(device), dtype=dtype), head_size=head_size, dropout=dropout
        )

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    has_kernel = varlen_kernel() is not None
    assert serves() is has_kernel
    assert serves(dtype=torch.float16) is has_kernel
    assert not serves("cpu")
    assert not serves(dtype=torch.float32)
    assert not serves(dropout=0.1)
    assert not serves(head_size=20)
    assert not serves(head_size=512)
    with torch.autocast("cuda", dtype=torch.bfloat16) if torch.cuda.is_available() else patched_autocast(monkeypatch):
        assert serves(dtype=torch.float32) is has_kernel
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert not serves(), "a T4 has no such kernel"


def patched_autocast(monkeypatch):
    context = pytest.MonkeyPatch.context()

    class Patched:
        def __enter__(self):
            self.patch = context.__enter__()
            self.patch.setattr(torch, "is_autocast_enabled", lambda device: True)
            self.patch.setattr(torch, "get_autocast_dtype", lambda device: torch.bfloat16)

        def __exit__(self, *error):
            context.__exit__(*error)

    return Patched()


def older(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None):
    """The signature of torch 2.10, which takes no scale."""


@pytest.mark.parametrize("module", [None, SimpleNamespace(varlen_attn=older)])
def test_an_older_torch_has_no_such_kernel(module, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)
    varlen_kernel.cache_clear()
    assert varlen_kernel() is None
    varlen_kernel.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel runs on a GPU only")
@pytest.mark.parametrize("is_causal", [False, True])
def test_the_kernel_agrees_with_the_written_out_one(is_causal) -> None:
    cu_seqlens = torch.tensor([0, 30, 31, 100], dtype=torch.int32, device="cuda")
    row = PackedSequences(torch.arange(100, device="cuda"), cu_seqlens, (1, 100))
    q, k, v = (torch.randn(1, 4, 100, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    if not varlen_available(q, head_size=64, dropout=0.0):
        pytest.skip("this GPU is older than Ampere, or this torch older than the kernel")
    fast = attend_varlen(q, k, v, row, is_causal=is_causal, scale=None)
    fast_gradients = torch.autograd.grad(fast.float().square().sum(), (q, k, v))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "varlen_kernel", lambda: written_out)
        q, k, v = (x.detach().float().requires_grad_() for x in (q, k, v))
        slow = attend_varlen(q, k, v, row, is_causal=is_causal, scale=None)
    slow_gradients = torch.autograd.grad(slow.square().sum(), (q, k, v))
    torch.testing.assert_close(fast.float(), slow, atol=2e-2, rtol=2e-2)
    for a, b in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(a.float(), b, atol=5e-2, rtol=5e-2)
