"""Typical wrong answers to the exercises on optimisation, with the marks and the message that each must get."""

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
]
