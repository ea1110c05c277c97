"""Typical wrong answers to the exercises on mixed precision, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "ties always go down",
        "score": 2,
        "message": "a tie does not always go down",
        "code": """
odd = 2048
even = 2050
bf16 = 256
tiny = 0
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "every number exists",
        "score": 0,
        "message": "no odd numbers above 2048",
        "code": """
odd = 2049
even = 2051
bf16 = 257
tiny = 2**-25
""",
    },
    {
        "question": "q2_ones",
        "mistake": "only the largest number counts",
        "score": 0,
        "message": "the ones are lost long before",
        "code": """
fp16 = 65504
bf16 = 3.39e38
mean = 1
""",
    },
    {
        "question": "q2_ones",
        "mistake": "one power too early",
        "score": 1,
        "message": "1024 has spacing 1 still",
        "code": """
fp16 = 1024
bf16 = 128
mean = 256 / 4096
""",
    },
    {
        "question": "q3_scale",
        "mistake": "an overflow does not break the streak",
        "score": 2,
        "message": "set the streak back to 0",
        "code": """
def next_scale(scale, streak, overflow, interval):
    if overflow:
        return scale / 2, streak
    if streak + 1 == interval:
        return scale * 2, 0
    return scale, streak + 1
""",
    },
    {
        "question": "q3_scale",
        "mistake": "doubles one step late",
        "score": 1,
        "message": "good steps in a row",
        "code": """
def next_scale(scale, streak, overflow, interval):
    if overflow:
        return scale / 2, 0
    if streak == interval:
        return scale * 2, 0
    return scale, streak + 1
""",
    },
    {
        "question": "q4_step",
        "mistake": "clips before unscaling",
        "score": 1,
        "message": "clipped before it was unscaled",
        "code": """
def train_step(loss, parameters, optimizer, scaler, schedule, max_norm):
    scaler.scale(loss).backward()
    nn.utils.clip_grad_norm_(parameters, max_norm)
    before = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    if scaler.get_scale() >= before:
        schedule.step()
    optimizer.zero_grad()
""",
    },
    {
        "question": "q4_step",
        "mistake": "the schedule does not wait",
        "score": 3,
        "message": "moved on a skipped step",
        "code": """
def train_step(loss, parameters, optimizer, scaler, schedule, max_norm):
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(parameters, max_norm)
    scaler.step(optimizer)
    scaler.update()
    schedule.step()
    optimizer.zero_grad()
""",
    },
    {
        "question": "q4_step",
        "mistake": "steps the optimiser itself",
        "score": 2,
        "message": "let the scaler step, not the optimiser",
        "code": """
def train_step(loss, parameters, optimizer, scaler, schedule, max_norm):
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()
    scaler.update()
    schedule.step()
    optimizer.zero_grad()
""",
    },
    {
        "question": "q4_step",
        "mistake": "looks at the loss, not at the skipped step",
        "score": 3,
        "message": "moved on a skipped step",
        "code": """
def train_step(loss, parameters, optimizer, scaler, schedule, max_norm):
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(parameters, max_norm)
    scaler.step(optimizer)
    scaler.update()
    if loss.isfinite():
        schedule.step()
    optimizer.zero_grad()
""",
    },
    {
        "question": "q5_stochastic",
        "mistake": "rounds to the nearest",
        "score": 1,
        "message": "it must be left to chance",
        "code": """
def stochastic_round(x, spacing):
    return (x / spacing).round() * spacing
""",
    },
    {
        "question": "q5_stochastic",
        "mistake": "a fair coin",
        "score": 2,
        "message": "as much more often as it is nearer",
        "code": """
def stochastic_round(x, spacing):
    steps = x / spacing
    up = (torch.rand_like(steps) < 0.5) & (steps != steps.floor())
    return spacing * (steps.floor() + up)
""",
    },
    {
        "question": "q5_stochastic",
        "mistake": "adds a random number to a large multiple",
        "score": 2,
        "message": "a multiple that is large beside the spacing has moved",
        "code": """
def stochastic_round(x, spacing):
    steps = x / spacing
    return spacing * (steps + torch.rand_like(steps)).floor()
""",
    },
    {
        "question": "q5_stochastic",
        "mistake": "the remainder is not divided by the spacing",
        "score": 2,
        "message": "four fifths of the way up",
        "code": """
def stochastic_round(x, spacing):
    low = spacing * (x / spacing).floor()
    return low + spacing * (torch.rand_like(x) < x - low)
""",
    },
    {
        "question": "q5_stochastic",
        "mistake": "NaN",
        "score": 0,
        "message": "not every result is a multiple",
        "code": """
def stochastic_round(x, spacing):
    return x * float("nan")
""",
    },
    {
        "question": "q6_round",
        "mistake": "truncates",
        "score": 0,
        "message": "round to a multiple",
        "code": """
def round_to(x, exponent_bits, fraction_bits):
    _, exponent = torch.frexp(x)
    spacing = torch.ldexp(torch.ones_like(x), exponent - 1 - fraction_bits)
    return (x / spacing).trunc() * spacing
""",
    },
    {
        "question": "q6_round",
        "mistake": "no subnormal numbers, no infinity",
        "score": 2,
        "message": "the spacing of fp16 stays",
        "code": """
def round_to(x, exponent_bits, fraction_bits):
    _, exponent = torch.frexp(x)
    spacing = torch.ldexp(torch.ones_like(x), exponent - 1 - fraction_bits)
    return (x / spacing).round() * spacing
""",
    },
    {
        "question": "q6_round",
        "mistake": "the exponent of fp16 in every format",
        "score": 2,
        "message": "Below 2 to the -126",
        "code": """
def round_to(x, exponent_bits, fraction_bits):
    _, exponent = torch.frexp(x)
    exponent = (exponent - 1).clamp(min=-14)
    spacing = torch.ldexp(torch.ones_like(x), exponent - fraction_bits)
    rounded = (x / spacing).round() * spacing
    return torch.where(rounded.abs() >= 65536, x.sign() * math.inf, rounded)
""",
    },
]
