"""Typical wrong answers to the exercises on word embeddings, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "each pair counted once",
        "score": 0,
        "message": "count both",
        "code": """
total = 12
pmi_duck_fed = math.log(2 * 12 / (4 * 6))
pmi_hay_cut = math.log(1 * 12 / (2 * 2))
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "bits",
        "score": 1,
        "message": "this is in bits",
        "code": """
total = 24
pmi_duck_fed = math.log2(2)
pmi_hay_cut = math.log2(6)
""",
    },
    {
        "question": "q2_tf_idf",
        "mistake": "occurrences instead of documents",
        "score": 2,
        "message": "not the number of its occurrences",
        "code": """
def weigh(counts):
    weighed = counts * (1 + torch.log((1 + len(counts)) / (1 + counts.sum(dim=0))))
    return weighed / weighed.norm(dim=1, keepdim=True)
""",
    },
    {
        "question": "q2_tf_idf",
        "mistake": "columns of length 1",
        "score": 1,
        "message": "Divide each row",
        "code": """
def weigh(counts):
    df = (counts > 0).sum(dim=0)
    weighed = counts * (1 + torch.log((1 + len(counts)) / (1 + df)))
    return weighed / weighed.norm(dim=0, keepdim=True).clamp(min=1e-9)
""",
    },
    {
        "question": "q3_predict",
        "mistake": "the real pair is forgotten, and PMI 0 taken for score 0",
        "score": 1,
        "message": "K + 1 in all",
        "code": """
first_loss = 5 * math.log(2)
fall = math.log(2)
p_real = 0.5
""",
    },
    {
        "question": "q4_repair",
        "mistake": "only the left side is added",
        "score": 1,
        "message": "cross the border of two sentences",
        "code": """
def make_pairs(sentences, window):
    words = " ".join(sentences).split()
    places = range(len(words))
    return [(words[i], words[j]) for i in places for j in places if i != j and abs(i - j) <= window]
""",
    },
    {
        "question": "q4_repair",
        "mistake": "only the border is repaired",
        "score": 0,
        "message": "a window has two sides",
        "code": """
def make_pairs(sentences, window):
    pairs = []
    for sentence in sentences:
        words = sentence.split()
        for i, word in enumerate(words):
            pairs += [(word, words[j]) for j in range(i + 1, min(len(words), i + window + 1))]
    return pairs
""",
    },
    {
        "question": "q5_cbow",
        "mistake": "the mean's 1/C is forgotten",
        "score": 2,
        "message": "each has 1/C of its gradient",
        "code": """
def cbow_gradients(contexts_CD, v_D, n_KD):
    h_D = contexts_CD.mean(dim=0)
    e, e_K = torch.sigmoid(h_D @ v_D) - 1, torch.sigmoid(n_KD @ h_D)
    by_h_D = e * v_D + e_K @ n_KD
    return by_h_D.expand_as(contexts_CD), e * h_D, e_K[:, None] * h_D
""",
    },
    {
        "question": "q5_cbow",
        "mistake": "the target of the word is forgotten",
        "score": 1,
        "message": "its target is 1",
        "code": """
def cbow_gradients(contexts_CD, v_D, n_KD):
    h_D = contexts_CD.mean(dim=0)
    e, e_K = torch.sigmoid(h_D @ v_D), torch.sigmoid(n_KD @ h_D)
    by_h_D = e * v_D + e_K @ n_KD
    return by_h_D.expand_as(contexts_CD) / len(contexts_CD), e * h_D, e_K[:, None] * h_D
""",
    },
    {
        "question": "q5_cbow",
        "mistake": "one gradient for all negatives",
        "score": 1,
        "message": "every negative sample has a gradient of its own",
        "code": """
def cbow_gradients(contexts_CD, v_D, n_KD):
    h_D = contexts_CD.mean(dim=0)
    e, e_K = torch.sigmoid(h_D @ v_D) - 1, torch.sigmoid(n_KD @ h_D)
    by_h_D = e * v_D + e_K @ n_KD
    return by_h_D.expand_as(contexts_CD) / len(contexts_CD), e * h_D, e_K.sum() * h_D
""",
    },
    {
        "question": "q5_cbow",
        "mistake": "autograd after all",
        "score": 0,
        "message": "your code raised RuntimeError",
        "code": """
def cbow_gradients(contexts_CD, v_D, n_KD):
    inputs = [each.detach().requires_grad_() for each in (contexts_CD, v_D, n_KD)]
    h_D = inputs[0].mean(dim=0)
    loss = -F.logsigmoid(h_D @ inputs[1]) - F.logsigmoid(-inputs[2] @ h_D).sum()
    return torch.autograd.grad(loss, inputs)
""",
    },
    {
        "question": "q6_analogy",
        "mistake": "always barred",
        "score": 1,
        "message": "may be answers too",
        "code": """
def answer(vectors_VD, a, b, c, barred):
    unit_VD = F.normalize(vectors_VD, dim=-1)
    scores_V = unit_VD @ (unit_VD[b] - unit_VD[a] + unit_VD[c])
    scores_V[[a, b, c]] = -torch.inf
    return int(scores_V.argmax())
""",
    },
    {
        "question": "q6_analogy",
        "mistake": "vectors of their own lengths",
        "score": 2,
        "message": "scale all vectors to length 1",
        "code": """
def answer(vectors_VD, a, b, c, barred):
    query_D = vectors_VD[b] - vectors_VD[a] + vectors_VD[c]
    scores_V = F.normalize(vectors_VD, dim=-1) @ query_D
    if barred:
        scores_V[[a, b, c]] = -torch.inf
    return int(scores_V.argmax())
""",
    },
    {
        "question": "q7_permutation",
        "mistake": "strictly larger",
        "score": 0,
        "message": "at least",
        "code": """
def p_value(x, y):
    sums = [sum(chosen) for chosen in combinations(x + y, len(x))]
    return sum(value > sum(x) + 1e-9 for value in sums) / len(sums)
""",
    },
    {
        "question": "q7_permutation",
        "mistake": "sums compared without a tolerance",
        "score": 2,
        "message": "compare with a tolerance of 1e-9",
        "code": """
def p_value(x, y):
    sums = [sum(chosen) for chosen in combinations(x + y, len(x))]
    return sum(value >= sum(x) for value in sums) / len(sums)
""",
    },
    {
        "question": "q7_permutation",
        "mistake": "equal divisions counted once",
        "score": 2,
        "message": "p is not",
        "code": """
def p_value(x, y):
    sums = {tuple(sorted(chosen)) for chosen in combinations(x + y, len(x))}
    return sum(sum(chosen) >= sum(x) - 1e-9 for chosen in sums) / len(sums)
""",
    },
    {
        "question": "q8_ceiling",
        "mistake": "sets instead of bags",
        "score": 2,
        "message": "sets forget how often",
        "code": """
def ceiling(sentences, answers):
    answers_of = {}
    for sentence, answer in zip(sentences, answers):
        answers_of.setdefault(frozenset(sentence.split()), Counter())[answer] += 1
    return sum(max(counts.values()) for counts in answers_of.values()) / len(sentences)
""",
    },
    {
        "question": "q8_ceiling",
        "mistake": "the order is kept",
        "score": 2,
        "message": "sort the words first",
        "code": """
def ceiling(sentences, answers):
    answers_of = {}
    for sentence, answer in zip(sentences, answers):
        answers_of.setdefault(sentence, Counter())[answer] += 1
    return sum(max(counts.values()) for counts in answers_of.values()) / len(sentences)
""",
    },
]
