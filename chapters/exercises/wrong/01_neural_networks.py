"""Typical wrong answers to the exercises on neural networks, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "a node that is used twice is counted once",
        "score": 1,
        "message": "the gradients of both are added",
        "code": 'gradients = {"v": -4, "h": -8, "w": -24, "b": -8}',
    },
    {
        "question": "q1_pencil",
        "mistake": "the bias gets the input too",
        "score": 2,
        "message": "its derivative is 1, not x",
        "code": 'gradients = {"v": -4, "h": -16, "w": -48, "b": -48}',
    },
    {
        "question": "q1_pencil",
        "mistake": "NaN is no number",
        "score": 0,
        "message": "the gradient of v is not nan",
        "code": 'gradients = dict.fromkeys("vhwb", float("nan"))',
    },
    {
        "question": "q2_predict",
        "mistake": "bits instead of nats",
        "score": 1,
        "message": "these are bits",
        "code": "losses = [9.97, 9.97, 1.0, 50.69]",
    },
    {
        "question": "q2_predict",
        "mistake": "the second favourite is forgotten",
        "score": 2,
        "message": "the sum is 2",
        "code": "losses = [6.91, 6.91, 0.69, 50]",
    },
    {
        "question": "q3_softmax",
        "mistake": "exponentials of large scores",
        "score": 2,
        "message": "subtract each row's largest logit first",
        "code": """
def loss_and_gradient(logits_BV, labels_B):
    p_BV = logits_BV.exp() / logits_BV.exp().sum(-1, keepdim=True)
    rows = torch.arange(len(labels_B))
    gradient_BV = p_BV.clone()
    gradient_BV[rows, labels_B] -= 1
    return -p_BV[rows, labels_B].log().mean(), gradient_BV / len(labels_B)
""",
    },
    {
        "question": "q3_softmax",
        "mistake": "the loss is shifted, the gradient is not",
        "score": 2,
        "message": "Take it from the shifted logits too",
        "code": """
def loss_and_gradient(logits_BV, labels_B):
    rows = torch.arange(len(labels_B))
    shifted_BV = logits_BV - logits_BV.max(-1, keepdim=True).values
    log_p_BV = shifted_BV - shifted_BV.exp().sum(-1, keepdim=True).log()
    gradient_BV = (logits_BV.exp() / logits_BV.exp().sum(-1, keepdim=True)).nan_to_num()
    gradient_BV[rows, labels_B] -= 1
    return -log_p_BV[rows, labels_B].mean(), gradient_BV / len(labels_B)
""",
    },
    {
        "question": "q3_softmax",
        "mistake": "autograd after all",
        "score": 0,
        "message": "your code raised RuntimeError",
        "code": """
def loss_and_gradient(logits_BV, labels_B):
    logits_BV.requires_grad_()
    loss = F.cross_entropy(logits_BV, labels_B)
    return loss, torch.autograd.grad(loss, logits_BV)[0]
""",
    },
    {
        "question": "q3_softmax",
        "mistake": "the gradient of the sum",
        "score": 2,
        "message": "divided by the batch size too",
        "code": """
def loss_and_gradient(logits_BV, labels_B):
    log_p_BV = logits_BV - logits_BV.max(-1, keepdim=True).values
    log_p_BV = log_p_BV - log_p_BV.exp().sum(-1, keepdim=True).log()
    rows = torch.arange(len(labels_B))
    gradient_BV = log_p_BV.exp()
    gradient_BV[rows, labels_B] -= 1
    return -log_p_BV[rows, labels_B].mean(), gradient_BV
""",
    },
    {
        "question": "q3_softmax",
        "mistake": "the softmax runs over the batch",
        "score": 0,
        "message": "belongs over the last axis",
        "code": """
def loss_and_gradient(logits_BV, labels_B):
    p_BV = (logits_BV - logits_BV.max()).exp()
    p_BV = p_BV / p_BV.sum(0, keepdim=True)
    rows = torch.arange(len(labels_B))
    gradient_BV = p_BV.clone()
    gradient_BV[rows, labels_B] -= 1
    return -p_BV[rows, labels_B].log().mean(), gradient_BV / len(labels_B)
""",
    },
    {
        "question": "q4_layer",
        "mistake": "ReLU passes everything",
        "score": 1,
        "message": "ReLU is missing",
        "code": """
def layer_backward(x_BI, W_IF, b_F, g_BF):
    return g_BF @ W_IF.T, x_BI.T @ g_BF, g_BF.sum(0)
""",
    },
    {
        "question": "q4_layer",
        "mistake": "the bias gets the mean",
        "score": 3,
        "message": "gradients are added",
        "code": """
def layer_backward(x_BI, W_IF, b_F, g_BF):
    g_BF = g_BF * (x_BI @ W_IF + b_F > 0)
    return g_BF @ W_IF.T, x_BI.T @ g_BF, g_BF.mean(0)
""",
    },
    {
        "question": "q4_layer",
        "mistake": "autograd after all",
        "score": 0,
        "message": "your code raised RuntimeError",
        "code": """
def layer_backward(x_BI, W_IF, b_F, g_BF):
    inputs = [each.detach().requires_grad_() for each in (x_BI, W_IF, b_F)]
    return torch.autograd.grad(F.relu(inputs[0] @ inputs[1] + inputs[2]), inputs, g_BF)
""",
    },
    {
        "question": "q5_repair",
        "mistake": "only the softmax is removed",
        "score": 1,
        "message": "gradients of earlier steps are still there",
        "code": """
def train(model, x_BI, y_B, steps, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(x_BI), y_B)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
""",
    },
    {
        "question": "q5_repair",
        "mistake": "only the gradients are zeroed",
        "score": 0,
        "message": "the softmax is applied twice",
        "code": """
def train(model, x_BI, y_B, steps, rate):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(x_BI).softmax(-1), y_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
""",
    },
    {
        "question": "q6_discount",
        "mistake": "the lower model counts occurrences",
        "score": 1,
        "message": "uses how often a word occurs",
        "code": """
def kneser_ney_bigrams(counts_UV, d):
    lower_V = counts_UV.sum(0) / counts_UV.sum()
    totals_U1 = counts_UV.sum(1, keepdim=True)
    saved_U1 = d * (counts_UV > 0).sum(1, keepdim=True)
    return ((counts_UV - d).clamp(min=0) + saved_U1 * lower_V) / totals_U1
""",
    },
    {
        "question": "q6_discount",
        "mistake": "nothing for a context that was never seen",
        "score": 2,
        "message": "0 / 0 is no probability",
        "code": """
def kneser_ney_bigrams(counts_UV, d):
    seen_UV = (counts_UV > 0).double()
    lower_V = seen_UV.sum(0) / seen_UV.sum()
    saved_U1 = d * seen_UV.sum(1, keepdim=True)
    return ((counts_UV - d).clamp(min=0) + saved_U1 * lower_V) / counts_UV.sum(1, keepdim=True)
""",
    },
    {
        "question": "q6_discount",
        "mistake": "logarithms of negative numbers",
        "score": 0,
        "message": "sums to nan",
        "code": """
def kneser_ney_bigrams(counts_UV, d):
    seen_UV = (counts_UV > 0).double()
    lower_V = seen_UV.sum(0) / seen_UV.sum()
    totals_U1 = counts_UV.sum(1, keepdim=True)
    kept_UV = ((counts_UV - d).log() - totals_U1.log()).exp()
    return kept_UV + d * seen_UV.sum(1, keepdim=True) / totals_U1 * lower_V
""",
    },
    {
        "question": "q7_floor",
        "mistake": "pieces ranked as if they were words",
        "score": 2,
        "message": "a word has two pieces",
        "code": """
def excess_bits(nats, pieces, floor):
    return (nats * pieces - floor) / math.log(2)


impossible = {"B"}
ranked = ["E", "C", "A"]
""",
    },
    {
        "question": "q7_floor",
        "mistake": "nats, and all that is below the floor is impossible",
        "score": 1,
        "message": "these are nats",
        "code": """
def excess_bits(nats, pieces, floor):
    return nats * pieces - floor


impossible = {"B", "D"}
ranked = ["C", "A", "E"]
""",
    },
    {
        "question": "q8_network",
        "mistake": "logits instead of log-probabilities",
        "score": 0,
        "message": "return log-probabilities, not logits",
        "code": """
def learn(ids, vocab_size):
    table = torch.zeros(vocab_size, vocab_size)
    table.index_put_((ids[:-1], ids[1:]), torch.ones(len(ids) - 1), accumulate=True)
    return lambda contexts: table[contexts[:, 1]]
""",
    },
    {
        "question": "q8_network",
        "mistake": "no hidden layer",
        "score": 1,
        "message": "does a hidden layer with a bend combine them",
        "code": """
def learn(ids, vocab_size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(vocab_size, 8), nn.Flatten(), nn.Linear(16, vocab_size))
    contexts, following = ids.unfold(0, 2, 1)[:-1], ids[2:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(300):
        rows = torch.randint(len(following), (128,))
        optimizer.zero_grad()
        F.cross_entropy(model(contexts[rows]), following[rows]).backward()
        optimizer.step()
    return lambda contexts: model(contexts).log_softmax(-1)
""",
    },
]
