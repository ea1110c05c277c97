"""Typical wrong answers to the exercises on low rank, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "energy without squares",
        "score": 2,
        "message": "energy is a sum of squares",
        "code": """
values = [45, 30]
kept = 0.6
error = 300
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "the first term is taken for the larger one",
        "score": 0,
        "message": "falling order",
        "code": """
values = [30, 45]
kept = 900 / 2925
error = 0
""",
    },
    {
        "question": "q2_rank",
        "mistake": "a share of the ranks",
        "score": 1,
        "message": "a share of the ranks",
        "code": """
def largest_rank(outputs, inputs, share):
    return int(share * min(outputs, inputs))
""",
    },
    {
        "question": "q2_rank",
        "mistake": "never 0",
        "score": 2,
        "message": "return 0",
        "code": """
def largest_rank(outputs, inputs, share):
    return max(1, int(share * outputs * inputs / (outputs + inputs) + 1e-9))
""",
    },
    {
        "question": "q3_thin",
        "mistake": "the wrong orientation",
        "score": 0,
        "message": "U has the outputs",
        "code": """
def thin(weight, rank):
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    root = s[:rank].sqrt()
    return vt.T[:, :rank] * root, root[:, None] * u.T[:rank]
""",
    },
    {
        "question": "q3_thin",
        "mistake": "the singular values twice",
        "score": 2,
        "message": "in there twice",
        "code": """
def thin(weight, rank):
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    return u[:, :rank] * s[:rank], s[:rank, None] * vt[:rank]
""",
    },
    {
        "question": "q3_thin",
        "mistake": "all singular values in one factor",
        "score": 3,
        "message": "equally long",
        "code": """
def thin(weight, rank):
    u, s, vt = torch.linalg.svd(weight, full_matrices=False)
    return u[:, :rank] * s[:rank], vt[:rank]
""",
    },
    {
        "question": "q4_moments",
        "mistake": "the covariance",
        "score": 2,
        "message": "covariance",
        "code": """
def second_moments(x_BTN, mask_BT):
    return x_BTN[mask_BT].T.cov(correction=0)

def output_error(error_MN, moments_NN):
    return (error_MN @ moments_NN @ error_MN.T).trace()
""",
    },
    {
        "question": "q4_moments",
        "mistake": "padding counts, and the error is of the weights",
        "score": 1,
        "message": "the padding is in it",
        "code": """
def second_moments(x_BTN, mask_BT):
    x = x_BTN.flatten(0, 1)
    return x.T @ x / len(x)

def output_error(error_MN, moments_NN):
    return error_MN.square().sum()
""",
    },
    {
        "question": "q5_predict",
        "mistake": "random numbers spread evenly",
        "score": 2,
        "message": "no equal singular values",
        "code": """
random_energy = 0.25
needed_rank = 8
repeated = 0.25
worse = True
""",
    },
    {
        "question": "q5_predict",
        "mistake": "a copy adds to the rank",
        "score": 2,
        "message": "cannot fill more directions",
        "code": """
random_energy = 0.62
needed_rank = 128
repeated = 0.31
worse = True
""",
    },
    {
        "question": "q5_predict",
        "mistake": "no numbers",
        "score": 1,
        "message": "no equal singular values",
        "code": 'random_energy, needed_rank, repeated, worse = float("nan"), float("nan"), float("nan"), True',
    },
    {
        "question": "q6_budget",
        "mistake": "costs are ignored",
        "score": 2,
        "message": "compare gain per weight",
        "code": """
def spend(gains, costs, budget):
    ranks = [0] * len(gains)
    while True:
        can = [i for i in range(len(gains)) if ranks[i] < len(gains[i]) and costs[i] <= budget]
        if not can:
            return ranks
        best = max(can, key=lambda i: gains[i][ranks[i]])
        ranks[best] += 1
        budget -= costs[best]
""",
    },
    {
        "question": "q6_budget",
        "mistake": "stops at the first that is too dear",
        "score": 2,
        "message": "a cheaper one may still fit",
        "code": """
def spend(gains, costs, budget):
    ranks = [0] * len(gains)
    while True:
        can = [i for i in range(len(gains)) if ranks[i] < len(gains[i])]
        best = max(can, key=lambda i: gains[i][ranks[i]] / costs[i])
        if costs[best] > budget:
            return ranks
        ranks[best] += 1
        budget -= costs[best]
""",
    },
    {
        "question": "q7_adapters",
        "mistake": "the old one stays",
        "score": 1,
        "message": "still in it",
        "code": """
def swap(weight, old, new):
    if new is None:
        return weight
    return weight + new["alpha"] / new["a"].shape[0] * new["b"] @ new["a"]
""",
    },
    {
        "question": "q7_adapters",
        "mistake": "no scale",
        "score": 0,
        "message": "alpha / R is missing",
        "code": """
def swap(weight, old, new):
    for adapter, sign in ((old, -1), (new, 1)):
        if adapter is not None:
            weight = weight + sign * adapter["b"] @ adapter["a"]
    return weight
""",
    },
    {
        "question": "q7_adapters",
        "mistake": "in place",
        "score": 2,
        "message": "changed in place",
        "code": """
def swap(weight, old, new):
    for adapter, sign in ((old, -1), (new, 1)):
        if adapter is not None:
            weight += sign * adapter["alpha"] / adapter["a"].shape[0] * adapter["b"] @ adapter["a"]
    return weight
""",
    },
]
