"""Typical wrong answers to the exercises on generation, with the marks and the message of each."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "the temperature the wrong way round",
        "score": 2,
        "message": "this is temperature 2",
        "code": """
by_pencil = {
    "temperature": [0.3694, 0.2612, 0.1847, 0.1847],
    "top_p": [2 / 3, 1 / 3, 0.0, 0.0],
    "min_p": [1 / 2, 1 / 4, 1 / 8, 1 / 8],
    "typical": [0.0, 1.0, 0.0, 0.0],
}
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "one word too many in the nucleus",
        "score": 2,
        "message": "hold 0.75 already",
        "code": """
by_pencil = {
    "temperature": [8 / 11, 2 / 11, 1 / 22, 1 / 22],
    "top_p": [4 / 7, 2 / 7, 1 / 7, 0.0],
    "min_p": [1 / 2, 1 / 4, 1 / 8, 1 / 8],
    "typical": [0.0, 1.0, 0.0, 0.0],
}
""",
    },
    {
        "question": "q2_predict",
        "mistake": "the draft's own probability",
        "score": 2,
        "message": "add up min(p, q) over the words",
        "code": "numbers = [1 / 3, 1.0, -1.0, 2_048_000]",
    },
    {
        "question": "q2_predict",
        "mistake": "keys without values",
        "score": 2,
        "message": "keys and values",
        "code": "numbers = [11 / 15, 1.0, -1.0, 1_024_000]",
    },
    {
        "question": "q3_nucleus",
        "mistake": "the word that crosses p is dropped",
        "score": 1,
        "message": "the word that crosses p belongs to the set",
        "code": """
def keep_nucleus(logits_BV, top_p, temperature):
    p_BV = (logits_BV / temperature).softmax(-1)
    sorted_BV, order_BV = p_BV.sort(-1, descending=True)
    outside_BV = sorted_BV.cumsum(-1) > top_p
    outside_BV[:, 0] = False
    kept_BV = torch.zeros_like(p_BV).scatter(-1, order_BV, sorted_BV.masked_fill(outside_BV, 0.0))
    return kept_BV / kept_BV.sum(-1, keepdim=True)
""",
    },
    {
        "question": "q3_nucleus",
        "mistake": "the temperature after the filter",
        "score": 2,
        "message": "chosen before the temperature",
        "code": """
def keep_nucleus(logits_BV, top_p, temperature):
    p_BV = logits_BV.softmax(-1)
    sorted_BV, order_BV = p_BV.sort(-1, descending=True)
    outside_BV = sorted_BV.cumsum(-1) - sorted_BV >= top_p
    outside_BV[:, 0] = False
    kept_BV = torch.zeros_like(p_BV).scatter(-1, order_BV, sorted_BV.masked_fill(outside_BV, 0.0)) ** (1 / temperature)
    return kept_BV / kept_BV.sum(-1, keepdim=True)
""",
    },
    {
        "question": "q4_speculation",
        "mistake": "a rejected word is replaced by a draw from p",
        "score": 1,
        "message": "a rejected word came back",
        "code": """
def verify(p_V, q_V, word, u, v):
    if u < p_V[word] / q_V[word]:
        return True, word
    return False, min(int((p_V.cumsum(-1) <= v).sum()), len(p_V) - 1)
""",
    },
    {
        "question": "q4_speculation",
        "mistake": "accepted with probability p",
        "score": 1,
        "message": "p / q = 0.5",
        "code": """
def verify(p_V, q_V, word, u, v):
    if u < p_V[word]:
        return True, word
    excess_V = (p_V - q_V).clamp(min=0)
    return False, min(int(((excess_V / excess_V.sum()).cumsum(-1) <= v).sum()), len(p_V) - 1)
""",
    },
    {
        "question": "q5_stop",
        "mistake": "only whole pieces are searched",
        "score": 1,
        "message": "stop strings may be cut",
        "code": """
def shown(pieces, stop):
    texts = []
    for piece in pieces:
        if stop in piece:
            texts.append(piece[: piece.index(stop)])
            break
        texts.append(piece)
    return texts + [""] * (len(pieces) - len(texts))
""",
    },
    {
        "question": "q5_stop",
        "mistake": "everything is held back to the end",
        "score": 2,
        "message": "as soon as it is certain",
        "code": """
def shown(pieces, stop):
    text = "".join(pieces)
    text = text[: text.index(stop)] if stop in text else text
    return [""] * (len(pieces) - 1) + [text]
""",
    },
    {
        "question": "q6_beam",
        "mistake": "no length penalty",
        "score": 3,
        "message": "without the penalty",
        "code": """
def beam(step, width, longest, alpha):
    alive, done = [(0.0, ())], []
    for length in range(1, longest + 1):
        longer = [(t + math.log(p), (*w, token)) for t, w in alive for token, p in step(w).items()]
        longer = sorted(longer, reverse=True)[: width - len(done)]
        done += [(total, written) for total, written in longer if written[-1] == 0 or length == longest]
        alive = [each for each in longer if each[1][-1] != 0]
    return max(done)[1]
""",
    },
    {
        "question": "q6_beam",
        "mistake": "the beam keeps its width when a text is finished",
        "score": 3,
        "message": "keep width minus the finished ones",
        "code": """
def beam(step, width, longest, alpha):
    alive, done = [(0.0, ())], []
    for length in range(1, longest + 1):
        longer = [(t + math.log(p), (*w, token)) for t, w in alive for token, p in step(w).items()]
        longer = sorted(longer, reverse=True)[:width]
        done += [(total / length**alpha, written) for total, written in longer if written[-1] == 0 or length == longest]
        alive = [each for each in longer if each[1][-1] != 0]
    return max(done)[1]
""",
    },
]
