"""Recurrent cells written out: the plain cell, the LSTM and the GRU, and the loop that runs one over a sequence.

They keep their weights under the names and in the layout of torch's cells, so a state dict fits both ways. Letters:
B sequences, T tokens, I numbers of an input, H numbers of the state, G gates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = Tensor | tuple[Tensor, Tensor]
"""The state of a recurrent network: one tensor, and for an LSTM the pair of hidden state and memory."""


class RnnCell(nn.Module):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), the cell of Elman (1990).

    Args:
        input_size: numbers of an input, I.
        hidden_size: numbers of the state, H.
    """

    gates = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight_ih = nn.Parameter(torch.empty(self.gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(self.gates * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(self.gates * hidden_size))
        initialise(self)

    def sums(self, x_BI: Tensor, h_BH: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sums of the input and of the state, (B, G·H) each, with their biases."""
        return x_BI @ self.weight_ih.T + self.bias_ih, h_BH @ self.weight_hh.T + self.bias_hh

    def zero_state(self, x_BI: Tensor) -> State:
        """The state before the first token."""
        return x_BI.new_zeros(len(x_BI), self.hidden_size)

    def forward(self, x_BI: Tensor, state: State) -> State:
        """The next state, (B, H), from an input (B, I) and a state."""
        assert isinstance(state, Tensor)
        from_input, from_state = self.sums(x_BI, state)
        return torch.tanh(from_input + from_state)


class GruCell(RnnCell):
    """The gated recurrent unit of Cho et al. (2014), in the version whose reset gate acts after the product, as torch.

    r = σ(...), z = σ(...), n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn)), h' = (1 - z) ⊙ n + z ⊙ h.
    """

    gates = 3

    def forward(self, x_BI: Tensor, state: State) -> State:
        """The next state, (B, H), from an input (B, I) and a state."""
        assert isinstance(state, Tensor)
        from_input, from_state = self.sums(x_BI, state)
        (xr, xz, xn), (hr, hz, hn) = from_input.chunk(3, dim=-1), from_state.chunk(3, dim=-1)
        reset_BH, keep_BH = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        candidate_BH = torch.tanh(xn + reset_BH * hn)
        return (1 - keep_BH) * candidate_BH + keep_BH * state


class LstmCell(RnnCell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with the forget gate of Gers et al. (2000).

    i, f, o = σ(...), g = tanh(...), c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c').
    """

    gates = 4

    def zero_state(self, x_BI: Tensor) -> State:
        """Hidden state and memory before the first token."""
        zero_BH = x_BI.new_zeros(len(x_BI), self.hidden_size)
        return zero_BH, zero_BH

    def forward(self, x_BI: Tensor, state: State) -> State:
        """The next hidden state and memory, (B, H) each, from an input (B, I) and the pair before."""
        h_BH, c_BH = state
        from_input, from_state = self.sums(x_BI, h_BH)
        i, f, g, o = (from_input + from_state).chunk(4, dim=-1)
        c_BH = torch.sigmoid(f) * c_BH + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c_BH), c_BH


@torch.no_grad()
def initialise(recurrent: nn.Module, *, forget_bias: float = 1.0) -> None:
    """Draw the weights of a cell, or of torch's recurrent layers, anew.

    ===============  ==========================================================================
    input to state   uniform, variance 2/(inputs + outputs) (Glorot and Bengio), gate by gate
    state to state   orthogonal, gate by gate
    biases           0, and ``forget_bias`` for an LSTM's forget gate (Jozefowicz et al. 2015)
    ===============  ==========================================================================

    Args:
        recurrent: an RnnCell, GruCell, LstmCell, nn.RNN, nn.GRU or nn.LSTM.
        forget_bias: what the forget gate's two biases add up to.
    """
    width = recurrent.hidden_size
    assert isinstance(width, int)
    for name, parameter in recurrent.named_parameters():
        for number, gate in enumerate(parameter.split(width)):
            if name.startswith("bias"):
                forget = name.startswith("bias_ih") and isinstance(recurrent, LstmCell | nn.LSTM) and number == 1
                nn.init.constant_(gate, forget_bias if forget else 0.0)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(gate)
            else:
                nn.init.xavier_uniform_(gate)


def run_cell(
    cell: RnnCell,
    x_BTI: Tensor,
    *,
    attention_mask: Tensor | None = None,
    state: State | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """Run a cell over sequences, token by token. Padding leaves the state as it is and gives zeros.

    Args:
        cell: the cell.
        x_BTI: the inputs, (B, T, I).
        attention_mask: bool, (B, T), True where a token is real; None if all are.
        state: the state before the first token; None for zeros.
        reverse: whether the cell reads from the last token to the first.

    Returns:
        The hidden states in the order of the tokens, (B, T, H), and the state after the last real token read.

    Raises:
        ValueError: a mask that is not bool, (B, T).
    """
    batch, tokens, _ = x_BTI.shape
    if attention_mask is not None and (attention_mask.shape != (batch, tokens) or attention_mask.dtype != torch.bool):
        raise ValueError(
            f"attention_mask: expected bool, {(batch, tokens)}, got {attention_mask.dtype}, "
            f"{tuple(attention_mask.shape)}"
        )
    state = cell.zero_state(x_BTI[:, 0]) if state is None else state
    outputs: list[Tensor] = []
    for t in reversed(range(tokens)) if reverse else range(tokens):
        following = cell(x_BTI[:, t], state)
        hidden_BH = hidden(following)
        if attention_mask is not None:
            real_B1 = attention_mask[:, t, None]
            following = select(real_B1, following, state)
            hidden_BH = torch.where(real_B1, hidden_BH, 0.0)
        state = following
        outputs.append(hidden_BH)
    return torch.stack(outputs[::-1] if reverse else outputs, dim=1), state


def hidden(state: State) -> Tensor:
    """The hidden state of a state: itself, or the first of an LSTM's pair."""
    return state if isinstance(state, Tensor) else state[0]


def select(condition: Tensor, one: State, other: State) -> State:
    """For each entry the state ``one`` where the condition (broadcast) holds, else ``other``."""
    if isinstance(one, Tensor):
        assert isinstance(other, Tensor)
        return torch.where(condition, one, other)
    return torch.where(condition, one[0], other[0]), torch.where(condition, one[1], other[1])


def detach(state: State) -> State:
    """The same numbers without their history: gradients stop here (truncated backpropagation through time)."""
    return state.detach() if isinstance(state, Tensor) else (state[0].detach(), state[1].detach())


def restart(state: State, starts_B: Tensor) -> State:
    """The state with zeros for the sequences that begin anew, so that no document sees the one before it.

    Args:
        state: of torch's recurrent layers, (layers, B, H), or of a cell, (B, H).
        starts_B: bool, (B,), True where a new document begins.
    """
    zero = torch.zeros_like(hidden(state))
    return select(starts_B[:, None], zero if isinstance(state, Tensor) else (zero, zero), state)
