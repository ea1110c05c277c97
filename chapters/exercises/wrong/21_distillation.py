"""Typical wrong answers to the exercises on distillation, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "probabilities divided by the temperature, and no factor",
        "score": 1,
        "message": "the temperature divides the logits",
        "code": """
sharp = [81 / 91, 9 / 91, 1 / 91]
soft = [81 / 182, 9 / 182, 1 / 182]
gradient = [-7 / 39, 2 / 39, 5 / 39]
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "no factor",
        "score": 2,
        "message": "the factor τ² is missing",
        "code": """
sharp = [81 / 91, 9 / 91, 1 / 91]
soft = [9 / 13, 3 / 13, 1 / 13]
gradient = [-7 / 39, 2 / 39, 5 / 39]
""",
    },
    {
        "question": "q2_soft_loss",
        "mistake": "student and teacher exchanged",
        "score": 1,
        "message": "this is KL(student || teacher)",
        "code": """
def soft_loss(student_NV, teacher_NV, tau):
    p_NV, q_NV = (teacher_NV / tau).softmax(-1), (student_NV / tau).softmax(-1)
    return tau**2 * (q_NV * (q_NV / p_NV).log()).sum()
""",
    },
    {
        "question": "q2_soft_loss",
        "mistake": "no factor, and a logarithm of a rounded zero",
        "score": 2,
        "message": "the factor τ² is missing",
        "code": """
def soft_loss(student_NV, teacher_NV, tau):
    p_NV, q_NV = (teacher_NV / tau).softmax(-1), (student_NV / tau).softmax(-1)
    return (p_NV * (p_NV / q_NV).log()).sum()
""",
    },
    {
        "question": "q3_fair",
        "mistake": "the teacher is trained, too",
        "score": 0,
        "message": "the teacher has no backward pass",
        "code": """
def fair_steps(student_blocks, teacher_blocks, steps, times_read):
    return steps * (student_blocks + teacher_blocks) / student_blocks
""",
    },
    {
        "question": "q3_fair",
        "mistake": "answers are not kept",
        "score": 1,
        "message": "keep its answers",
        "code": """
def fair_steps(student_blocks, teacher_blocks, steps, times_read):
    return steps * (3 * student_blocks + teacher_blocks) / (3 * student_blocks)
""",
    },
    {
        "question": "q4_limits",
        "mistake": "one factor, in bits",
        "score": 1,
        "message": "the division by τ is one factor 2",
        "code": """
shrinks = 2
entropy = 3
equal = 0
""",
    },
    {
        "question": "q4_limits",
        "mistake": "an entropy in place of a norm",
        "score": 2,
        "message": "which is zero where q = p",
        "code": """
shrinks = 4
entropy = math.log(8)
equal = math.log(8)
""",
    },
    {
        "question": "q5_whole",
        "mistake": "every position counts",
        "score": 2,
        "message": "Where there is no label nothing is asked",
        "code": """
def distilled_loss(student_BTV, teacher_BTV, labels_BT, tau, weight):
    hard = F.cross_entropy(student_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORE, reduction="sum")
    log_p, log_q = (teacher_BTV.detach() / tau).log_softmax(-1), (student_BTV / tau).log_softmax(-1)
    return (1 - weight) * hard + weight * tau**2 * F.kl_div(log_q, log_p, reduction="sum", log_target=True)
""",
    },
    {
        "question": "q5_whole",
        "mistake": "the teacher gets a gradient",
        "score": 3,
        "message": "the teacher got a gradient",
        "code": """
def distilled_loss(student_BTV, teacher_BTV, labels_BT, tau, weight):
    asked = labels_BT != IGNORE
    q_NV, p_NV = student_BTV[asked], teacher_BTV[asked]
    hard = F.cross_entropy(q_NV, labels_BT[asked], reduction="sum")
    log_p_NV, log_q_NV = (p_NV / tau).log_softmax(-1), (q_NV / tau).log_softmax(-1)
    return (1 - weight) * hard + weight * tau**2 * F.kl_div(log_q_NV, log_p_NV, reduction="sum", log_target=True)
""",
    },
    {
        "question": "q5_whole",
        "mistake": "the student learns from the labels alone",
        "score": 3,
        "message": "Both parts of the loss must reach the student",
        "code": """
def distilled_loss(student_BTV, teacher_BTV, labels_BT, tau, weight):
    asked = labels_BT != IGNORE
    q_NV, p_NV = student_BTV[asked], teacher_BTV[asked]
    hard = F.cross_entropy(q_NV, labels_BT[asked], reduction="sum")
    with torch.no_grad():
        log_p_NV, log_q_NV = (p_NV / tau).log_softmax(-1), (q_NV / tau).log_softmax(-1)
    return (1 - weight) * hard + weight * tau**2 * F.kl_div(log_q_NV, log_p_NV, reduction="sum", log_target=True)
""",
    },
    {
        "question": "q6_copy",
        "mistake": "counted from 0",
        "score": 0,
        "message": "counted from 1",
        "code": """
def student_state(teacher_state, layers):
    state = {name: tensor for name, tensor in teacher_state.items() if ".layers." not in name}
    for place, number in enumerate(layers):
        for part in ("up.weight", "norm.weight"):
            state[f"decoder.layers.{place}.{part}"] = teacher_state[f"decoder.layers.{number % 6}.{part}"]
    return state
""",
    },
    {
        "question": "q6_copy",
        "mistake": "block 1 is taken for block 11",
        "score": 2,
        "message": "too much",
        "code": """
def student_state(teacher_state, layers):
    prefix = "decoder.layers."
    state = {name: tensor for name, tensor in teacher_state.items() if not name.startswith(prefix)}
    for place, number in enumerate(layers):
        block = f"{prefix}{number - 1}"
        for name, tensor in teacher_state.items():
            if name.startswith(block):
                state[f"{prefix}{place}" + name.removeprefix(block)] = tensor
    return state
""",
    },
    {
        "question": "q7_bugs",
        "mistake": "only the teacher is repaired",
        "score": 1,
        "message": "F.kl_div takes the student's log-probabilities first",
        "code": """
def distil(student, teacher, ids_BT, labels_BT, tau):
    teacher.eval()
    with torch.no_grad():
        log_p_BTV = (teacher(ids_BT) / tau).log_softmax(-1)
    log_q_BTV = (student(ids_BT) / tau).log_softmax(-1)
    loss = F.kl_div(log_p_BTV, log_q_BTV, reduction="sum", log_target=True) / ids_BT.numel()
    return loss
""",
    },
    {
        "question": "q7_bugs",
        "mistake": "padding still counts",
        "score": 3,
        "message": "positions without a label count",
        "code": """
def distil(student, teacher, ids_BT, labels_BT, tau):
    teacher.eval()
    with torch.no_grad():
        log_p_BTV = (teacher(ids_BT) / tau).log_softmax(-1)
    log_q_BTV = (student(ids_BT) / tau).log_softmax(-1)
    loss = tau**2 * F.kl_div(log_q_BTV, log_p_BTV, reduction="sum", log_target=True) / ids_BT.numel()
    return loss
""",
    },
    {
        "question": "q7_bugs",
        "mistake": "the teacher answers with dropout",
        "score": 0,
        "message": "the teacher is in training mode",
        "code": """
def distil(student, teacher, ids_BT, labels_BT, tau):
    teacher.train()
    asked = labels_BT != IGNORE
    with torch.no_grad():
        log_p_NV = (teacher(ids_BT)[asked] / tau).log_softmax(-1)
    log_q_NV = (student(ids_BT)[asked] / tau).log_softmax(-1)
    loss = tau**2 * F.kl_div(log_q_NV, log_p_NV, reduction="batchmean", log_target=True)
    teacher.eval()
    return loss
""",
    },
]
