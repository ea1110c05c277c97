"""Typical wrong answers to the exercises on the Transformer, with the marks and the message that each must get."""

_GPT = """
def logits(parameters, ids, num_heads):
    def linear(x, name):
        return F.linear(x, parameters[name + ".weight"], parameters[name + ".bias"])

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], parameters[name + ".weight"], parameters[name + ".bias"], 1e-5)

    T = ids.shape[1]
    words = parameters["embeddings.word_embeddings.weight"]
    x = words[ids] + parameters["embeddings.position.table.weight"][:T]
    causal = torch.ones(T, T, dtype=torch.bool)TRIL
    for layer in range(2):
        block = f"decoder.layers.{layer}."
        h = norm(x, block + "attention_norm")
        q, k, v = (
            linear(h, block + "attention." + name).unflatten(-1, (num_heads, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~causal, float("-inf"))
        x = x + linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), block + "attention.output")
        h = F.gelu(linear(norm(x, block + "feed_forward_norm"), block + "feed_forward.up"), approximate="tanh")
        x = x + linear(h, block + "feed_forward.down")
    return norm(x, "decoder.final_norm") @ words.T

def train(parameters, batches, num_heads):
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.01)
    losses = []
    for ids in batches:
        predicted = logits(parameters, idsINPUTS, num_heads)
        loss = F.cross_entropy(predicted.flatten(0, 1), idsLABELS.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
"""


def _gpt(
    tril: str = ".tril()",
    inputs: str = "[:, :-1]",
    labels: str = "[:, 1:]",
) -> str:
    """The right answer to the exercise on the GPT, with one part exchanged."""
    code = _GPT.replace("TRIL", tril)
    return code.replace("INPUTS", inputs).replace("LABELS", labels)


_CROSS = """
def cross(x, context, real, query, key, value, output, num_heads):
    def heads(z):
        return z.unflatten(-1, (num_heads, -1)).transpose(1, 2)

    q, k, v = heads(x @ query), heads(CONTEXT @ key), heads(context @ value)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~MASK, float("-inf"))
    weights = scores.softmax(-1)LATE
    return (weights @ v).transpose(1, 2).flatten(2) @ output
"""


def _cross(keys_of: str = "context", mask: str = "real[:, None, None]", late: str = "") -> str:
    """The right answer to the exercise on cross-attention, with some parts exchanged."""
    return _CROSS.replace("CONTEXT", keys_of).replace("MASK", mask).replace("LATE", late)


WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "divides by the variance",
        "score": 0,
        "message": "divides by the variance",
        "code": """
normed = [0.5, -0.5]
pre = [5, 2.5]
post = [-0.18, 0.18]
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "sum not normalised",
        "score": 2,
        "message": "this sum is not normalised yet",
        "code": """
normed = [1, -1]
pre = [5, 4]
post = [5, 16]
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "adds to the normalised vector",
        "score": 2,
        "message": "the stream itself is never normalised",
        "code": """
normed = [1, -1]
pre = [1, 2]
post = [-1, 1]
""",
    },
    {
        "question": "q2_count",
        "mistake": "no biases",
        "score": 1,
        "message": "the linear layers have biases",
        "code": """
def count(V, D, FF, L, P):
    return (V + P + 2 + 2) * D + L * (4 * D * D + 2 * D * FF + 4 * D)
""",
    },
    {
        "question": "q2_count",
        "mistake": "scores counted as weights",
        "score": 1,
        "message": "the scores are not parameters",
        "code": """
def count(V, D, FF, L, P):
    block = 4 * (D * D + D) + D * FF + FF + FF * D + D + 4 * D + P * P
    return (V + P + 2 + 2) * D + L * block
""",
    },
    {
        "question": "q2_count",
        "mistake": "no norm on the embeddings",
        "score": 0,
        "message": "the norm of the embeddings is missing",
        "code": """
def count(V, D, FF, L, P):
    block = 4 * (D * D + D) + D * FF + FF + FF * D + D + 4 * D
    return (V + P + 2) * D + L * block
""",
    },
    {
        "question": "q2_count",
        "mistake": "one token type",
        "score": 0,
        "message": "there are two token types",
        "code": """
def count(V, D, FF, L, P):
    block = 4 * (D * D + D) + D * FF + FF + FF * D + D + 4 * D
    return (V + P + 1 + 2) * D + L * block
""",
    },
    {
        "question": "q3_cross",
        "mistake": "all three mistakes left",
        "score": 0,
        "message": "must match",
        "code": _cross("x", "torch.ones_like(scores, dtype=torch.bool).tril()", " * real[:, None, None]"),
    },
    {
        "question": "q3_cross",
        "mistake": "causal mask left",
        "score": 1,
        "message": "the source is finished",
        "code": _cross(mask="torch.ones_like(scores, dtype=torch.bool).tril()", late=" * real[:, None, None]"),
    },
    {
        "question": "q3_cross",
        "mistake": "padding removed after the softmax",
        "score": 2,
        "message": "no longer sum to 1",
        "code": _cross(mask="torch.ones_like(scores, dtype=torch.bool)", late=" * real[:, None, None]"),
    },
    {
        "question": "q3_cross",
        "mistake": "self-attention",
        "score": 1,
        "message": "as in self-attention",
        "code": _cross("x", "torch.ones_like(scores, dtype=torch.bool)").replace("context @ value", "x @ value"),
    },
    {
        "question": "q4_block",
        "mistake": "post-norm",
        "score": 0,
        "message": "this is post-norm",
        "code": """
def step(x, attend, feed, norm_a, norm_f):
    x = norm_a(x + attend(x))
    return norm_f(x + feed(x))
""",
    },
    {
        "question": "q4_block",
        "mistake": "the sums add to the normalised vector",
        "score": 0,
        "message": "adds to the normalised vector instead of x",
        "code": """
def step(x, attend, feed, norm_a, norm_f):
    h = norm_a(x)
    h = norm_f(h + attend(h))
    return h + feed(h)
""",
    },
    {
        "question": "q4_block",
        "mistake": "parallel branches",
        "score": 2,
        "message": "both branches read the same x",
        "code": """
def step(x, attend, feed, norm_a, norm_f):
    return x + attend(norm_a(x)) + feed(norm_f(x))
""",
    },
    {
        "question": "q4_block",
        "mistake": "no norm before attention",
        "score": 1,
        "message": "attention reads the raw stream",
        "code": """
def step(x, attend, feed, norm_a, norm_f):
    x = x + attend(x)
    return x + feed(norm_f(x))
""",
    },
    {
        "question": "q5_predict",
        "mistake": "everything stays",
        "score": 3,
        "message": "Nothing normalises the stream",
        "code": """
pre_size = "stays"
post_size = "stays"
pre_gradient = "stays"
scaled_size = "stays"
crossover = 3072
""",
    },
    {
        "question": "q5_predict",
        "mistake": "forgets the projections",
        "score": 4,
        "message": "solve for T",
        "code": """
pre_size = "grows"
post_size = "stays"
pre_gradient = "falls"
scaled_size = "stays"
crossover = 2048
""",
    },
    {
        "question": "q5_predict",
        "mistake": "NaN as the length",
        "score": 4,
        "message": "predicted: nan",
        "code": """
pre_size = "grows"
post_size = "stays"
pre_gradient = "falls"
scaled_size = "stays"
crossover = float("nan")
""",
    },
    {
        "question": "q6_gpt",
        "mistake": "no causal mask",
        "score": 1,
        "message": "is the causal mask there",
        "code": _gpt(tril=""),
    },
    {
        "question": "q6_gpt",
        "mistake": "labels not shifted",
        "score": 3,
        "message": "the labels are the next tokens",
        "code": _gpt(inputs="", labels=""),
    },
    {
        "question": "q6_gpt",
        "mistake": "losses of zero returned",
        "score": 3,
        "message": "the losses of two batches are",
        "code": _gpt().replace("losses.append(loss.item())", "losses.append(0.0)"),
    },
    {
        "question": "q6_gpt",
        "mistake": "losses of NaN returned",
        "score": 3,
        "message": "the losses of two batches are nan",
        "code": _gpt().replace("losses.append(loss.item())", 'losses.append(float("nan"))'),
    },
    {
        "question": "q6_gpt",
        "mistake": "Adam in place of AdamW",
        "score": 3,
        "message": "differs from AdamW's",
        "code": _gpt().replace("AdamW", "Adam"),
    },
    {
        "question": "q7_memory",
        "mistake": "no threshold",
        "score": 1,
        "message": "the threshold is missing",
        "code": """
def write(up, bias, down, key, value, threshold):
    up = torch.cat([up, key[None]])
    bias = torch.cat([bias, torch.zeros(1)])
    return up, bias, torch.cat([down, value[:, None]], dim=1)
""",
    },
    {
        "question": "q7_memory",
        "mistake": "divided by the threshold",
        "score": 2,
        "message": "not by the threshold",
        "code": """
def write(up, bias, down, key, value, threshold):
    up = torch.cat([up, key[None]])
    bias = torch.cat([bias, torch.tensor([-threshold])])
    return up, bias, torch.cat([down, value[:, None] / threshold], dim=1)
""",
    },
    {
        "question": "q7_memory",
        "mistake": "value not scaled",
        "score": 2,
        "message": "divide by 1 - threshold",
        "code": """
def write(up, bias, down, key, value, threshold):
    up = torch.cat([up, key[None]])
    bias = torch.cat([bias, torch.tensor([-threshold])])
    return up, bias, torch.cat([down, value[:, None]], dim=1)
""",
    },
    {
        "question": "q8_verdict",
        "mistake": "rates chosen on test data",
        "score": 2,
        "message": "the rates are chosen on the test losses",
        "code": """
def judge(valid_a, test_a, valid_b, test_b):
    rate_a, rate_b = test_a.mean(0).argmin().item(), test_b.mean(0).argmin().item()
    differences = test_b[:, rate_b] - test_a[:, rate_a]
    half = 2.776 * differences.std().item() / len(differences) ** 0.5
    low, high = differences.mean().item() - half, differences.mean().item() + half
    return rate_a, rate_b, low, high, "a" if low > 0 else "b" if high < 0 else "undecided"
""",
    },
    {
        "question": "q8_verdict",
        "mistake": "unpaired",
        "score": 1,
        "message": "treats the seeds as unpaired",
        "code": """
def judge(valid_a, test_a, valid_b, test_b):
    rate_a, rate_b = valid_a.mean(0).argmin().item(), valid_b.mean(0).argmin().item()
    a, b = test_a[:, rate_a], test_b[:, rate_b]
    half = 2.776 * ((a.var() + b.var()) / 5).sqrt().item()
    low, high = (b.mean() - a.mean()).item() - half, (b.mean() - a.mean()).item() + half
    return rate_a, rate_b, low, high, "a" if low > 0 else "b" if high < 0 else "undecided"
""",
    },
]
