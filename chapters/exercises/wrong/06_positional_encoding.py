"""Typical wrong answers to the exercises of the chapter, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "a reward instead of a penalty",
        "score": 2,
        "message": "the sign is wrong",
        "code": """
bias = torch.tensor([1.5, 1.0, 0.5, 0.0])
ratio = math.exp(0.5)
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "the difference of scores taken for the ratio of weights",
        "score": 2,
        "message": "the softmax is still missing",
        "code": """
bias = torch.tensor([-1.5, -1.0, -0.5, 0.0])
ratio = 0.5
""",
    },
    {
        "question": "q2_share",
        "mistake": "distances begin at 1",
        "score": 1,
        "message": "at distance 0, among them",
        "code": """
prediction = [0.9, 0.02]

def share(slope, near, length):
    weights = (-slope * torch.arange(length, dtype=torch.float64)).softmax(dim=0)
    return weights[1 : near + 1].sum()
""",
    },
    {
        "question": "q2_share",
        "mistake": "the sign",
        "score": 2,
        "message": "a head that loves distance",
        "code": """
prediction = [0.9, 0.02]

def share(slope, near, length):
    weights = (slope * torch.arange(length, dtype=torch.float64)).softmax(dim=0)
    return weights[:near].sum()
""",
    },
    {
        "question": "q3_rotate",
        "mistake": "the pairs of GPT-NeoX",
        "score": 3,
        "message": "GPT-NeoX",
        "code": """
def rotate(x_TK, first):
    T, K = x_TK.shape
    angle = (first + torch.arange(T))[:, None] * 10_000.0 ** (-torch.arange(0, K, 2) / K)
    a, b = x_TK.chunk(2, dim=-1)
    return torch.cat((a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()), dim=-1)
""",
    },
    {
        "question": "q3_rotate",
        "mistake": "NaN everywhere",
        "score": 1,
        "message": "the length of a turned row holds NaN",
        "code": """
def rotate(x_TK, first):
    return x_TK * torch.nan
""",
    },
    {
        "question": "q3_rotate",
        "mistake": "the offset is ignored",
        "score": 3,
        "message": "`first` is ignored",
        "code": """
def rotate(x_TK, first):
    T, K = x_TK.shape
    angle = torch.arange(T)[:, None] * 10_000.0 ** (-torch.arange(0, K, 2) / K)
    a, b = x_TK[:, 0::2], x_TK[:, 1::2]
    turned = a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()
    return torch.stack(turned, dim=-1).flatten(-2)
""",
    },
    {
        "question": "q3_rotate",
        "mistake": "both terms with a plus: no rotation",
        "score": 1,
        "message": "A rotation keeps lengths",
        "code": """
def rotate(x_TK, first):
    T, K = x_TK.shape
    angle = (first + torch.arange(T))[:, None] * 10_000.0 ** (-torch.arange(0, K, 2) / K)
    a, b = x_TK[:, 0::2], x_TK[:, 1::2]
    turned = a * angle.cos() + b * angle.sin(), a * angle.sin() + b * angle.cos()
    return torch.stack(turned, dim=-1).flatten(-2)
""",
    },
    {
        "question": "q4_cache",
        "mistake": "the bug is still there",
        "score": 1,
        "message": "taken to stand at position 0",
        "code": """
def alibi_after_cache(slope, cached, new):
    query_position = torch.arange(new)[:, None]
    key_position = torch.arange(cached + new)[None, :]
    return -slope * (query_position - key_position).abs()
""",
    },
    {
        "question": "q4_cache",
        "mistake": "off by one",
        "score": 1,
        "message": "not before it",
        "code": """
def alibi_after_cache(slope, cached, new):
    query_position = cached - 1 + torch.arange(new)[:, None]
    key_position = torch.arange(cached + new)[None, :]
    return -slope * (query_position - key_position).abs()
""",
    },
    {
        "question": "q5_bucket",
        "mistake": "the directions exchanged",
        "score": 1,
        "message": "the directions are exchanged",
        "code": """
def bucket(relative, num_buckets, max_distance):
    half = num_buckets // 2
    exact = half // 2
    distance = relative.abs()
    scale = torch.log(distance.clamp(min=1) / exact) / math.log(max_distance / exact)
    far = (exact + (scale * (half - exact)).long()).clamp(max=half - 1)
    return (relative < 0).long() * half + torch.where(distance < exact, distance, far)
""",
    },
    {
        "question": "q5_bucket",
        "mistake": "the last bucket of a half is not the end",
        "score": 2,
        "message": "share the last bucket",
        "code": """
def bucket(relative, num_buckets, max_distance):
    half = num_buckets // 2
    exact = half // 2
    distance = relative.abs()
    scale = torch.log(distance.clamp(min=1) / exact) / math.log(max_distance / exact)
    far = exact + (scale * (half - exact)).long()
    return (relative > 0).long() * half + torch.where(distance < exact, distance, far)
""",
    },
    {
        "question": "q6_by_key",
        "mistake": "rows move the wrong way",
        "score": 2,
        "message": "rows move the wrong way",
        "code": """
def by_key(x_TL, S):
    T = x_TL.shape[0]
    return x_TL.gather(1, torch.arange(S)[None, :] + torch.arange(T)[:, None])
""",
    },
    {
        "question": "q6_by_key",
        "mistake": "numbers copied out of the graph",
        "score": 3,
        "message": "no gradient",
        "code": """
def by_key(x_TL, S):
    T = x_TL.shape[0]
    return torch.tensor([[x_TL[t, s - t + T - 1].item() for s in range(S)] for t in range(T)])
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "the window taken for a sign of new positions",
        "score": 3,
        "message": "it changes no position",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "far questions compared with chance",
        "score": 3,
        "message": "but so is a reader who ignores order",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > home - 0.1 else "left by the window"
    return "carries over" if whole_far > chance + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "a run that changes both causes at once",
        "score": 3,
        "message": "grow together",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > home - 0.1 else "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "B"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "a margin above chance instead of the rule without order",
        "score": 2,
        "message": "you say 'order not learnt'",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= chance + 0.6:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > home - 0.1 else "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "suffering tested before the trained length",
        "score": 3,
        "message": "the first string that applies counts",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > home - 0.1 else "left by the window"
    if home <= bag_home + 0.1:
        return "order not learnt"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "any rise under the window taken for a repair",
        "score": 3,
        "message": "a rise that stays below `home`",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > whole_near + 0.1 else "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "far questions compared with the rule at the trained length",
        "score": 3,
        "message": "the rule on these questions",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > home - 0.1 else "left by the window"
    return "carries over" if whole_far > bag_home + 0.05 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "the trained length compared with the rule on far questions",
        "score": 3,
        "message": "no skill that could be lost",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_far + 0.1:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > home - 0.1 else "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "suffering judged by the rule at the trained length",
        "score": 3,
        "message": "measured from `home`",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < bag_home + 0.1:
        return "distances or number of keys" if window_near > home - 0.1 else "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "suffering judged by the rule on far questions",
        "score": 3,
        "message": "measured from `home`",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < bag_far + 0.1:
        return "distances or number of keys" if window_near > home - 0.1 else "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "help judged by the rule at the trained length",
        "score": 3,
        "message": "measured from `home`",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > bag_home + 0.1 else "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
    {
        "question": "q7_diagnose",
        "mistake": "help judged by the far questions",
        "score": 3,
        "message": "measured from `home`",
        "code": """
def diagnose(home, whole_near, window_near, whole_far, chance, bag_home, bag_far):
    if home <= bag_home + 0.1:
        return "order not learnt"
    if whole_near < home - 0.1:
        return "distances or number of keys" if window_near > whole_far else "left by the window"
    return "carries over" if whole_far > bag_far + 0.1 else "no order far back"

separating = "C"
""",
    },
]
