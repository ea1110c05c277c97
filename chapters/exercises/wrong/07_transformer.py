"""Typical wrong answers to the exercises on the Transformer, with the marks and the message that each must get."""

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
        "question": "q3_norms",
        "mistake": "epsilon outside the root",
        "score": 2,
        "message": "epsilon is added to the variance",
        "code": """
def layer_norm(x, weight, bias, eps):
    deviation = x.std(-1, correction=0, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) / (deviation + eps) * weight + bias

def rms_norm(x, weight, eps):
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight
""",
    },
    {
        "question": "q3_norms",
        "mistake": "unbiased variance",
        "score": 2,
        "message": "divides by D, not by D - 1",
        "code": """
def layer_norm(x, weight, bias, eps):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + eps).sqrt() * weight + bias

def rms_norm(x, weight, eps):
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight
""",
    },
    {
        "question": "q3_norms",
        "mistake": "sum instead of mean in RMSNorm",
        "score": 2,
        "message": "not their sum",
        "code": """
def layer_norm(x, weight, bias, eps):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

def rms_norm(x, weight, eps):
    return x / (x.pow(2).sum(-1, keepdim=True) + eps).sqrt() * weight
""",
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
        "question": "q6_swiglu",
        "mistake": "the old width",
        "score": 2,
        "message": "half as many parameters again",
        "code": """
def swiglu(x, gate, up, down):
    return (F.silu(x @ gate) * (x @ up)) @ down

def equal_width(D, F):
    return F
""",
    },
    {
        "question": "q6_swiglu",
        "mistake": "activation on the other matrix",
        "score": 2,
        "message": "gate and up are exchanged",
        "code": """
def swiglu(x, gate, up, down):
    return (F.silu(x @ up) * (x @ gate)) @ down

def equal_width(D, F):
    return 2 * F // 3
""",
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
]
