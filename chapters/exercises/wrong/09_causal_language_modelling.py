"""Typical wrong answers to the exercises on causal language modelling, with the marks and the message of each."""

LABELS = """
def make_labels(ids_BT, mask_BT):
    labels_BT = torch.full_like(ids_BT, -100)
    {body}
    return labels_BT
"""

WINDOWS = """
def make_windows(length, context, stride):
    windows, first = [], {first}
    for start in range(0, length, stride):
        end = min(start + context + {more}, length)
        windows.append((start, end, {scored}))
        first = end
        if end == length:
            break
    return windows
"""

NUCLEUS = """
def keep_nucleus(p_V, top_p):
    sorted_V, order_V = p_V.sort(descending=True)
    kept_V = sorted_V * ({rule})
    return {result}
"""
IN_PLACE = "torch.zeros_like(p_V).scatter(0, order_V, kept_V / kept_V.sum())"

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "powers of e",
        "score": 2,
        "message": "powers of e go with nats",
        "code": "bits, perplexity, per_character = 3, 20.0855, 0.75",
    },
    {
        "question": "q1_pencil",
        "mistake": "the sum",
        "score": 2,
        "message": "divide by the number of tokens",
        "code": "bits, perplexity, per_character = 12, 8, 0.75",
    },
    {
        "question": "q2_labels",
        "mistake": "not shifted",
        "score": 1,
        "message": "shift by one",
        "code": LABELS.format(body="labels_BT[:] = torch.where(mask_BT, ids_BT, -100)"),
    },
    {
        "question": "q2_labels",
        "mistake": "the mask not shifted",
        "score": 2,
        "message": "the mask must be shifted like the labels",
        "code": LABELS.format(body="labels_BT[:, :-1] = torch.where(mask_BT[:, :-1], ids_BT[:, 1:], -100)"),
    },
    {
        "question": "q2_labels",
        "mistake": "rolled",
        "score": 1,
        "message": "torch.roll brings the first token back",
        "code": LABELS.format(body="labels_BT[:] = torch.where(mask_BT.roll(-1, 1), ids_BT.roll(-1, 1), -100)"),
    },
    {
        "question": "q3_averages",
        "mistake": "bits for nats",
        "score": 2,
        "message": "this is in bits",
        "code": "untrained, right, wrong = 9, 7.39, 11.4",
    },
    {
        "question": "q3_averages",
        "mistake": "the two exchanged",
        "score": 1,
        "message": "the exponential comes last",
        "code": "untrained, right, wrong = 6.24, 11.4, 7.39",
    },
    {
        "question": "q4_windows",
        "mistake": "tokens scored twice",
        "score": 1,
        "message": "scores a token twice",
        "code": WINDOWS.format(first=1, more=1, scored="start + 1"),
    },
    {
        "question": "q4_windows",
        "mistake": "the first token scored",
        "score": 0,
        "message": "first is 1",
        "code": WINDOWS.format(first=0, more=1, scored="first"),
    },
    {
        "question": "q5_nucleus",
        "mistake": "the token on the line dropped",
        "score": 0,
        "message": "sums to nan",
        "code": NUCLEUS.format(rule="sorted_V.cumsum(0) < top_p - 1", result=IN_PLACE),
    },
    {
        "question": "q5_nucleus",
        "mistake": "one too many",
        "score": 1,
        "message": "one token too many",
        "code": NUCLEUS.format(rule="sorted_V.cumsum(0) - 2 * sorted_V < top_p", result=IN_PLACE),
    },
    {
        "question": "q5_nucleus",
        "mistake": "kept values at the places of the least likely tokens",
        "score": 1,
        "message": "the order changed",
        "code": """
def keep_nucleus(p_V, top_p):
    sorted_V, order_V = p_V.sort(descending=True)
    kept_V = sorted_V[sorted_V.cumsum(0) - sorted_V < top_p]
    places = torch.cat([order_V[:1], order_V.flip(0)[: len(kept_V) - 1]])
    return torch.zeros_like(p_V).scatter(0, places, kept_V / kept_V.sum())
""",
    },
    {
        "question": "q5_nucleus",
        "mistake": "kept values in another order",
        "score": 1,
        "message": "stays in its own place",
        "code": """
def keep_nucleus(p_V, top_p):
    sorted_V, order_V = p_V.sort(descending=True)
    count = int((sorted_V.cumsum(0) - sorted_V < top_p).sum())
    return torch.zeros_like(p_V).scatter(0, order_V[:count].flip(0), sorted_V[:count] / sorted_V[:count].sum())
""",
    },
    {
        "question": "q6_floor",
        "mistake": "all states equally frequent",
        "score": 2,
        "message": "find the stationary distribution",
        "code": """
def entropy_rate(chain_SS):
    return -torch.xlogy(chain_SS, chain_SS).sum() / len(chain_SS)
""",
    },
    {
        "question": "q6_floor",
        "mistake": "zero times the logarithm of zero",
        "score": 1,
        "message": "0 log 0 counts as 0",
        "code": """
def entropy_rate(chain_SS):
    frequency_S = torch.matrix_power(chain_SS, 1000)[0]
    return -(frequency_S[:, None] * chain_SS * chain_SS.log()).sum()
""",
    },
    {
        "question": "q6_floor",
        "mistake": "a high power in place of the stationary distribution",
        "score": 2,
        "message": "still depends on where this chain began",
        "code": """
def entropy_rate(chain_SS):
    frequency_S = torch.matrix_power(chain_SS, 1000)[0]
    return -(frequency_S[:, None] * torch.xlogy(chain_SS, chain_SS)).sum()
""",
    },
]
