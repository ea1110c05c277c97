"""Typical wrong answers to the exercises on masked language modelling, with the marks and the message of each."""

CORRUPT = """
def corrupt(ids_BT, special, mask_id, vocab_size, generator):
    choose_BT, act_BT, draw_BT = torch.rand((3, *ids_BT.shape), generator=generator)
    chosen_BT = {chosen}
    random_BT = {random}
    shown_BT = torch.where(act_BT < 0.8, mask_id, torch.where(act_BT < {border}, random_BT, ids_BT))
    shown_BT = torch.where(chosen_BT, shown_BT, ids_BT)
    return shown_BT, torch.where(chosen_BT, {label}, -100)
"""
RIGHT = {
    "chosen": "~torch.isin(ids_BT, special) & (choose_BT < 0.15)",
    "random": "5 + (draw_BT * (vocab_size - 5)).long()",
    "border": "0.9",
    "label": "ids_BT",
}

PAIRS = """
def make_pairs(documents, generator):
    draw = lambda n: int(torch.randint(n, (), generator=generator))
    pairs = []
    for number, document in enumerate(documents):
        for first, successor in zip(document, document[1:]):
            {body}
    return pairs
"""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "the words before the gap only",
        "score": 2,
        "message": "use what stands after the gap",
        "code": "ann, cat, doubt = 1 / 2, 28 / 29, 4 / 5",
    },
    {
        "question": "q1_pencil",
        "mistake": "no random words",
        "score": 2,
        "message": "a visible word can be a drawn one",
        "code": "ann, cat, doubt = 3 / 4, 1, 4 / 5",
    },
    {
        "question": "q1_pencil",
        "mistake": "given up half-way",
        "score": 1,
        "message": "cat is still ...",
        "code": "ann = 3 / 4\ncat = doubt = ...",
    },
    {
        "question": "q1_pencil",
        "mistake": "the other words forgotten",
        "score": 2,
        "message": "after bob, cat is likelier than dog",
        "code": "ann, cat, doubt = 3 / 4, 28 / 29, 1 / 2",
    },
    {
        "question": "q1_pencil",
        "mistake": "swayed by the shown word",
        "score": 2,
        "message": "the visible word still sways you",
        "code": "ann, cat, doubt = 3 / 4, 28 / 29, 2 / 5",
    },
    {
        "question": "q2_shares",
        "mistake": "the rate itself",
        "score": 2,
        "message": "not all of them become [MASK]",
        "code": "masks, wrong, kept = 0.15, 0.015, 0.5",
    },
    {
        "question": "q2_shares",
        "mistake": "shares of the chosen tokens",
        "score": 0,
        "message": "asked is the share of all tokens",
        "code": "masks, wrong, kept = 0.8, 0.1, 0.1",
    },
    {
        "question": "q3_corrupt",
        "mistake": "special tokens chosen",
        "score": 2,
        "message": "special tokens are chosen",
        "code": CORRUPT.format(**RIGHT | {"chosen": "choose_BT < 0.15"}),
    },
    {
        "question": "q3_corrupt",
        "mistake": "special tokens drawn",
        "score": 3,
        "message": "a special token was drawn",
        "code": CORRUPT.format(**RIGHT | {"random": "(draw_BT * vocab_size).long()"}),
    },
    {
        "question": "q3_corrupt",
        "mistake": "BERT's vocabulary",
        "score": 3,
        "message": "beyond the vocabulary",
        "code": CORRUPT.format(**RIGHT | {"random": "5 + (draw_BT * 30517).long()"}),
    },
    {
        "question": "q3_corrupt",
        "mistake": "80/20",
        "score": 3,
        "message": "two borders",
        "code": CORRUPT.format(**RIGHT | {"border": "0.98"}),
    },
    {
        "question": "q3_corrupt",
        "mistake": "the label is what is shown",
        "score": 3,
        "message": "a label must be the original id",
        "code": CORRUPT.format(**RIGHT | {"label": "shown_BT"}),
    },
    {
        "question": "q3_corrupt",
        "mistake": "the deciding number used again",
        "score": 3,
        "message": "of the four ordinary ids only [8] were drawn",
        "code": CORRUPT.format(**RIGHT | {"random": "5 + (act_BT * (vocab_size - 5)).long()"}),
    },
    {
        "question": "q3_corrupt",
        "mistake": "one replacement for the whole batch",
        "score": 3,
        "message": "draw a fresh number for each place",
        "code": CORRUPT.format(
            **RIGHT | {"random": "5 + (draw_BT[:1, :1].expand_as(draw_BT) * (vocab_size - 5)).long()"}
        ),
    },
    {
        "question": "q3_corrupt",
        "mistake": "the same places in every row",
        "score": 3,
        "message": "the same places are chosen in every row",
        "code": CORRUPT.format(**RIGHT | {"chosen": "~torch.isin(ids_BT, special) & (choose_BT[:1] < 0.15)"}),
    },
    {
        "question": "q3_corrupt",
        "mistake": "random numbers without the generator",
        "score": 3,
        "message": "two calls with equal generators differ",
        "code": CORRUPT.format(**RIGHT).replace(", generator=generator", ""),
    },
    {
        "question": "q3_corrupt",
        "mistake": "a seed of its own",
        "score": 3,
        "message": "generators with different seeds give the same",
        "code": CORRUPT.format(**RIGHT).replace("=generator", "=torch.Generator().manual_seed(0)"),
    },
    {
        "question": "q4_masked_loss",
        "mistake": "the mean",
        "score": 1,
        "message": "this is the mean",
        "code": """
def masked_loss(logits_BTV, labels_BT):
    loss = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=-100)
    return loss, int((labels_BT != -100).sum())
""",
    },
    {
        "question": "q4_masked_loss",
        "mistake": "an averaged loss times a mask",
        "score": 2,
        "message": "the mean was taken too early",
        "code": """
def masked_loss(logits_BTV, labels_BT):
    mask_BT = labels_BT != -100
    loss = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.clamp(min=0).flatten())
    return (loss * mask_BT).sum(), int(mask_BT.sum())
""",
    },
    {
        "question": "q4_masked_loss",
        "mistake": "all positions counted",
        "score": 1,
        "message": "all positions",
        "code": """
def masked_loss(logits_BTV, labels_BT):
    loss = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=-100, reduction="sum")
    return loss, labels_BT.numel()
""",
    },
    {
        "question": "q5_whole_words",
        "mistake": "a coin for each piece",
        "score": 1,
        "message": "only the first piece is chosen",
        "code": "def spread(starts_T, coins_T):\n    return coins_T.clone()",
    },
    {
        "question": "q5_whole_words",
        "mistake": "the coin runs on",
        "score": 1,
        "message": "runs on into the next word",
        "code": "def spread(starts_T, coins_T):\n    return (starts_T & coins_T).long().cummax(0).values.bool()",
    },
    {
        "question": "q6_make_pairs",
        "mistake": "negatives from anywhere",
        "score": 3,
        "message": "draw among the others",
        "code": PAIRS.format(
            body="""if draw(2):
                pairs.append((first, successor, 0))
            else:
                other = documents[draw(len(documents))]
                pairs.append((first, other[draw(len(other))], 1))"""
        ),
    },
    {
        "question": "q6_make_pairs",
        "mistake": "always the next document",
        "score": 3,
        "message": "negatives come from few documents",
        "code": PAIRS.format(
            body="""if draw(2):
                pairs.append((first, successor, 0))
            else:
                other = documents[(number + 1) % len(documents)]
                pairs.append((first, other[draw(len(other))], 1))"""
        ),
    },
    {
        "question": "q6_make_pairs",
        "mistake": "labels exchanged",
        "score": 1,
        "message": "are the labels exchanged?",
        "code": PAIRS.format(
            body="""if draw(2):
                pairs.append((first, successor, 1))
            else:
                other = documents[number - 1]
                pairs.append((first, other[draw(len(other))], 0))"""
        ),
    },
    {
        "question": "q6_make_pairs",
        "mistake": "positives only",
        "score": 2,
        "message": "there is no pair with label 1",
        "code": PAIRS.format(body="pairs.append((first, successor, 0))"),
    },
    {
        "question": "q6_make_pairs",
        "mistake": "always the first sentence of the other document",
        "score": 3,
        "message": "only first sentences are drawn",
        "code": PAIRS.format(
            body="""if draw(2):
                pairs.append((first, successor, 0))
            else:
                other = draw(len(documents) - 1)
                other += other >= number
                pairs.append((first, documents[other][0], 1))"""
        ),
    },
    {
        "question": "q7_fill",
        "mistake": "the left neighbour only",
        "score": 2,
        "message": "this is the causal prediction",
        "code": "def fill(P, left, right, length, place):\n    return P[left]",
    },
    {
        "question": "q7_fill",
        "mistake": "the words between ignored",
        "score": 4,
        "message": "the words between are ignored",
        "code": """
def fill(P, left, right, length, place):
    weights = P[left] * P[:, right]
    return weights / weights.sum()
""",
    },
    {
        "question": "q7_fill",
        "mistake": "not divided by the sum",
        "score": 0,
        "message": "Divide the weights by their sum",
        "code": """
def fill(P, left, right, length, place):
    return torch.linalg.matrix_power(P, place + 1)[left] * torch.linalg.matrix_power(P, length - place)[:, right]
""",
    },
    {
        "question": "q7_fill",
        "mistake": "the place ignored",
        "score": 4,
        "message": "place + 1 steps lead from the left neighbour",
        "code": """
def fill(P, left, right, length, place):
    weights = P[left] * torch.linalg.matrix_power(P, length)[:, right]
    return weights / weights.sum()
""",
    },
]
