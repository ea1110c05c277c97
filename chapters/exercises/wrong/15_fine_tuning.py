"""Typical wrong answers to the exercises on fine-tuning, with the marks and the message of each."""

WRONG = [
    {
        "question": "q1_count",
        "mistake": "one layer in each block instead of two",
        "score": 2,
        "message": "two layers in each block",
        "code": 'counts = {"lora": 36864, "head": 2310, "adapters": 152256}',
    },
    {
        "question": "q1_count",
        "mistake": "the head without biases",
        "score": 2,
        "message": "has biases, too",
        "code": 'counts = {"lora": 73728, "head": 2304, "adapters": 152256}',
    },
    {
        "question": "q1_count",
        "mistake": "biases in the narrow layers only",
        "score": 2,
        "message": "both layers of an adapter have biases",
        "code": 'counts = {"lora": 73728, "head": 2310, "adapters": 147648}',
    },
    {
        "question": "q2_predict",
        "mistake": "the rank grows with the steps",
        "score": 1,
        "message": "not their shapes",
        "code": "guesses = [0, 0, 6, 4]",
    },
    {
        "question": "q2_predict",
        "mistake": "alpha without the rank",
        "score": 1,
        "message": "alpha / r, not alpha",
        "code": "guesses = [0, 0, 2, 8]",
    },
    {
        "question": "q3_pool",
        "mistake": "padding counted",
        "score": 1,
        "message": "padding is counted as text",
        "code": """
def pool(x_BTD, mask_BT):
    return x_BTD.mean(1)
""",
    },
    {
        "question": "q3_pool",
        "mistake": "a row of padding gives NaN",
        "score": 2,
        "message": "return zeros for it",
        "code": """
def pool(x_BTD, mask_BT):
    real_BT1 = mask_BT[:, :, None]
    return (x_BTD * real_BT1).sum(1) / real_BT1.sum(1)
""",
    },
    {
        "question": "q3_pool",
        "mistake": "padding taken to be on the right",
        "score": 1,
        "message": "may stand anywhere",
        "code": """
def pool(x_BTD, mask_BT):
    real_B = mask_BT.sum(1).tolist()
    return torch.stack([x_TD[:n].sum(0) / max(n, 1) for x_TD, n in zip(x_BTD, real_B)])
""",
    },
    {
        "question": "q4_labels",
        "mistake": "the tag copied to every sub-word",
        "score": 1,
        "message": "only the first one of a word carries it",
        "code": """
def labels_of(word_numbers, tags):
    return [-100 if number is None else tags[number] for number in word_numbers]
""",
    },
    {
        "question": "q4_labels",
        "mistake": "every word once in the whole row",
        "score": 2,
        "message": "word 0 begins anew",
        "code": """
def labels_of(word_numbers, tags):
    seen, labels = set(), []
    for number in word_numbers:
        labels.append(-100 if number is None or number in seen else tags[number])
        seen.add(number)
    return labels
""",
    },
    {
        "question": "q5_merge",
        "mistake": "the scale twice",
        "score": 2,
        "message": "applied twice",
        "code": """
def merge(W, A, B, alpha):
    scale = alpha / len(A)
    return W + scale * (scale * B) @ A
""",
    },
    {
        "question": "q5_merge",
        "mistake": "in place",
        "score": 2,
        "message": "changed in place",
        "code": """
def merge(W, A, B, alpha):
    W += alpha / len(A) * B @ A
    return W
""",
    },
    {
        "question": "q6_span",
        "mistake": "both ends for themselves",
        "score": 0,
        "message": "in the wrong order",
        "code": """
def best_span(begin_T, end_T, allowed_T, longest, threshold):
    return int(begin_T.argmax()), int(end_T.argmax())
""",
    },
    {
        "question": "q6_span",
        "mistake": "one token too long",
        "score": 3,
        "message": "j - i + 1 tokens",
        "code": """
def best_span(begin_T, end_T, allowed_T, longest, threshold):
    tokens = len(begin_T)
    sums_TT = begin_T[:, None] + end_T[None, :]
    possible_TT = torch.ones(tokens, tokens, dtype=torch.bool).triu().tril(longest)
    possible_TT &= allowed_T[:, None] & allowed_T[None, :]
    place = int(sums_TT.masked_fill(~possible_TT, -torch.inf).argmax())
    i, j = place // tokens, place % tokens
    return None if begin_T[0] + end_T[0] > sums_TT[i, j] + threshold else (i, j)
""",
    },
    {
        "question": "q6_span",
        "mistake": "the end may stand anywhere",
        "score": 3,
        "message": "begins and ends at allowed tokens only",
        "code": """
def best_span(begin_T, end_T, allowed_T, longest, threshold):
    tokens = len(begin_T)
    sums_TT = begin_T[:, None] + end_T[None, :]
    possible_TT = torch.ones(tokens, tokens, dtype=torch.bool).triu().tril(longest - 1)
    possible_TT &= allowed_T[:, None]
    place = int(sums_TT.masked_fill(~possible_TT, -torch.inf).argmax())
    i, j = place // tokens, place % tokens
    return None if begin_T[0] + end_T[0] > sums_TT[i, j] + threshold else (i, j)
""",
    },
]
