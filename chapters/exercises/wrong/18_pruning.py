"""Typical wrong answers to the exercises on pruning, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "ranks by value",
        "score": 2,
        "message": "the sign does not matter",
        "code": """
anywhere = [3, 0, 1.4, 2, 0, 0, 1, 0]
pattern = [3, 0, 0, 2, -4, 0, 1, 0]
columns = 3000
bitmap = 3250
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "forgets the columns",
        "score": 2,
        "message": "the columns are missing",
        "code": """
anywhere = [3, 0, 1.4, 2, -4, 0, 0, 0]
pattern = [3, 0, 0, 2, -4, 0, 1, 0]
columns = 2000
bitmap = 3250
""",
    },
    {
        "question": "q2_zeros",
        "mistake": "believes in zeros",
        "score": 1,
        "message": "a zero takes as many bytes",
        "code": """
file = 0.1
after = 0.9
even = 0.5
""",
    },
    {
        "question": "q2_zeros",
        "mistake": "forgets that a column takes room",
        "score": 2,
        "message": "a column number of the same size",
        "code": """
file = 1
after = 0
even = 0.9
""",
    },
    {
        "question": "q2_zeros",
        "mistake": "no number",
        "score": 2,
        "message": "a column number of the same size",
        "code": 'file, after, even = 1, 0, float("nan")',
    },
    {
        "question": "q3_masks",
        "mistake": "layer by layer",
        "score": 2,
        "message": "rank all of them together",
        "code": """
def global_masks(weights, share):
    found = []
    for weight in weights:
        kept = torch.ones(weight.numel(), dtype=torch.bool)
        kept[weight.abs().flatten().argsort()[: round(share * weight.numel())]] = False
        found.append(kept.view_as(weight))
    return found
""",
    },
    {
        "question": "q3_masks",
        "mistake": "ranks by value",
        "score": 2,
        "message": "a large negative weight is large",
        "code": """
def global_masks(weights, share):
    values = torch.cat([weight.flatten() for weight in weights])
    kept = torch.ones(len(values), dtype=torch.bool)
    kept[values.argsort()[: round(share * len(values))]] = False
    return [m.view_as(w) for m, w in zip(kept.split([w.numel() for w in weights]), weights)]
""",
    },
    {
        "question": "q3_masks",
        "mistake": "True for what goes",
        "score": 1,
        "message": "it should mark those that stay",
        "code": """
def global_masks(weights, share):
    sizes = torch.cat([weight.abs().flatten() for weight in weights])
    gone = torch.zeros(len(sizes), dtype=torch.bool)
    gone[sizes.argsort()[: round(share * len(sizes))]] = True
    return [m.view_as(w) for m, w in zip(gone.split([w.numel() for w in weights]), weights)]
""",
    },
    {
        "question": "q3_masks",
        "mistake": "a bound in place of a ranking",
        "score": 2,
        "message": "a bound does not tell equal weights apart",
        "code": """
def global_masks(weights, share):
    sizes = torch.cat([weight.abs().flatten() for weight in weights])
    gone = round(share * len(sizes))
    bound = sizes.sort().values[gone - 1] if gone else -1.0
    return [weight.abs() > bound for weight in weights]
""",
    },
    {
        "question": "q4_training",
        "mistake": "mask before the step",
        "score": 0,
        "message": "the last thing in a step",
        "code": """
def smallest(weight, share):
    gone = torch.zeros(weight.numel(), dtype=torch.bool)
    gone[weight.abs().flatten().argsort()[: round(share * weight.numel())]] = True
    return gone.view_as(weight)


def train_and_prune(layer, optimizer, loss, steps, final):
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss().backward()
        share = final * (1 - (1 - step / steps) ** 3)
        with torch.no_grad():
            layer.weight[smallest(layer.weight, share)] = 0
        optimizer.step()
""",
    },
    {
        "question": "q4_training",
        "mistake": "a straight line",
        "score": 1,
        "message": "this schedule is a straight line",
        "code": """
def smallest(weight, share):
    gone = torch.zeros(weight.numel(), dtype=torch.bool)
    gone[weight.abs().flatten().argsort()[: round(share * weight.numel())]] = True
    return gone.view_as(weight)


def train_and_prune(layer, optimizer, loss, steps, final):
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        with torch.no_grad():
            layer.weight[smallest(layer.weight, final * step / steps)] = 0
""",
    },
    {
        "question": "q4_training",
        "mistake": "the power belongs to the wrong difference",
        "score": 1,
        "message": "a parenthesis closes too early",
        "code": """
def smallest(weight, share):
    gone = torch.zeros(weight.numel(), dtype=torch.bool)
    gone[weight.abs().flatten().argsort()[: round(share * weight.numel())]] = True
    return gone.view_as(weight)


def train_and_prune(layer, optimizer, loss, steps, final):
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        share = final * (1 - (1 - step / steps)) ** 3
        with torch.no_grad():
            layer.weight[smallest(layer.weight, share)] = 0
""",
    },
    {
        "question": "q5_importance",
        "mistake": "size before the sum",
        "score": 1,
        "message": "sum over the features first",
        "code": """
def head_importance(output_THK, gradient_THK):
    return (output_THK * gradient_THK).abs().sum(-1).mean(0)
""",
    },
    {
        "question": "q5_importance",
        "mistake": "tokens cancel",
        "score": 2,
        "message": "tokens with opposite signs cancel",
        "code": """
def head_importance(output_THK, gradient_THK):
    return (output_THK * gradient_THK).sum(-1).mean(0).abs()
""",
    },
    {
        "question": "q6_folding",
        "mistake": "loses the mean",
        "score": 3,
        "message": "their constant contribution is lost",
        "code": """
def fold_neurons(up, down, gone, mean_F):
    kept = [neuron for neuron in range(up.out_features) if neuron not in gone]
    new_up, new_down = nn.Linear(up.in_features, len(kept)), nn.Linear(len(kept), down.out_features)
    with torch.no_grad():
        new_up.weight.copy_(up.weight[kept])
        new_up.bias.copy_(up.bias[kept])
        new_down.weight.copy_(down.weight[:, kept])
        new_down.bias.copy_(down.bias)
    return new_up, new_down
""",
    },
    {
        "question": "q6_folding",
        "mistake": "changes the bias that was passed in",
        "score": 3,
        "message": "have changed",
        "code": """
def fold_neurons(up, down, gone, mean_F):
    kept = [neuron for neuron in range(up.out_features) if neuron not in gone]
    new_up, new_down = nn.Linear(up.in_features, len(kept)), nn.Linear(len(kept), down.out_features)
    with torch.no_grad():
        down.bias += down.weight[:, gone] @ mean_F[gone]
        new_up.weight.copy_(up.weight[kept])
        new_up.bias.copy_(up.bias[kept])
        new_down.weight.copy_(down.weight[:, kept])
        new_down.bias.copy_(down.bias)
    return new_up, new_down
""",
    },
]
