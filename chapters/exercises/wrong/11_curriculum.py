"""Typical wrong answers to the exercises on pretraining in stages, with the marks and the message of each."""

LABELS = """
def pair_labels(pairs_P2, T, k):
    first_P, second_P = pairs_P2.unbind(dim=1)
    distance_P = DISTANCE
    labels_P = distance_P + k - (distance_P > 0).long()
    return torch.where(SAME, labels_P, OTHER)
"""
MASK = """
def prefix_mask(prefix_B, real_BT):
    places_T = torch.arange(real_BT.shape[1])
    causal_TT = places_T[None, :] <= places_T[:, None]
    inside_BT = places_T < prefix_B[:, None]
    mask_BTT = (causal_TT | INSIDE) & real_BT[:, None, :] & QUERIES
    scored_BT = torch.zeros_like(real_BT)
    scored_BT[:, :-1] = real_BT[:, 1:] & SCORED
    return mask_BTT, scored_BT
"""
HAND_ON = """
def hand_on(stages, patience):
    handed_on = []
    best_loss, best_step = math.inf, 0
    for evaluations in stages:
        BEGIN
        without_gain = 0
        for step, loss in evaluations:
            if loss < best_loss:
                best_loss, best_step, without_gain = loss, step, RESET
            else:
                without_gain += 1
            if without_gain STOP:
                break
        handed_on.append((BEST, step))
    return handed_on
"""
REPLAY = """
def replay_shares(sizes, temperature, replay):
    powers = [POWER for size in sizes]
    return [PART * power / sum(powers) for power in powers] + [1 - replay if sizes else 1.0]


def epochs(sizes, shares, batches, batch_size):
    return [share * READ / size for size, share in zip(sizes, shares)]


def schedule(shares, batches, seed):
    GENERATOR
    return DRAWN
"""
FLOOR = """
def floor(rows, k):
    joint = Counter()
    for row in rows:
        places = [(i, j) for i in range(len(row)) for j in range(len(row)) if i != j]
        labels = [max(-k, min(k, j - i)) for i, j in places]
        pairs_with = Counter(labels)
        for (i, j), label in zip(places, labels):
            known = (KNOWN, row[i], row[j])
            joint[known, label] += WEIGHT
    of_known = Counter()
    for (known, _), p in joint.items():
        of_known[known] += p
    whole = sum(joint.values())
    return -sum(p / whole * LOG(p / of_known[known]) for (known, _), p in joint.items())
"""


def fill(template: str, right: dict[str, str], **changes: str) -> str:
    """A right answer with some of its parts replaced."""
    for name, part in (right | changes).items():
        template = template.replace(name, part)
    return template


PAIRS = {"DISTANCE": "(second_P - first_P).clamp(-k, k)", "SAME": "first_P // T == second_P // T", "OTHER": "2 * k"}
READING = {"INSIDE": "inside_BT[:, None, :]", "QUERIES": "real_BT[:, :, None]"} | {
    "SCORED": "~mask_BTT.diagonal(offset=1, dim1=1, dim2=2)"
}
STAGES = {"BEGIN": "best_loss = math.inf", "RESET": "0", "STOP": "== patience", "BEST": "best_step"}
MIXED = {
    "POWER": "size ** (1 / temperature)",
    "PART": "replay",
    "READ": "batches * batch_size",
    "GENERATOR": "generator = np.random.default_rng(seed)",
    "DRAWN": "generator.choice(len(shares), size=batches, p=shares).tolist()",
}
ENTROPY = {
    "KNOWN": "tuple(sorted(row))",
    "WEIGHT": "1 / (len(rows) * 2 * k * pairs_with[label])",
    "LOG": "math.log",
}
BY_PENCIL = 'fresh, kept, turn, loss = 1.0, -0.913, 23, "rises"'

WRONG = [
    {
        "question": "q1_pair_labels",
        "mistake": "first minus second",
        "score": 1,
        "message": "the wrong way round: the distance is j - i",
        "code": fill(LABELS, PAIRS, DISTANCE="(first_P - second_P).clamp(-k, k)"),
    },
    {
        "question": "q1_pair_labels",
        "mistake": "far distances not clipped",
        "score": 2,
        "message": "far distances are not clipped",
        "code": fill(LABELS, PAIRS, DISTANCE="second_P - first_P"),
    },
    {
        "question": "q1_pair_labels",
        "mistake": "neighbours across the edge of a row",
        "score": 3,
        "message": "the first of the next are no neighbours",
        "code": fill(LABELS, PAIRS, SAME="first_P != second_P"),
    },
    {
        "question": "q1_pair_labels",
        "mistake": "a label for the distance 0",
        "score": 1,
        "message": "no pair has the distance 0",
        "code": "def pair_labels(pairs_P2, T, k):\n    return (pairs_P2[:, 1] - pairs_P2[:, 0]).clamp(-k, k) + k",
    },
    {
        "question": "q2_new_stage",
        "mistake": "a step as small as the gradient",
        "score": 3,
        "message": "Adam divides by the size of the gradient",
        "code": BY_PENCIL.replace("1.0", "0.1"),
    },
    {
        "question": "q2_new_stage",
        "mistake": "the new gradient decides at once",
        "score": 2,
        "message": "the mean remembers those of stage C",
        "code": BY_PENCIL.replace("-0.913, 23", "1.0, 1"),
    },
    {
        "question": "q2_new_stage",
        "mistake": "nothing is forgotten",
        "score": 2,
        "message": "it turns with the next",
        "code": 'fresh, kept, turn, loss = 1.0, -0.913, 22, "falls"',
    },
    {
        "question": "q2_new_stage",
        "mistake": "the loss of C stays",
        "score": 3,
        "message": "it rises: ",
        "code": BY_PENCIL.replace("rises", "stays"),
    },
    {
        "question": "q3_prefix_mask",
        "mistake": "the prefix sees the whole row",
        "score": 3,
        "message": "see the whole row, also what is to be predicted",
        "code": fill(
            MASK, READING, INSIDE="inside_BT[:, :, None]", SCORED="(places_T >= prefix_B[:, None] - 1)[:, :-1]"
        ),
    },
    {
        "question": "q3_prefix_mask",
        "mistake": "padding sees",
        "score": 4,
        "message": "padding still sees",
        "code": fill(MASK, READING, QUERIES="True"),
    },
    {
        "question": "q3_prefix_mask",
        "mistake": "labels inside the prefix",
        "score": 4,
        "message": "they see the token that they should predict",
        "code": fill(MASK, READING, SCORED="True"),
    },
    {
        "question": "q3_prefix_mask",
        "mistake": "the last token of the prefix not scored",
        "score": 4,
        "message": "the last token of the prefix predicts, too",
        "code": fill(MASK, READING, SCORED="~inside_BT[:, :-1]"),
    },
    {
        "question": "q4_hand_on",
        "mistake": "losses of two objectives compared",
        "score": 3,
        "message": "They are losses of another objective",
        "code": fill(HAND_ON, STAGES, BEGIN=""),
    },
    {
        "question": "q4_hand_on",
        "mistake": "the last weights",
        "score": 2,
        "message": "handed on are those with the lowest loss",
        "code": fill(HAND_ON, STAGES, BEST="step"),
    },
    {
        "question": "q4_hand_on",
        "mistake": "one evaluation too late",
        "score": 2,
        "message": "one evaluation too late",
        "code": fill(HAND_ON, STAGES, STOP="> patience"),
    },
    {
        "question": "q4_hand_on",
        "mistake": "evaluations counted altogether",
        "score": 2,
        "message": "are counted in a row",
        "code": fill(HAND_ON, STAGES, RESET="without_gain"),
    },
    {
        "question": "q5_replay",
        "mistake": "the exponent upside down",
        "score": 4,
        "message": "a high temperature makes the shares more alike",
        "code": fill(REPLAY, MIXED, POWER="size ** temperature"),
    },
    {
        "question": "q5_replay",
        "mistake": "shares that add up to more than 1",
        "score": 3,
        "message": "have only `replay` to divide",
        "code": fill(REPLAY, MIXED, PART="1"),
    },
    {
        "question": "q5_replay",
        "mistake": "batches counted as examples",
        "score": 4,
        "message": "multiply by it",
        "code": fill(REPLAY, MIXED, READ="batches"),
    },
    {
        "question": "q5_replay",
        "mistake": "the global generator",
        "score": 4,
        "message": "make a generator from the seed in every call",
        "code": fill(REPLAY, MIXED, GENERATOR="generator = np.random"),
    },
    {
        "question": "q5_replay",
        "mistake": "exact counts in random order",
        "score": 4,
        "message": "when a run is extended",
        "code": fill(
            REPLAY,
            MIXED,
            GENERATOR="""counts = [round(share * batches) for share in shares]
    counts[-1] += batches - sum(counts)
    numbers = [number for number, count in enumerate(counts) for _ in range(count)]""",
            DRAWN="np.random.default_rng(seed).permutation(numbers).tolist()",
        ),
    },
    {
        "question": "q5_replay",
        "mistake": "all replay at the end",
        "score": 3,
        "message": "when a run is extended",
        "code": fill(
            REPLAY,
            MIXED,
            DRAWN="sorted(generator.choice(len(shares), size=batches, p=shares).tolist(), reverse=True)",
        ),
    },
    {
        "question": "q5_replay",
        "mistake": "one objective for five batches",
        "score": 4,
        "message": "Draw every batch for itself, not in blocks",
        "code": fill(
            REPLAY,
            MIXED,
            DRAWN="generator.choice(len(shares), size=batches // 5 + 1, p=shares).repeat(5)[:batches].tolist()",
        ),
    },
    {
        "question": "q6_floor",
        "mistake": "all pairs alike",
        "score": 1,
        "message": "all pairs are counted alike",
        "code": fill(FLOOR, ENTROPY, WEIGHT="1"),
    },
    {
        "question": "q6_floor",
        "mistake": "the two tokens only",
        "score": 4,
        "message": "the model reads the whole row",
        "code": fill(FLOOR, ENTROPY, KNOWN="0"),
    },
    {
        "question": "q6_floor",
        "mistake": "every row known by heart",
        "score": 3,
        "message": "two rows of the same tokens look alike",
        "code": fill(FLOOR, ENTROPY, KNOWN="tuple(row)"),
    },
    {
        "question": "q6_floor",
        "mistake": "which tokens, but not how often",
        "score": 4,
        "message": "how often each occurs",
        "code": fill(FLOOR, ENTROPY, KNOWN="tuple(sorted(set(row)))"),
    },
    {
        "question": "q6_floor",
        "mistake": "bits",
        "score": 0,
        "message": "these are bits",
        "code": fill(FLOOR, ENTROPY, LOG="math.log2"),
    },
]
