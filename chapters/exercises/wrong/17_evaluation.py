"""Typical wrong answers to the exercises on evaluation, with the marks and the message of each."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "precision and recall have changed places",
        "score": 2,
        "message": "this is recall",
        "code": 'by_pencil = {"precision": 0.6, "recall": 0.75, "f1": 12 / 18, "kappa": 0.4}',
    },
    {
        "question": "q1_pencil",
        "mistake": "agreement taken for kappa",
        "score": 2,
        "message": "chance is not yet taken out",
        "code": 'by_pencil = {"precision": 0.75, "recall": 0.6, "f1": 0.667, "kappa": 0.7}',
    },
    {
        "question": "q1_pencil",
        "mistake": "no number for kappa",
        "score": 2,
        "message": "kappa is not nan",
        "code": 'by_pencil = {"precision": 0.75, "recall": 0.6, "f1": 0.667, "kappa": float("nan")}',
    },
    {
        "question": "q2_predict",
        "mistake": "the penalty taken for the ratio of the lengths",
        "score": 3,
        "message": "not the ratio of the lengths",
        "code": "guesses = [0.97, 0.5, 0.045 / 0.14, 0.01 / math.sqrt(math.pi)]",
    },
    {
        "question": "q2_predict",
        "mistake": "precision taken for a property of the filter alone",
        "score": 3,
        "message": "depends on how frequent the class is",
        "code": "guesses = [0.97, math.exp(-1), 0.9, 0.01 / math.sqrt(math.pi)]",
    },
    {
        "question": "q2_predict",
        "mistake": "the variance of the difference taken for that of each score",
        "score": 3,
        "message": "half of the variance",
        "code": "guesses = [0.97, math.exp(-1), 0.045 / 0.14, 0.01 * math.sqrt(2 / math.pi)]",
    },
    {
        "question": "q3_permutation",
        "mistake": "one side only",
        "score": 1,
        "message": "one side only",
        "code": """
def exact_p(one_N, other_N):
    difference_N = np.subtract(one_N, other_N)
    drawn = np.array([(difference_N * signs).mean() for signs in product((1, -1), repeat=len(difference_N))])
    return float((drawn >= difference_N.mean() - 1e-9).mean())
""",
    },
    {
        "question": "q3_permutation",
        "mistake": "the difference found does not count itself",
        "score": 0,
        "message": "as large as the one found counts, too",
        "code": """
def exact_p(one_N, other_N):
    difference_N = np.subtract(one_N, other_N)
    drawn = np.array([(difference_N * signs).mean() for signs in product((1, -1), repeat=len(difference_N))])
    return float((np.abs(drawn) > abs(difference_N.mean()) + 1e-9).mean())
""",
    },
    {
        "question": "q4_ece",
        "mistake": "each bin counts alike",
        "score": 1,
        "message": "weigh it by its number of examples",
        "code": """
def ece(confidence_N, right_N, bins):
    gaps = []
    for number in range(bins):
        inside_N = (confidence_N > number / bins) & (confidence_N <= (number + 1) / bins)
        if inside_N.any():
            gaps.append((right_N[inside_N].double().mean() - confidence_N[inside_N].double().mean()).abs())
    return torch.stack(gaps).mean()
""",
    },
    {
        "question": "q4_ece",
        "mistake": "a confidence of 1 is in no bin",
        "score": 2,
        "message": "the last holds 1",
        "code": """
def ece(confidence_N, right_N, bins):
    total = 0.0
    for number in range(bins):
        inside_N = (confidence_N >= number / bins) & (confidence_N < (number + 1) / bins)
        if inside_N.any():
            gap = right_N[inside_N].double().mean() - confidence_N[inside_N].double().mean()
            total += gap.abs() * inside_N.sum() / len(confidence_N)
    return total
""",
    },
    {
        "question": "q4_ece",
        "mistake": "a confidence of 0 is in no bin",
        "score": 2,
        "message": "the first holds 0 and 0.25",
        "code": """
def ece(confidence_N, right_N, bins):
    total = 0.0
    for number in range(bins):
        inside_N = (confidence_N > number / bins) & (confidence_N <= (number + 1) / bins)
        if inside_N.any():
            gap = right_N[inside_N].double().mean() - confidence_N[inside_N].double().mean()
            total += gap.abs() * inside_N.sum() / len(confidence_N)
    return total
""",
    },
    {
        "question": "q4_ece",
        "mistake": "a border belongs to the upper bin",
        "score": 2,
        "message": "the first holds 0 and 0.25",
        "code": """
def ece(confidence_N, right_N, bins):
    number_N = (confidence_N * bins).long().clamp(max=bins - 1)
    total = 0.0
    for number in number_N.unique():
        inside_N = number_N == number
        gap = right_N[inside_N].double().mean() - confidence_N[inside_N].double().mean()
        total += gap.abs() * inside_N.sum() / len(confidence_N)
    return total
""",
    },
    {
        "question": "q5_repair",
        "mistake": "the mean of the batches' means",
        "score": 2,
        "message": "the mean of the batches' means",
        "code": """
def evaluate(model, batches):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        losses = [F.cross_entropy(model(x_BD), y_B) for x_BD, y_B in batches]
    model.train(was_training)
    return torch.stack(losses).mean()
""",
    },
    {
        "question": "q5_repair",
        "mistake": "evaluated in training mode",
        "score": 2,
        "message": "dropout is active",
        "code": """
def evaluate(model, batches):
    with torch.no_grad():
        total = sum(F.cross_entropy(model(x_BD), y_B, reduction="sum") for x_BD, y_B in batches)
    return total / sum(len(y_B) for _, y_B in batches)
""",
    },
    {
        "question": "q5_repair",
        "mistake": "the model is left in evaluation mode",
        "score": 2,
        "message": "is left in evaluation mode",
        "code": """
def evaluate(model, batches):
    model.eval()
    with torch.no_grad():
        total = sum(F.cross_entropy(model(x_BD), y_B, reduction="sum") for x_BD, y_B in batches)
    return total / sum(len(y_B) for _, y_B in batches)
""",
    },
    {
        "question": "q6_lucky",
        "mistake": "the variance of the difference taken for that of each score",
        "score": 1,
        "message": "each has half of it",
        "code": """
def excess(K, d, N):
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    normal = torch.distributions.Normal(0.0, 1.0)
    density = K * normal.log_prob(z).exp() * normal.cdf(z) ** (K - 1)
    return float((z * density).sum() * (z[1] - z[0])) * math.sqrt(d / N)
""",
    },
    {
        "question": "q6_lucky",
        "mistake": "no number for one system",
        "score": 2,
        "message": "with one system nothing is chosen",
        "code": """
def excess(K, d, N):
    if K == 1:
        return math.nan
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    normal = torch.distributions.Normal(0.0, 1.0)
    density = K * normal.log_prob(z).exp() * normal.cdf(z) ** (K - 1)
    return float((z * density).sum() * (z[1] - z[0])) * math.sqrt(d / (2 * N))
""",
    },
]
