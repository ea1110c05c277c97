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
        "question": "q1_pencil",
        "mistake": "an absolute bound in min-p",
        "score": 2,
        "message": "the bound is 1/8",
        "code": """
by_pencil = {
    "temperature": [8 / 11, 2 / 11, 1 / 22, 1 / 22],
    "top_p": [2 / 3, 1 / 3, 0.0, 0.0],
    "min_p": [2 / 3, 1 / 3, 0.0, 0.0],
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
        "question": "q2_predict",
        "mistake": "no numbers",
        "score": 1,
        "message": "add up min(p, q)",
        "code": 'numbers = [float("nan"), float("nan"), float("nan"), 2_048_000]',
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
        "question": "q5_stop",
        "mistake": "no texts after the stop",
        "score": 0,
        "message": "return one for each, an empty one after the stop",
        "code": """
def shown(pieces, stop):
    texts, held = [], ""
    for number, piece in enumerate(pieces):
        held += piece
        if stop in held:
            return texts + [held[: held.index(stop)]]
        overlap = max((n for n in range(1, len(stop)) if held.endswith(stop[:n])), default=0)
        overlap = 0 if number == len(pieces) - 1 else overlap
        texts.append(held[: len(held) - overlap])
        held = held[len(held) - overlap :]
    return texts
""",
    },
    {
        "question": "q5_stop",
        "mistake": "after a mismatch the comparison begins anew",
        "score": 2,
        "message": "a shorter one may go on",
        "code": """
def shown(pieces, stop):
    texts, matched = [], 0
    for piece in pieces:
        text = ""
        for letter in piece:
            if matched == len(stop):
                break
            if letter == stop[matched]:
                matched += 1
                continue
            text, matched = text + stop[:matched], 0
            if letter == stop[0]:
                matched = 1
            else:
                text += letter
        texts.append(text)
    if matched < len(stop):
        texts[-1] += stop[:matched]
    return texts
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
    {
        "question": "q6_beam",
        "mistake": "a penalty that knows no power",
        "score": 3,
        "message": "divide the log-probability by length ** 0.5",
        "code": """
def beam(step, width, longest, alpha):
    alive, done = [(0.0, ())], []
    for length in range(1, longest + 1):
        longer = [(t + math.log(p), (*w, token)) for t, w in alive for token, p in step(w).items()]
        longer = sorted(longer, reverse=True)[: width - len(done)]
        scored = [(total / (length if alpha else 1), written) for total, written in longer]
        done += [each for each in scored if each[1][-1] == 0 or length == longest]
        alive = [each for each in longer if each[1][-1] != 0]
    return max(done)[1]
""",
    },
]
