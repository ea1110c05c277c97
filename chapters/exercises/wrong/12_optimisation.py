"""Typical wrong answers to the exercises on optimisation, with the marks and the message that each must get."""

BATCH = {
    "noise_scale": """
def noise_scale(gradients_GP, size):
    noise = size * gradients_GP.var(dim=0).sum().item()
    signal = gradients_GP.mean(dim=0).square().sum().item() - noise / (size * len(gradients_GP))
    return noise / signal if signal > 0 else math.inf
""",
    "fit_steps": """
def fit_steps(steps):
    sizes, needed = np.array(list(steps)), np.array(list(steps.values()))
    slope, fewest = np.polyfit(1 / sizes, needed, 1, w=1 / needed)
    return fewest, slope / fewest
""",
    "plan": """
def plan(fewest, critical, machines, stories_a_machine):
    steps = fewest * (1 + critical / (machines * stories_a_machine))
    return steps, steps * machines * stories_a_machine
""",
    "follows": """
follows = {"B", "C", "E"}
""",
}
"""The parts of a right answer to q8_batch, of which each wrong one replaces some."""


def batch(**parts: str) -> str:
    """An answer to q8_batch that is right but for these parts."""
    return "\n".join((BATCH | parts).values())


WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "no memory, no correction, decay without the rate",
        "score": 1,
        "message": "the second step must remember the first gradient",
        "code": """
sgd = [0.2, 1.8]
momentum = [0.04, 1.62]
adam = [0.684, 1.684]
adamw = [0.4, 0.9]
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "uphill",
        "score": 3,
        "message": "this goes uphill",
        "code": """
sgd = [1.8, 2.2]
momentum = [-0.36, 1.52]
adam = [0.9, 1.9]
adamw = [0.85, 1.8]
""",
    },
    {
        "question": "q2_adamw",
        "mistake": "no bias correction",
        "score": 2,
        "message": "the bias correction is missing",
        "code": """
def adamw_step(w, g, state, lr, betas, eps, decay):
    state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g**2
    return w * (1 - lr * decay) - lr * state["m"] / (state["v"].sqrt() + eps)
""",
    },
    {
        "question": "q2_adamw",
        "mistake": "L2 in the gradient",
        "score": 2,
        "message": "the decay is in the gradient",
        "code": """
def adamw_step(w, g, state, lr, betas, eps, decay):
    g = g + decay * w
    t = state["t"] = state.get("t", 0) + 1
    state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g**2
    m, v = state["m"] / (1 - betas[0] ** t), state["v"] / (1 - betas[1] ** t)
    return w - lr * m / (v.sqrt() + eps)
""",
    },
    {
        "question": "q2_adamw",
        "mistake": "epsilon under the root",
        "score": 3,
        "message": "eps stands outside the root",
        "code": """
def adamw_step(w, g, state, lr, betas, eps, decay):
    t = state["t"] = state.get("t", 0) + 1
    state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g**2
    m, v = state["m"] / (1 - betas[0] ** t), state["v"] / (1 - betas[1] ** t)
    return w * (1 - lr * decay) - lr * m / (v + eps).sqrt()
""",
    },
    {
        "question": "q2_adamw",
        "mistake": "nothing remembered",
        "score": 3,
        "message": "nothing is remembered",
        "code": """
def adamw_step(w, g, state, lr, betas, eps, decay):
    return w * (1 - lr * decay) - lr * g / (g.abs() + eps)
""",
    },
    {
        "question": "q3_schedule",
        "mistake": "the first step is wasted",
        "score": 1,
        "message": "the first step has the rate 0",
        "code": """
def rate(step, peak, warmup, total):
    if step < warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - 1 - warmup)))
""",
    },
    {
        "question": "q3_schedule",
        "mistake": "linear decay",
        "score": 2,
        "message": "this decay is linear",
        "code": """
def rate(step, peak, warmup, total):
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * (1 - (step - warmup) / (total - 1 - warmup))
""",
    },
    {
        "question": "q3_schedule",
        "mistake": "ends one step too late",
        "score": 1,
        "message": "divide by total - 1 - warmup",
        "code": """
def rate(step, peak, warmup, total):
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
""",
    },
    {
        "question": "q4_clip",
        "mistake": "each gradient for itself",
        "score": 2,
        "message": "each gradient is clipped for itself",
        "code": """
def clip(gradients, max_norm):
    norm = torch.cat([g.flatten() for g in gradients if g is not None]).norm()
    return [None if g is None else g * min(1.0, max_norm / max(g.norm().item(), 1e-12)) for g in gradients], norm
""",
    },
    {
        "question": "q4_clip",
        "mistake": "adds up the norms",
        "score": 1,
        "message": "the square of the whole norm",
        "code": """
def clip(gradients, max_norm):
    norm = sum(g.norm() for g in gradients if g is not None)
    return [None if g is None else g * min(1.0, max_norm / max(norm.item(), 1e-12)) for g in gradients], norm
""",
    },
    {
        "question": "q4_clip",
        "mistake": "always to the limit",
        "score": 2,
        "message": "clipping only lowers a norm",
        "code": """
def clip(gradients, max_norm):
    norm = torch.cat([g.flatten() for g in gradients if g is not None]).norm()
    return [None if g is None else g * max_norm / norm for g in gradients], norm
""",
    },
    {
        "question": "q4_clip",
        "mistake": "divides by a norm of zero",
        "score": 2,
        "message": "ZeroDivisionError",
        "code": """
def clip(gradients, max_norm):
    norm = torch.stack([g.norm() for g in gradients if g is not None]).norm()
    factor = min(1.0, max_norm / norm.item())
    return [None if g is None else g * factor for g in gradients], norm
""",
    },
    {
        "question": "q5_predict",
        "mistake": "everything grows",
        "score": 1,
        "message": "Adam divides by the size of the gradient",
        "code": """
sgd_step = "grows"
adam_step = "grows"
l2_pull = "grows"
adamw_pull = "grows"
factor = 100
""",
    },
    {
        "question": "q5_predict",
        "mistake": "one term too few",
        "score": 4,
        "message": "a geometric series",
        "code": """
sgd_step = "grows"
adam_step = "stays"
l2_pull = "falls"
adamw_pull = "stays"
factor = 9
""",
    },
    {
        "question": "q6_update",
        "mistake": "mean of means",
        "score": 2,
        "message": "this is the mean of the means",
        "code": """
def update(model, optimizer, micro_batches, max_norm):
    optimizer.zero_grad()
    for x_ND, y_N in micro_batches:
        (F.cross_entropy(model(x_ND), y_N) / len(micro_batches)).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return norm
""",
    },
    {
        "question": "q6_update",
        "mistake": "no zero_grad",
        "score": 3,
        "message": "gradients from before the step were still there",
        "code": """
def update(model, optimizer, micro_batches, max_norm):
    count = sum(len(y_N) for _, y_N in micro_batches)
    for x_ND, y_N in micro_batches:
        (F.cross_entropy(model(x_ND), y_N, reduction="sum") / count).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return norm
""",
    },
    {
        "question": "q6_update",
        "mistake": "clips after the step",
        "score": 2,
        "message": "clipping comes too late",
        "code": """
def update(model, optimizer, micro_batches, max_norm):
    optimizer.zero_grad()
    count = sum(len(y_N) for _, y_N in micro_batches)
    for x_ND, y_N in micro_batches:
        (F.cross_entropy(model(x_ND), y_N, reduction="sum") / count).backward()
    optimizer.step()
    return nn.utils.clip_grad_norm_(model.parameters(), max_norm)
""",
    },
    {
        "question": "q6_update",
        "mistake": "steps after every micro-batch",
        "score": 2,
        "message": "it steps once",
        "code": """
def update(model, optimizer, micro_batches, max_norm):
    count = sum(len(y_N) for _, y_N in micro_batches)
    for x_ND, y_N in micro_batches:
        optimizer.zero_grad()
        (F.cross_entropy(model(x_ND), y_N, reduction="sum") / count).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    return norm
""",
    },
    {
        "question": "q7_resume",
        "mistake": "weights only",
        "score": 1,
        "message": "Adam's two means and its step count are missing",
        "code": """
def save_state(model, optimizer, position):
    return {"model": model.state_dict(), "position": position}

def load_state(state, model, optimizer):
    model.load_state_dict(state["model"])
    return state["position"]
""",
    },
    {
        "question": "q7_resume",
        "mistake": "no random numbers",
        "score": 2,
        "message": "Dropout drew other numbers",
        "code": """
def save_state(model, optimizer, position):
    return copy.deepcopy(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "position": position}
    )

def load_state(state, model, optimizer):
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["position"]
""",
    },
    {
        "question": "q7_resume",
        "mistake": "a view",
        "score": 3,
        "message": "copy them when you save",
        "code": """
def save_state(model, optimizer, position):
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "position": position,
    }

def load_state(state, model, optimizer):
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["position"]
""",
    },
    {
        "question": "q7_resume",
        "mistake": "the position is forgotten",
        "score": 0,
        "message": "should return the position",
        "code": """
def save_state(model, optimizer, position):
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}

def load_state(state, model, optimizer):
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return 0
""",
    },
    {
        "question": "q8_batch",
        "mistake": "the noise of a batch for that of a story",
        "score": 3,
        "message": "that of one story is `size` times as large",
        "code": batch(
            noise_scale="""
def noise_scale(gradients_GP, size):
    noise = gradients_GP.var(dim=0).sum().item()
    signal = gradients_GP.mean(dim=0).square().sum().item() - noise / len(gradients_GP)
    return noise / signal if signal > 0 else math.inf
"""
        ),
    },
    {
        "question": "q8_batch",
        "mistake": "the noise that is left in the mean of all",
        "score": 4,
        "message": "the mean of all gradients still holds noise",
        "code": batch(
            noise_scale="""
def noise_scale(gradients_GP, size):
    return size * gradients_GP.var(dim=0).sum() / gradients_GP.mean(dim=0).square().sum()
"""
        ),
    },
    {
        "question": "q8_batch",
        "mistake": "no degree of freedom is lost",
        "score": 4,
        "message": "both parts are biased",
        "code": batch(
            noise_scale="""
def noise_scale(gradients_GP, size):
    mean_P = gradients_GP.mean(dim=0)
    return size * (gradients_GP - mean_P).square().sum(dim=1).mean() / mean_P.square().sum()
"""
        ),
    },
    {
        "question": "q8_batch",
        "mistake": "a negative noise scale",
        "score": 4,
        "message": "the estimate of |G|² is not positive here",
        "code": batch(
            noise_scale="""
def noise_scale(gradients_GP, size):
    noise = size * gradients_GP.var(dim=0).sum().item()
    return noise / (gradients_GP.mean(dim=0).square().sum().item() - noise / (size * len(gradients_GP)))
"""
        ),
    },
    {
        "question": "q8_batch",
        "mistake": "absolute errors",
        "score": 4,
        "message": "all errors count alike here",
        "code": batch(
            fit_steps="""
def fit_steps(steps):
    sizes, needed = np.array(list(steps)), np.array(list(steps.values()))
    slope, fewest = np.polyfit(1 / sizes, needed, 1)
    return fewest, slope / fewest
"""
        ),
    },
    {
        "question": "q8_batch",
        "mistake": "the slope for the critical size",
        "score": 4,
        "message": "divide it by S_min",
        "code": batch(
            fit_steps="""
def fit_steps(steps):
    sizes, needed = np.array(list(steps)), np.array(list(steps.values()))
    slope, fewest = np.polyfit(1 / sizes, needed, 1, w=1 / needed)
    return fewest, slope
"""
        ),
    },
    {
        "question": "q8_batch",
        "mistake": "machines divide the steps",
        "score": 4,
        "message": "many machines do not divide the number of steps",
        "code": batch(
            plan="""
def plan(fewest, critical, machines, stories_a_machine):
    steps = fewest * (1 + critical / stories_a_machine) / machines
    return steps, steps * machines * stories_a_machine
"""
        ),
    },
    {
        "question": "q8_batch",
        "mistake": "the stories of one machine",
        "score": 4,
        "message": "these are the stories of one machine",
        "code": batch(
            plan="""
def plan(fewest, critical, machines, stories_a_machine):
    steps = fewest * (1 + critical / (machines * stories_a_machine))
    return steps, steps * stories_a_machine
"""
        ),
    },
    {
        "question": "q8_batch",
        "mistake": "steps fall without end",
        "score": 4,
        "message": "D does not follow: more machines make the batch larger",
        "code": batch(follows='follows = {"B", "C", "D", "E"}'),
    },
    {
        "question": "q8_batch",
        "mistake": "one target for all",
        "score": 4,
        "message": "F does not follow: the table holds one target loss",
        "code": batch(follows='follows = {"B", "C", "E", "F"}'),
    },
    {
        "question": "q8_batch",
        "mistake": "biased, absolute, one machine, every statement",
        "score": 1,
        "message": "the mean of all gradients still holds noise",
        "code": batch(
            noise_scale="""
def noise_scale(gradients_GP, size):
    return size * gradients_GP.var(dim=0).sum() / gradients_GP.mean(dim=0).square().sum()
""",
            fit_steps="""
def fit_steps(steps):
    sizes, needed = np.array(list(steps)), np.array(list(steps.values()))
    slope, fewest = np.polyfit(1 / sizes, needed, 1)
    return fewest, slope / fewest
""",
            plan="""
def plan(fewest, critical, machines, stories_a_machine):
    steps = fewest * (1 + critical / stories_a_machine)
    return steps, steps * stories_a_machine
""",
            follows='follows = {"A", "B", "C", "D", "E", "F"}',
        ),
    },
]
