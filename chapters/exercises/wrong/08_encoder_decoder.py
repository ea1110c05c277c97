"""Typical wrong answers to the exercises on encoder and decoder, with the marks and the message of each."""

BATCH = """
def collate(pairs, start, end, pad):
    sources = [[*source, end] for source, _ in pairs]
    targets = [TARGETS for _, target in pairs]
    reads = [READS for _, target in pairs]
    S, T = max(map(len, sources)), max(map(len, targets))
    input_ids = torch.tensor([row + [pad] * (S - len(row)) for row in sources])
    return {
        "input_ids": input_ids,
        "attention_mask": torch.tensor([[place < len(row) for place in range(S)] for row in sources]),
        "decoder_input_ids": torch.tensor([row + [pad] * (T - len(row)) for row in reads]),
        "labels": torch.tensor([row + [LABEL] * (T - len(row)) for row in targets]),
    }
"""
BLEU = """
def corpus_bleu(hypotheses, references):
    def grams(tokens, n):
        return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))

    product = 1.0
    for n in range(1, 5):
        counted = [(grams(one, n), grams(other, n)) for one, other in zip(hypotheses, references)]
        matched = sum(MATCHED for one, other in counted)
        product *= matched / sum(one.total() for one, _ in counted)
    c, r = sum(map(len, hypotheses)), sum(map(len, references))
    return 100 * PENALTY * product**0.25
"""
BEAM = """
def beam(log_p, width, longest, end, alpha):
    open_outputs, finished = [(0.0, [])], []
    for _ in range(longest):
        extended = [
            (total + value, [*tokens, token])
            for total, tokens in open_outputs
            for token, value in enumerate(log_p(tokens).tolist())
        ]
        extended = sorted(extended, key=lambda each: -each[0])[:width]
        open_outputs = []
        for total, tokens in extended:
            done = tokens[-1] == end or len(tokens) == longest
            (finished if done else open_outputs).append((total, tokens))
        if STOP:
            break
    return CHOICE[1]
"""
RIGHT_MATCHES, RIGHT_PENALTY = "(one & other).total()", "min(1.0, math.exp(1 - r / c))"

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "labels taken for inputs",
        "score": 2,
        "message": "the decoder would read what it is to predict",
        "code": 'by_pencil = {"inputs": [7, 8, 9, 2], "encoder": 12, "decoder": 10, "cross": 12}',
    },
    {
        "question": "q1_pencil",
        "mistake": "a causal mask in cross-attention",
        "score": 2,
        "message": "nothing is causal here",
        "code": 'by_pencil = {"inputs": [1, 7, 8, 9], "encoder": 12, "decoder": 10, "cross": 9}',
    },
    {
        "question": "q2_predict",
        "mistake": "the share spread over the wrong tokens only",
        "score": 1,
        "message": "1 - s + s / V",
        "code": "smoothed = [0.8, 0.05, 0.0, math.log(21)]",
    },
    {
        "question": "q2_predict",
        "mistake": "the ratio of probabilities instead of its logarithm",
        "score": 2,
        "message": "the logits differ by its logarithm",
        "code": "smoothed = [0.84, 0.04, 0.6615, 21.0]",
    },
    {
        "question": "q3_cross_attention",
        "mistake": "scores that are not scaled",
        "score": 2,
        "message": "divided by the root of K",
        "code": """
def cross_attention(q_BTK, k_BSK, v_BSM, real_BS):
    scores_BTS = (q_BTK @ k_BSK.transpose(1, 2)).masked_fill(~real_BS[:, None], -math.inf)
    return scores_BTS.softmax(dim=-1) @ v_BSM
""",
    },
    {
        "question": "q3_cross_attention",
        "mistake": "padding attended",
        "score": 1,
        "message": "hide the keys where real_BS is False",
        "code": """
def cross_attention(q_BTK, k_BSK, v_BSM, real_BS):
    return (q_BTK @ k_BSK.transpose(1, 2) / math.sqrt(q_BTK.shape[-1])).softmax(dim=-1) @ v_BSM
""",
    },
    {
        "question": "q3_cross_attention",
        "mistake": "the softmax over the target tokens",
        "score": 1,
        "message": "does the softmax go over the source tokens",
        "code": """
def cross_attention(q_BTK, k_BSK, v_BSM, real_BS):
    scores_BTS = q_BTK @ k_BSK.transpose(1, 2) / math.sqrt(q_BTK.shape[-1])
    return scores_BTS.masked_fill(~real_BS[:, None], -math.inf).softmax(dim=1) @ v_BSM
""",
    },
    {
        "question": "q4_collate",
        "mistake": "the target is not shifted",
        "score": 2,
        "message": "shift the target",
        "code": BATCH.replace("TARGETS", "[*target, end]").replace("READS", "[*target, end]").replace("LABEL", "-100"),
    },
    {
        "question": "q4_collate",
        "mistake": "padding is scored",
        "score": 2,
        "message": "padding must not be scored",
        "code": BATCH.replace("TARGETS", "[*target, end]").replace("READS", "[start, *target]").replace("LABEL", "pad"),
    },
    {
        "question": "q4_collate",
        "mistake": "a mask of numbers",
        "score": 2,
        "message": "attention_mask should be a bool tensor",
        "code": BATCH.replace('for row in sources]),\n        "dec', 'for row in sources]).long(),\n        "dec')
        .replace("TARGETS", "[*target, end]")
        .replace("READS", "[start, *target]")
        .replace("LABEL", "-100"),
    },
    {
        "question": "q4_collate",
        "mistake": "targets without an end",
        "score": 0,
        "message": "every source and every target gets an end token",
        "code": BATCH.replace("TARGETS", "target").replace("READS", "[start, *target[:-1]]").replace("LABEL", "-100"),
    },
    {
        "question": "q5_bleu",
        "mistake": "counts that are not clipped",
        "score": 2,
        "message": "at most as often as the reference has it",
        "code": BLEU.replace("MATCHED", "sum(count for gram, count in one.items() if gram in other)").replace(
            "PENALTY", RIGHT_PENALTY
        ),
    },
    {
        "question": "q5_bleu",
        "mistake": "no brevity penalty",
        "score": 1,
        "message": "multiply by exp(1 - r / c)",
        "code": BLEU.replace("MATCHED", RIGHT_MATCHES).replace("PENALTY", "1.0"),
    },
    {
        "question": "q5_bleu",
        "mistake": "counts pooled before they are clipped",
        "score": 2,
        "message": "compare each output with its own reference",
        "code": BLEU.replace(
            "sum(MATCHED for one, other in counted)",
            "sum((one for one, _ in counted), Counter()) & sum((other for _, other in counted), Counter())",
        )
        .replace("product *= matched", "product *= matched.total()")
        .replace("PENALTY", RIGHT_PENALTY),
    },
    {
        "question": "q5_bleu",
        "mistake": "NaN",
        "score": 0,
        "message": "got nan",
        "code": "def corpus_bleu(hypotheses, references):\n    return math.nan",
    },
    {
        "question": "q6_beam",
        "mistake": "no length penalty",
        "score": 2,
        "message": "short outputs still win",
        "code": BEAM.replace("STOP", "not open_outputs").replace("CHOICE", "max(finished, key=lambda each: each[0])"),
    },
    {
        "question": "q6_beam",
        "mistake": "the first output that ended",
        "score": 1,
        "message": "or the first that ended",
        "code": BEAM.replace("STOP", "finished").replace("CHOICE", "finished[0]"),
    },
    {
        "question": "q6_beam",
        "mistake": "a beam for each output",
        "score": 2,
        "message": "of all extensions together",
        "code": """
def beam(log_p, width, longest, end, alpha):
    open_outputs, finished = [(0.0, [])], []
    for _ in range(longest):
        extended = []
        for total, tokens in open_outputs:
            here = [(total + value, [*tokens, token]) for token, value in enumerate(log_p(tokens).tolist())]
            extended += sorted(here, key=lambda each: -each[0])[:width]
        open_outputs = []
        for total, tokens in extended:
            done = tokens[-1] == end or len(tokens) == longest
            (finished if done else open_outputs).append((total, tokens))
        if not open_outputs:
            break
    return max(finished, key=lambda each: each[0] / len(each[1]) ** alpha)[1]
""",
    },
]
