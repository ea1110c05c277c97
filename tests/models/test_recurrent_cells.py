"""Cells written out equal torch's in values and gradients, over packed sequences, in both directions, across calls."""

import pytest
import torch
from torch import nn

from plm_core.models.recurrent_cells import (
    GruCell,
    LstmCell,
    RnnCell,
    detach,
    hidden,
    initialise,
    restart,
    run_cell,
)
from plm_core.models.recurrent_encoder import LAYERS, RecurrentEncoder, lengths_of, run_packed

PAIRS = {"rnn": (RnnCell, nn.RNNCell), "gru": (GruCell, nn.GRUCell), "lstm": (LstmCell, nn.LSTMCell)}
CELLS = {name: pair[0] for name, pair in PAIRS.items()}
MASK = torch.tensor([[True] * 3 + [False] * 2, [True] * 5, [True] + [False] * 4])


@pytest.fixture(params=list(PAIRS))
def kind(request) -> str:
    return request.param


def random_weights(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)


def test_a_cell_equals_torchs_in_values_and_gradients(kind: str) -> None:
    ours_of, theirs_of = PAIRS[kind]
    ours, theirs = ours_of(3, 4).double(), theirs_of(3, 4).double()
    random_weights(theirs)
    ours.load_state_dict(theirs.state_dict())
    x, h, c = (torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (3, 4, 4))
    state = (h, c) if kind == "lstm" else h
    inputs = [x, h, *([c] if kind == "lstm" else [])]
    results = []
    for cell in (ours, theirs):
        found = cell(x, state)
        parts = found if isinstance(found, tuple) else (found,)
        loss = sum((part * torch.arange(1, 9).view(2, 4)).sum() for part in parts)
        results.append([*parts, *torch.autograd.grad(loss, [*inputs, *cell.parameters()])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_both_directions_over_padded_sequences_equal_torchs_packed_layers(kind: str) -> None:
    layers = LAYERS[kind](3, 4, batch_first=True, bidirectional=True)
    random_weights(layers)
    x_BTI = torch.randn(3, 5, 3)
    packed, last = run_packed(layers, x_BTI, MASK)
    for direction, suffix in enumerate(("", "_reverse")):
        cell = CELLS[kind](3, 4)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict({name: getattr(layers, f"{name}_l0{suffix}") for name in names})
        outputs, state = run_cell(cell, x_BTI, attention_mask=MASK, reverse=direction == 1)
        torch.testing.assert_close(outputs, packed[..., 4 * direction : 4 * direction + 4])
        torch.testing.assert_close(hidden(state), hidden(last)[direction])
    assert not packed[~MASK].any()


def test_a_packed_sequence_is_treated_as_if_it_stood_alone_and_keeps_its_place(kind: str) -> None:
    encoder = RecurrentEncoder(9, 3, 4, cell=kind, num_layers=2, bidirectional=True)
    ids = torch.randint(9, (3, 5))
    outputs, state = encoder(ids, attention_mask=MASK)
    for row, length in enumerate(MASK.sum(1).tolist()):
        alone, alone_state = encoder(ids[row : row + 1, :length])
        torch.testing.assert_close(outputs[row, :length], alone[0])
        torch.testing.assert_close(encoder.summary(state)[row], encoder.summary(alone_state)[0])
    changed = torch.where(MASK, ids, (ids + 1) % 9)
    torch.testing.assert_close(encoder(changed, attention_mask=MASK)[0], outputs)


def test_padding_gets_no_gradient(kind: str) -> None:
    layers, cell = LAYERS[kind](3, 4, batch_first=True), CELLS[kind](3, 4)
    for run in (lambda x: run_packed(layers, x, MASK)[0], lambda x: run_cell(cell, x, attention_mask=MASK)[0]):
        x_BTI = torch.randn(3, 5, 3, requires_grad=True)
        run(x_BTI).square().sum().backward()
        assert x_BTI.grad is not None
        assert not x_BTI.grad[~MASK].any()
        assert x_BTI.grad[MASK].any(dim=-1).all()


def test_a_state_carried_over_continues_and_a_restart_forgets(kind: str) -> None:
    encoder = RecurrentEncoder(9, 3, 4, cell=kind)
    ids = torch.randint(9, (2, 6))
    whole, _ = encoder(ids)
    first, state = encoder(ids[:, :4])
    second, _ = encoder(ids[:, 4:], state=detach(state))
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    assert not hidden(detach(state)).requires_grad
    mixed, _ = encoder(ids[:, 4:], state=restart(state, torch.tensor([True, False])))
    torch.testing.assert_close(mixed[0], encoder(ids[:1, 4:])[0][0])
    torch.testing.assert_close(mixed[1], whole[1, 4:])


def test_initial_weights_are_orthogonal_gate_by_gate_and_forget_gates_open() -> None:
    cell = LstmCell(3, 4)
    for gate in cell.weight_hh.split(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(4))
    assert cell.bias_ih.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert not cell.bias_hh.any()
    initialise(cell, forget_bias=3.0)
    assert cell.bias_ih[4:8].tolist() == [3.0] * 4
    assert not GruCell(3, 4).bias_ih.any()


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(ValueError, match="padding on the right"):
        lengths_of(torch.tensor([[False, True]]))
    with pytest.raises(ValueError, match="sequence 1 has no real token"):
        lengths_of(torch.tensor([[True], [False]]))
    with pytest.raises(ValueError, match=r"mask\.bool"):
        lengths_of(torch.ones(1, 2))
    with pytest.raises(ValueError, match="batch_first=True"):
        run_packed(nn.GRU(3, 4), torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="use one direction"):
        RecurrentEncoder(9, 3, 4, bidirectional=True)(torch.zeros(1, 2, dtype=torch.long), state=torch.zeros(2, 1, 4))
    with pytest.raises(ValueError, match=r"expected bool, \(1, 2\)"):
        run_cell(GruCell(3, 4), torch.zeros(1, 2, 3), attention_mask=torch.ones(2, 1, dtype=torch.bool))
