"""Typical wrong answers to the exercises on autoencoders and recurrence, with the marks and the message of each."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "the share of a step is its delta times the state after it",
        "score": 2,
        "message": "times the state before the step",
        "code": 'by_pencil = {"h3": 3, "delta1": 16, "w": 44, "u": 12}',
    },
    {
        "question": "q1_pencil",
        "mistake": "one factor too few on the way back",
        "score": 2,
        "message": "there are two factors w",
        "code": 'by_pencil = {"h3": 3, "delta1": 8, "w": 16, "u": 12}',
    },
    {
        "question": "q1_pencil",
        "mistake": "NaN is no number",
        "score": 0,
        "message": "h3 is not nan",
        "code": 'by_pencil = dict.fromkeys(("h3", "delta1", "w", "u"), float("nan"))',
    },
    {
        "question": "q2_predict",
        "mistake": "growth by addition",
        "score": 2,
        "message": "multiplied by 1.1 fifty times",
        "code": "sizes = [0.5**10, 6.0, 0.125, 0.6]",
    },
    {
        "question": "q2_predict",
        "mistake": "a bias of 0 taken for a closed gate",
        "score": 2,
        "message": "stands at one half",
        "code": "sizes = [0.5**10, 1.1**50, 0.0, 0.6]",
    },
    {
        "question": "q2_predict",
        "mistake": "clipping by value",
        "score": 2,
        "message": "clipping by value",
        "code": "sizes = [0.5**10, 1.1**50, 0.125, 1.0]",
    },
    {
        "question": "q3_gru",
        "mistake": "old and new state have changed places",
        "score": 1,
        "message": "z keeps the old one",
        "code": """
def gru_step(x_BI, h_BH, weight_ih, weight_hh):
    (xr, xz, xn), (hr, hz, hn) = (x_BI @ weight_ih.T).chunk(3, -1), (h_BH @ weight_hh.T).chunk(3, -1)
    r_BH, z_BH = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    return z_BH * torch.tanh(xn + r_BH * hn) + (1 - z_BH) * h_BH
""",
    },
    {
        "question": "q3_gru",
        "mistake": "the reset gate acts before the product",
        "score": 2,
        "message": "multiplies the product with weight_hh here",
        "code": """
def gru_step(x_BI, h_BH, weight_ih, weight_hh):
    H = h_BH.shape[1]
    (xr, xz, xn), (hr, hz, _) = (x_BI @ weight_ih.T).chunk(3, -1), (h_BH @ weight_hh.T).chunk(3, -1)
    r_BH, z_BH = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    n_BH = torch.tanh(xn + (r_BH * h_BH) @ weight_hh[2 * H :].T)
    return (1 - z_BH) * n_BH + z_BH * h_BH
""",
    },
    {
        "question": "q4_last_state",
        "mistake": "the state after the padding",
        "score": 2,
        "message": "short sentences end earlier",
        "code": """
def last_states(layer, x_BTI, lengths_B):
    return layer(x_BTI)[1][0]
""",
    },
    {
        "question": "q4_last_state",
        "mistake": "the order of the sentences is lost",
        "score": 3,
        "message": "put them back into the order of the sentences",
        "code": """
def last_states(layer, x_BTI, lengths_B):
    order = lengths_B.argsort(descending=True)
    packed = nn.utils.rnn.pack_padded_sequence(x_BTI[order], lengths_B[order], batch_first=True)
    return layer(packed)[1][0]
""",
    },
    {
        "question": "q5_clip",
        "mistake": "each gradient is clipped alone",
        "score": 1,
        "message": "that of all of them together",
        "code": """
def clip(gradients, largest):
    return [gradient * min(1.0, largest / gradient.norm().item()) for gradient in gradients]
""",
    },
    {
        "question": "q5_clip",
        "mistake": "small gradients are made larger",
        "score": 1,
        "message": "clip only above the threshold",
        "code": """
def clip(gradients, largest):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    return [gradient * largest / norm for gradient in gradients]
""",
    },
    {
        "question": "q5_clip",
        "mistake": "clipped to the norm 1, whatever the threshold",
        "score": 0,
        "message": "it should be `largest`",
        "code": """
def clip(gradients, largest):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    return [gradient / max(norm.item(), largest) for gradient in gradients]
""",
    },
    {
        "question": "q6_code",
        "mistake": "the points themselves, without a code",
        "score": 0,
        "message": "the reconstructions vary in",
        "code": """
def reconstruct(x_NI, Z):
    return x_NI
""",
    },
    {
        "question": "q6_code",
        "mistake": "the plane goes through zero",
        "score": 1,
        "message": "subtract the mean first",
        "code": """
def reconstruct(x_NI, Z):
    directions_ZI = torch.linalg.svd(x_NI, full_matrices=False).Vh[:Z]
    return x_NI @ directions_ZI.T @ directions_ZI
""",
    },
    {
        "question": "q7_backward",
        "mistake": "the state after the step instead of the one before",
        "score": 2,
        "message": "the state *before* the step",
        "code": """
def rnn_backward(x_BTI, weight_ih, weight_hh, bias_H, g_BH):
    states = [torch.zeros_like(g_BH)]
    for x_BI in x_BTI.unbind(1):
        states.append(torch.tanh(x_BI @ weight_ih.T + states[-1] @ weight_hh.T + bias_H))
    to_ih, to_hh, to_bias, to_x = 0, 0, 0, torch.zeros_like(x_BTI)
    for t in reversed(range(x_BTI.shape[1])):
        delta_BH = g_BH * (1 - states[t + 1] ** 2)
        to_ih = to_ih + delta_BH.T @ x_BTI[:, t]
        to_hh = delta_BH.T @ states[t + 1] if t == x_BTI.shape[1] - 1 else to_hh
        to_bias = to_bias + delta_BH.sum(0)
        to_x[:, t] = delta_BH @ weight_ih
        g_BH = delta_BH @ weight_hh
    return to_ih, to_hh, to_bias, to_x
""",
    },
    {
        "question": "q7_backward",
        "mistake": "autograd after all",
        "score": 0,
        "message": "your code raised RuntimeError",
        "code": """
def rnn_backward(x_BTI, weight_ih, weight_hh, bias_H, g_BH):
    inputs = [each.detach().requires_grad_() for each in (weight_ih, weight_hh, bias_H, x_BTI)]
    weight_ih, weight_hh, bias_H, x_BTI = inputs
    h_BH = torch.zeros_like(g_BH)
    for x_BI in x_BTI.unbind(1):
        h_BH = torch.tanh(x_BI @ weight_ih.T + h_BH @ weight_hh.T + bias_H)
    return torch.autograd.grad(h_BH, inputs, g_BH)
""",
    },
    {
        "question": "q7_backward",
        "mistake": "only the last step",
        "score": 1,
        "message": "add up all steps",
        "code": """
def rnn_backward(x_BTI, weight_ih, weight_hh, bias_H, g_BH):
    states = [torch.zeros_like(g_BH)]
    for x_BI in x_BTI.unbind(1):
        states.append(torch.tanh(x_BI @ weight_ih.T + states[-1] @ weight_hh.T + bias_H))
    delta_BH = g_BH * (1 - states[-1] ** 2)
    to_x = torch.zeros_like(x_BTI)
    to_x[:, -1] = delta_BH @ weight_ih
    return delta_BH.T @ x_BTI[:, -1], delta_BH.T @ states[-2], delta_BH.sum(0), to_x
""",
    },
]
