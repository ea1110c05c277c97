"""Typical wrong answers to the exercises on attention, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "no scale",
        "score": 0,
        "message": "the scores are not scaled",
        "code": """
scores = [[2 * math.log(3), 0], [-2 * math.log(3), 0]]
weights = [[0.9, 0.1], [0.1, 0.9]]
output = [[3.6, 0.8], [0.4, 7.2]]
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "softmax over the queries",
        "score": 1,
        "message": "the softmax runs over the queries",
        "code": """
scores = [[math.log(3), 0], [-math.log(3), 0]]
weights = [[0.9, 0.5], [0.1, 0.5]]
output = [[3.6, 4], [0.4, 4]]
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "exponentials not divided by their sum",
        "score": 1,
        "message": "divide each by the sum of its row",
        "code": """
scores = [[math.log(3), 0], [-math.log(3), 0]]
weights = [[3, 1], [1 / 3, 1]]
output = [[12, 8], [4 / 3, 8]]
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "given up half-way",
        "score": 1,
        "message": "weights is still ...",
        "code": "scores = [[math.log(3), 0], [-math.log(3), 0]]\nweights = output = ...",
    },
    {
        "question": "q2_groups",
        "mistake": "keys repeated",
        "score": 3,
        "message": "the keys were copied",
        "code": """
def grouped_attend(q_BHTK, k_BGSK, v_BGSK):
    per_group = q_BHTK.shape[1] // k_BGSK.shape[1]
    k, v = (each.repeat_interleave(per_group, dim=1) for each in (k_BGSK, v_BGSK))
    return (q_BHTK @ k.mT / math.sqrt(q_BHTK.shape[-1])).softmax(-1) @ v
""",
    },
    {
        "question": "q2_groups",
        "mistake": "keys broadcast",
        "score": 3,
        "message": "Matrix products with broadcasting copy too",
        "code": """
def grouped_attend(q_BHTK, k_BGSK, v_BGSK):
    q = q_BHTK.unflatten(1, (k_BGSK.shape[1], -1))
    weights = (q @ k_BGSK[:, :, None].mT / math.sqrt(q.shape[-1])).softmax(-1)
    return (weights @ v_BGSK[:, :, None]).flatten(1, 2)
""",
    },
    {
        "question": "q2_groups",
        "mistake": "groups in turns",
        "score": 2,
        "message": "the groups are dealt out in turns",
        "code": """
def grouped_attend(q_BHTK, k_BGSK, v_BGSK):
    per_group = q_BHTK.shape[1] // k_BGSK.shape[1]
    k, v = (each.repeat(1, per_group, 1, 1) for each in (k_BGSK, v_BGSK))
    return (q_BHTK @ k.mT / math.sqrt(q_BHTK.shape[-1])).softmax(-1) @ v
""",
    },
    {
        "question": "q2_groups",
        "mistake": "no scale",
        "score": 1,
        "message": "the scores are not scaled",
        "code": """
def grouped_attend(q_BHTK, k_BGSK, v_BGSK):
    q = q_BHTK.reshape(len(q_BHTK), k_BGSK.shape[1], -1, q_BHTK.shape[-1])
    return ((q @ k_BGSK.mT).softmax(-1) @ v_BGSK).reshape(q_BHTK.shape)
""",
    },
    {
        "question": "q3_allowed",
        "mistake": "diagonal aligned with the first key",
        "score": 3,
        "message": "the *last* query meets the last key",
        "code": """
def allowed(is_real_BS, num_queries):
    causal = torch.ones(num_queries, is_real_BS.shape[-1], dtype=torch.bool).tril()
    return is_real_BS[:, None, :] & (causal if num_queries > 1 else True)
""",
    },
    {
        "question": "q3_allowed",
        "mistake": "a query does not see itself",
        "score": 1,
        "message": "a query must see its own position too",
        "code": """
def allowed(is_real_BS, num_queries):
    num_keys = is_real_BS.shape[-1]
    causal = torch.ones(num_queries, num_keys, dtype=torch.bool).tril(num_keys - num_queries - 1)
    return is_real_BS[:, None, :] & causal
""",
    },
    {
        "question": "q3_allowed",
        "mistake": "inverted",
        "score": 1,
        "message": "the mask is inverted",
        "code": """
def allowed(is_real_BS, num_queries):
    num_keys = is_real_BS.shape[-1]
    return ~(is_real_BS[:, None, :] & torch.ones(num_queries, num_keys).bool().tril(num_keys - num_queries))
""",
    },
    {
        "question": "q3_allowed",
        "mistake": "padding forgotten",
        "score": 2,
        "message": "padding may be attended",
        "code": """
def allowed(is_real_BS, num_queries):
    batch, num_keys = is_real_BS.shape
    return torch.ones(batch, num_queries, num_keys).bool().tril(num_keys - num_queries)
""",
    },
    {
        "question": "q3_allowed",
        "mistake": "a mask of numbers",
        "score": 0,
        "message": "masks are bool",
        "code": """
def allowed(is_real_BS, num_queries):
    num_keys = is_real_BS.shape[-1]
    return is_real_BS[:, None, :] * torch.ones(num_queries, num_keys).tril(num_keys - num_queries)
""",
    },
    {
        "question": "q4_silent",
        "mistake": "an ordinary softmax",
        "score": 1,
        "message": "the silent key has no share yet",
        "code": """
def silent_softmax(scores, mask):
    return scores.masked_fill(~mask, -torch.inf).softmax(-1)
""",
    },
    {
        "question": "q4_silent",
        "mistake": "the formula as it stands",
        "score": 3,
        "message": "exp(1000) overflows",
        "code": """
def silent_softmax(scores, mask):
    exponentials = scores.exp() * mask
    return exponentials / (1 + exponentials.sum(-1, keepdim=True))
""",
    },
    {
        "question": "q4_silent",
        "mistake": "the largest score subtracted, the silent key forgotten",
        "score": 1,
        "message": "The denominator is 1",
        "code": """
def silent_softmax(scores, mask):
    scores = scores.masked_fill(~mask, -torch.inf)
    exponentials = (scores - scores.amax(-1, keepdim=True).clamp_min(-1e30)).exp()
    return exponentials / (1 + exponentials.sum(-1, keepdim=True))
""",
    },
    {
        "question": "q4_silent",
        "mistake": "the silent key returned",
        "score": 0,
        "message": "must not be returned",
        "code": """
def silent_softmax(scores, mask):
    scores = scores.masked_fill(~mask, -torch.inf)
    return torch.cat([scores, torch.zeros_like(scores[..., :1])], dim=-1).softmax(-1)
""",
    },
    {
        "question": "q5_predict",
        "mistake": "the spread grows like K",
        "score": 3,
        "message": "the standard deviation its square root",
        "code": 'spread, weight, gradient, scaled_weight = 256, "grows", "falls", "stays"',
    },
    {
        "question": "q5_predict",
        "mistake": "larger scores, larger gradients",
        "score": 3,
        "message": "the softmax is saturated",
        "code": 'spread, weight, gradient, scaled_weight = 16.0, "grows", "grows", "stays"',
    },
    {
        "question": "q5_predict",
        "mistake": "NaN as the spread",
        "score": 3,
        "message": "predicted: nan",
        "code": 'spread, weight, gradient, scaled_weight = math.nan, "grows", "falls", "stays"',
    },
    {
        "question": "q5_predict",
        "mistake": "not one of the choices",
        "score": 2,
        "message": "choose one of 'falls'",
        "code": 'spread, weight, gradient, scaled_weight = 16, "up", "falls", ...',
    },
    {
        "question": "q6_multi_head",
        "mistake": "one bug found: the axis",
        "score": 1,
        "message": "the width of the model: a head is only K = D / H wide",
        "code": """
def multi_head(x_TD, w_q, w_k, w_v, num_heads):
    num_tokens, size = x_TD.shape
    q, k, v = ((x_TD @ w).view(num_heads, num_tokens, size // num_heads) for w in (w_q, w_k, w_v))
    scores = q @ k.transpose(1, 2) / math.sqrt(size)
    weights = scores.softmax(-1)
    return scores, weights, (weights @ v).reshape(num_tokens, size)
""",
    },
    {
        "question": "q6_multi_head",
        "mistake": "heads split by a view",
        "score": 2,
        "message": "the heads are mixed",
        "code": """
def multi_head(x_TD, w_q, w_k, w_v, num_heads):
    num_tokens, size = x_TD.shape
    q, k, v = ((x_TD @ w).view(num_heads, num_tokens, size // num_heads) for w in (w_q, w_k, w_v))
    scores = q @ k.transpose(1, 2) / math.sqrt(size // num_heads)
    weights = scores.softmax(-1)
    return scores, weights, (weights @ v).transpose(0, 1).reshape(num_tokens, size)
""",
    },
    {
        "question": "q6_multi_head",
        "mistake": "heads merged by a reshape",
        "score": 3,
        "message": "the heads are merged by a reshape alone",
        "code": """
def multi_head(x_TD, w_q, w_k, w_v, num_heads):
    num_tokens, size = x_TD.shape
    q, k, v = ((x_TD @ w).view(num_tokens, num_heads, -1).transpose(0, 1) for w in (w_q, w_k, w_v))
    scores = q @ k.transpose(1, 2) / math.sqrt(size // num_heads)
    weights = scores.softmax(-1)
    return scores, weights, (weights @ v).reshape(num_tokens, size)
""",
    },
    {
        "question": "q6_multi_head",
        "mistake": "softmax over the heads",
        "score": 3,
        "message": "the softmax runs over the heads",
        "code": """
def multi_head(x_TD, w_q, w_k, w_v, num_heads):
    num_tokens, size = x_TD.shape
    q, k, v = ((x_TD @ w).view(num_tokens, num_heads, -1).transpose(0, 1) for w in (w_q, w_k, w_v))
    scores = q @ k.transpose(1, 2) / math.sqrt(size // num_heads)
    weights = scores.softmax(0)
    return scores, weights, (weights @ v).transpose(0, 1).reshape(num_tokens, size)
""",
    },
    {
        "question": "q7_sample",
        "mistake": "always the best key",
        "score": 2,
        "message": "the same key comes up every time",
        "code": """
def sample_attend(q_TK, k_SK, v_SM):
    chosen_T = (q_TK @ k_SK.T).argmax(-1)
    return chosen_T, v_SM[chosen_T]
""",
    },
    {
        "question": "q7_sample",
        "mistake": "uniform draws",
        "score": 2,
        "message": "all keys come up equally often",
        "code": """
def sample_attend(q_TK, k_SK, v_SM):
    chosen_T = torch.randint(len(k_SK), (len(q_TK),))
    return chosen_T, v_SM[chosen_T]
""",
    },
    {
        "question": "q7_sample",
        "mistake": "no scale",
        "score": 2,
        "message": "the scores are not scaled",
        "code": """
def sample_attend(q_TK, k_SK, v_SM):
    chosen_T = torch.multinomial((q_TK @ k_SK.T).softmax(-1), 1).squeeze(-1)
    return chosen_T, v_SM[chosen_T]
""",
    },
    {
        "question": "q7_sample",
        "mistake": "a mean of values beside the choice",
        "score": 2,
        "message": "Hard attention returns one row of v",
        "code": """
def sample_attend(q_TK, k_SK, v_SM):
    weights_TS = (q_TK @ k_SK.T / math.sqrt(q_TK.shape[-1])).softmax(-1)
    return torch.multinomial(weights_TS, 1).squeeze(-1), weights_TS @ v_SM
""",
    },
    {
        "question": "q7_sample",
        "mistake": "a column of choices",
        "score": 0,
        "message": "squeeze(-1)",
        "code": """
def sample_attend(q_TK, k_SK, v_SM):
    chosen = torch.multinomial((q_TK @ k_SK.T / math.sqrt(q_TK.shape[-1])).softmax(-1), 1)
    return chosen, v_SM[chosen]
""",
    },
    {
        "question": "q8_backward",
        "mistake": "softmax taken for an elementwise function",
        "score": 2,
        "message": "is the sum missing?",
        "code": """
def attend_backward(q_TK, k_SK, v_SM, grad_out_TM):
    scale = 1 / math.sqrt(q_TK.shape[-1])
    weights = (q_TK @ k_SK.T * scale).softmax(-1)
    grad_scores = weights * (grad_out_TM @ v_SM.T) * scale
    return grad_scores @ k_SK, grad_scores.T @ q_TK, weights.T @ grad_out_TM
""",
    },
    {
        "question": "q8_backward",
        "mistake": "scale forgotten on the way back",
        "score": 3,
        "message": "the scale is forgotten on the way back",
        "code": """
def attend_backward(q_TK, k_SK, v_SM, grad_out_TM):
    weights = (q_TK @ k_SK.T / math.sqrt(q_TK.shape[-1])).softmax(-1)
    grad_weights = grad_out_TM @ v_SM.T
    grad_scores = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
    return grad_scores @ k_SK, grad_scores.T @ q_TK, weights.T @ grad_out_TM
""",
    },
    {
        "question": "q8_backward",
        "mistake": "autograd after all",
        "score": 0,
        "message": "your code raised RuntimeError",
        "code": """
def attend_backward(q_TK, k_SK, v_SM, grad_out_TM):
    inputs = [x.requires_grad_() for x in (q_TK, k_SK, v_SM)]
    out = (q_TK @ k_SK.T / math.sqrt(q_TK.shape[-1])).softmax(-1) @ v_SM
    return torch.autograd.grad(out, inputs, grad_out_TM)
""",
    },
    {
        "question": "q9_stream",
        "mistake": "the whole table at once",
        "score": 3,
        "message": "take the scores of one block at a time",
        "code": """
def stream_attend(q_TK, k_SK, v_SM, block):
    return (q_TK @ k_SK.T / math.sqrt(q_TK.shape[-1])).softmax(-1) @ v_SM
""",
    },
    {
        "question": "q9_stream",
        "mistake": "outputs of blocks averaged",
        "score": 1,
        "message": "each block has its own softmax, and the outputs are averaged",
        "code": """
def stream_attend(q_TK, k_SK, v_SM, block):
    outputs = []
    for start in range(0, len(k_SK), block):
        scores = q_TK @ k_SK[start : start + block].T / math.sqrt(q_TK.shape[-1])
        outputs.append(scores.softmax(-1) @ v_SM[start : start + block])
    return sum(outputs) / len(outputs)
""",
    },
    {
        "question": "q9_stream",
        "mistake": "no running maximum",
        "score": 3,
        "message": "subtract the largest score so far",
        "code": """
def stream_attend(q_TK, k_SK, v_SM, block):
    total, result = 0, 0
    for start in range(0, len(k_SK), block):
        exponentials = (q_TK @ k_SK[start : start + block].T / math.sqrt(q_TK.shape[-1])).exp()
        total = total + exponentials.sum(-1, keepdim=True)
        result = result + exponentials @ v_SM[start : start + block]
    return result / total
""",
    },
    {
        "question": "q9_stream",
        "mistake": "sums not rescaled when the maximum grows",
        "score": 1,
        "message": "what was summed before must shrink",
        "code": """
def stream_attend(q_TK, k_SK, v_SM, block):
    largest, total, result = torch.full((len(q_TK), 1), -torch.inf), 0, 0
    for start in range(0, len(k_SK), block):
        scores = q_TK @ k_SK[start : start + block].T / math.sqrt(q_TK.shape[-1])
        largest = torch.maximum(largest, scores.amax(-1, keepdim=True))
        exponentials = (scores - largest).exp()
        total = total + exponentials.sum(-1, keepdim=True)
        result = result + exponentials @ v_SM[start : start + block]
    return result / total
""",
    },
    {
        "question": "q9_stream",
        "mistake": "last block left out",
        "score": 3,
        "message": "the last block, which is not full, is left out",
        "code": """
def stream_attend(q_TK, k_SK, v_SM, block):
    largest, total, result = torch.full((len(q_TK), 1), -torch.inf), 0, 0
    for i in range(len(k_SK) // block):
        keys = slice(i * block, (i + 1) * block)
        scores = q_TK @ k_SK[keys].T / math.sqrt(q_TK.shape[-1])
        new = torch.maximum(largest, scores.amax(-1, keepdim=True))
        shrink, largest = (largest - new).exp(), new
        exponentials = (scores - largest).exp()
        total = total * shrink + exponentials.sum(-1, keepdim=True)
        result = result * shrink + exponentials @ v_SM[keys]
    return result / total
""",
    },
    {
        "question": "q10_judge",
        "mistake": "rates chosen by the test",
        "score": 1,
        "message": "the rates were chosen by the test results",
        "code": """
def judge(first, second):
    rates = [max(arm["test"], key=lambda rate: sum(arm["test"][rate])) for arm in (first, second)]
    differences = [a - b for a, b in zip(first["test"][rates[0]], second["test"][rates[1]])]
    mean, half = statistics.mean(differences), 4.303 * statistics.stdev(differences) / math.sqrt(3)
    return rates[0], rates[1], mean, half, "unclear" if abs(mean) <= half else "first" if mean > 0 else "second"
""",
    },
    {
        "question": "q10_judge",
        "mistake": "edges of the sweep overlooked",
        "score": 3,
        "message": "the sweep must be widened first",
        "code": """
def judge(first, second):
    rates = [max(arm["validation"], key=arm["validation"].get) for arm in (first, second)]
    differences = [a - b for a, b in zip(first["test"][rates[0]], second["test"][rates[1]])]
    mean, half = statistics.mean(differences), 4.303 * statistics.stdev(differences) / math.sqrt(3)
    return rates[0], rates[1], mean, half, "unclear" if abs(mean) <= half else "first" if mean > 0 else "second"
""",
    },
    {
        "question": "q10_judge",
        "mistake": "a threshold in place of the interval, and only some edges",
        "score": 2,
        "message": "is right",
        "code": """
def judge(first, second):
    rates = [max(arm["validation"], key=arm["validation"].get) for arm in (first, second)]
    differences = [a - b for a, b in zip(first["test"][rates[0]], second["test"][rates[1]])]
    mean, half = statistics.mean(differences), 4.303 * statistics.stdev(differences) / math.sqrt(3)
    if rates[0] == max(first["validation"]) or rates[1] == min(second["validation"]):
        return rates[0], rates[1], mean, half, "widen"
    return rates[0], rates[1], mean, half, "unclear" if abs(mean) < 0.02 else "first" if mean > 0 else "second"
""",
    },
    {
        "question": "q10_judge",
        "mistake": "seeds not paired",
        "score": 2,
        "message": "the seeds are not paired",
        "code": """
def judge(first, second):
    rates = [max(arm["validation"], key=arm["validation"].get) for arm in (first, second)]
    one, other = first["test"][rates[0]], second["test"][rates[1]]
    mean = statistics.mean(one) - statistics.mean(other)
    half = 4.303 * math.sqrt((statistics.variance(one) + statistics.variance(other)) / 3)
    edge = any(rate in (min(arm["validation"]), max(arm["validation"])) for rate, arm in zip(rates, (first, second)))
    verdict = "widen" if edge else "unclear" if abs(mean) <= half else "first" if mean > 0 else "second"
    return rates[0], rates[1], mean, half, verdict
""",
    },
]
