"""Typical wrong answers to the exercises on quantisation, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "zero point forgotten in the sum",
        "score": 2,
        "message": "the zero point's part is missing",
        "code": """
weights = [3, -2, 1]
zero_point = -1
inputs = [3, 0, -4]
total = 5
product = 0.75
""",
    },
    {
        "question": "q1_pencil",
        "mistake": "cut off, and the zero point not added",
        "score": 0,
        "message": "round to the nearest integer",
        "code": """
weights = [3, -1, 0]
zero_point = -7
inputs = [4, 1, -3]
total = 12
product = 1.8
""",
    },
    {
        "question": "q2_affine",
        "mistake": "a range without zero",
        "score": 2,
        "message": "the range has to hold 0",
        "code": """
def affine(x, bits):
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = ((x.max() - x.min()) / (highest - lowest)).item()
    zero_point = min(max(round(lowest - x.min().item() / scale), lowest), highest)
    return ((x / scale).round() + zero_point).clamp(lowest, highest), scale, zero_point
""",
    },
    {
        "question": "q2_affine",
        "mistake": "floor instead of round",
        "score": 2,
        "message": "round() should round",
        "code": """
def affine(x, bits):
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = (high - low) / (highest - lowest)
    zero_point = min(max(round(lowest - low / scale), lowest), highest)
    return ((x / scale + 1e-6).floor() + zero_point).clamp(lowest, highest), scale, zero_point
""",
    },
    {
        "question": "q2_affine",
        "mistake": "a range without zero, and a zero point that no int8 holds",
        "score": 2,
        "message": "no int8 holds the zero point",
        "code": """
def affine(x, bits):
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = ((x.max() - x.min()) / (highest - lowest)).item()
    zero_point = round(lowest - x.min().item() / scale)
    return ((x / scale).round() + zero_point).clamp(lowest, highest), scale, zero_point
""",
    },
    {
        "question": "q2_affine",
        "mistake": "a scale that is no number",
        "score": 0,
        "message": "the scale positive and finite",
        "code": """
def affine(x, bits):
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = ((x.max() - x.min()) / (highest - lowest)).item()
    return (x / scale).round().clamp(lowest, highest), float("nan"), 0
""",
    },
    {
        "question": "q3_product",
        "mistake": "zero point forgotten",
        "score": 2,
        "message": "stands for 0",
        "code": """
def integer_linear(qx_NK, scale_x, zero_x, qw_MK, scale_M1):
    return (qx_NK.long() @ qw_MK.long().T) * scale_x * scale_M1.T
""",
    },
    {
        "question": "q3_product",
        "mistake": "the scale on the wrong axis",
        "score": 0,
        "message": "",
        "code": """
def integer_linear(qx_NK, scale_x, zero_x, qw_MK, scale_M1):
    total_NM = qx_NK.long() @ qw_MK.long().T - zero_x * qw_MK.long().sum(-1)
    return total_NM * scale_x * scale_M1
""",
    },
    {
        "question": "q3_product",
        "mistake": "summed in int8",
        "score": 1,
        "message": "int8 holds no more than 127",
        "code": """
def integer_linear(qx_NK, scale_x, zero_x, qw_MK, scale_M1):
    total_NM = (qx_NK.long() @ qw_MK.long().T).to(torch.int8).float()
    return (total_NM - zero_x * qw_MK.long().sum(-1)) * scale_x * scale_M1.T
""",
    },
    {
        "question": "q4_predict",
        "mistake": "one row spoils the others, and a small column rounds well",
        "score": 1,
        "message": "its error is multiplied by the large input",
        "code": """
scale_growth = 64
inputs_error = "grows"
weights_error = "stays"
row_error = "grows"
matrix_error = "grows"
""",
    },
    {
        "question": "q4_predict",
        "mistake": "the scale as a root",
        "score": 2,
        "message": "the largest number over 127",
        "code": """
scale_growth = 8
inputs_error = "grows"
weights_error = "grows"
row_error = "stays"
matrix_error = "grows"
""",
    },
    {
        "question": "q5_observe",
        "mistake": "padding looked at",
        "score": 2,
        "message": "real tokens only",
        "code": """
def observe(batches):
    low, high = torch.zeros(()), torch.zeros(())
    for x_BTD, mask_BT in batches:
        low, high = torch.minimum(low, x_BTD.min()), torch.maximum(high, x_BTD.max())
    return low, high
""",
    },
    {
        "question": "q5_observe",
        "mistake": "the last batch wins",
        "score": 2,
        "message": "only the last batch counts",
        "code": """
def observe(batches):
    for x_BTD, mask_BT in batches:
        real = x_BTD[mask_BT]
        low, high = real.min().clamp(max=0), real.max().clamp(min=0)
    return low, high
""",
    },
    {
        "question": "q5_observe",
        "mistake": "a range that ends below zero",
        "score": 2,
        "message": "Zero needs an integer of its own",
        "code": """
def observe(batches):
    low, high = torch.zeros(()), torch.tensor(-torch.inf)
    for x_BTD, mask_BT in batches:
        real = x_BTD[mask_BT]
        low, high = torch.minimum(low, real.min()), torch.maximum(high, real.max())
    return low, high
""",
    },
    {
        "question": "q6_smooth",
        "mistake": "no root",
        "score": 2,
        "message": "without its root",
        "code": """
def smooth(x_NK, w_MK):
    return x_NK.abs().amax(0).clamp(min=1e-6) / w_MK.abs().amax(0).clamp(min=1e-6)
""",
    },
    {
        "question": "q6_smooth",
        "mistake": "a channel of zeros divides by zero",
        "score": 3,
        "message": "so clamp",
        "code": """
def smooth(x_NK, w_MK):
    return (x_NK.abs().amax(0) / w_MK.abs().amax(0)).sqrt()
""",
    },
    {
        "question": "q6_smooth",
        "mistake": "factors that make the inputs overflow",
        "score": 1,
        "message": "Take the root of the ratio",
        "code": """
def smooth(x_NK, w_MK):
    return torch.full((x_NK.shape[1],), 1e-42)
""",
    },
    {
        "question": "q7_straight",
        "mistake": "clipped numbers get a gradient",
        "score": 2,
        "message": "they cannot move the output",
        "code": """
def round_through(x, scale, bits):
    highest = 2 ** (bits - 1) - 1
    rounded = (x / scale).round().clamp(-highest, highest) * scale
    return x + (rounded - x).detach()
""",
    },
    {
        "question": "q7_straight",
        "mistake": "no straight-through",
        "score": 1,
        "message": "rounding has a gradient of zero",
        "code": """
def round_through(x, scale, bits):
    highest = 2 ** (bits - 1) - 1
    return (x / scale).round().clamp(-highest, highest) * scale
""",
    },
    {
        "question": "q7_straight",
        "mistake": "twice the bits in place of a power of two",
        "score": 2,
        "message": "clip to -3..3 (3 bits",
        "code": """
def round_through(x, scale, bits):
    highest = 2 * bits - 1
    inside = x.clamp(-highest * scale, highest * scale)
    rounded = (inside / scale).round() * scale
    return inside + (rounded - inside).detach()
""",
    },
]
