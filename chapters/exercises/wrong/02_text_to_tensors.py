"""Typical wrong answers to the exercises on text, with the marks and the message that each must get."""

WRONG = [
    {
        "question": "q1_pencil",
        "mistake": "the other of two equal pairs",
        "score": 1,
        "message": "the alphabetically first pair is joined",
        "code": """
merges = [("o", "o"), ("oo", "n"), ("m", "oon"), ("n", "oon")]
pieces = ["s", "p", "oon", "s"]
""",
    },
    {
        "question": "q2_batch",
        "mistake": "the mask is read off the ids",
        "score": 2,
        "message": "make the mask from the lengths",
        "code": """
def pad_batch(sequences, pad_id):
    longest = max(map(len, sequences))
    ids = torch.tensor([sequence + [pad_id] * (longest - len(sequence)) for sequence in sequences])
    return ids, ids != pad_id
""",
    },
    {
        "question": "q2_batch",
        "mistake": "padding on the left",
        "score": 1,
        "message": "the padding stands on the left",
        "code": """
def pad_batch(sequences, pad_id):
    longest = max(map(len, sequences))
    ids = torch.tensor([[pad_id] * (longest - len(sequence)) + sequence for sequence in sequences])
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return ids, torch.arange(longest) >= longest - lengths[:, None]
""",
    },
    {
        "question": "q3_predict",
        "mistake": "characters instead of bytes",
        "score": 1,
        "message": "é, as one character, takes two bytes",
        "code": "tokens = [3, 4, 1, 2, 1]",
    },
    {
        "question": "q4_repair",
        "mistake": "only the end of the loop is repaired",
        "score": 2,
        "message": "b + c was learned earlier",
        "code": """
def encode(word, merges):
    symbols = list(word)
    while len(symbols) > 1:
        places = [place for place, pair in enumerate(pairwise(symbols)) if pair in merges]
        if not places:
            break
        place = places[0]
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
    return symbols
""",
    },
    {
        "question": "q4_repair",
        "mistake": "the latest merge first",
        "score": 2,
        "message": "or was learned last",
        "code": """
def encode(word, merges):
    symbols = list(word)
    while len(symbols) > 1:
        places = [place for place, pair in enumerate(pairwise(symbols)) if pair in merges]
        if not places:
            break
        place = max(places, key=lambda place: merges.index((symbols[place], symbols[place + 1])))
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
    return symbols
""",
    },
    {
        "question": "q4_repair",
        "mistake": "only the order is repaired",
        "score": 2,
        "message": "the loop ends too early",
        "code": """
def encode(word, merges):
    symbols = list(word)
    while len(symbols) > 2:
        places = [place for place, pair in enumerate(pairwise(symbols)) if pair in merges]
        if not places:
            break
        place = min(places, key=lambda place: merges.index((symbols[place], symbols[place + 1])))
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
    return symbols
""",
    },
    {
        "question": "q5_packed",
        "mistake": "positions run on",
        "score": 3,
        "message": "they start again at 0 with each text",
        "code": """
def pack_row(lengths, row_length):
    mask = torch.zeros(row_length, row_length, dtype=torch.bool)
    start = 0
    for length in lengths:
        mask[start : start + length, start : start + length] = True
        start += length
    return mask, torch.arange(row_length)
""",
    },
    {
        "question": "q5_packed",
        "mistake": "padding is one more text",
        "score": 3,
        "message": "padding sees padding",
        "code": """
def pack_row(lengths, row_length):
    lengths = [*lengths, row_length - sum(lengths)]
    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return owner[:, None] == owner, torch.cat([torch.arange(length) for length in lengths])
""",
    },
    {
        "question": "q5_packed",
        "mistake": "positions are float",
        "score": 3,
        "message": "an embedding looks rows up by int64",
        "code": """
def pack_row(lengths, row_length):
    mask = torch.zeros(row_length, row_length, dtype=torch.bool)
    positions = torch.zeros(row_length)
    start = 0
    for length in lengths:
        mask[start : start + length, start : start + length] = True
        positions[start : start + length] = torch.arange(length)
        start += length
    return mask, positions
""",
    },
    {
        "question": "q6_windows",
        "mistake": "a last window with nothing new",
        "score": 2,
        "message": "the second window holds only what the first had already",
        "code": """
def cut(num_tokens, size, overlap):
    if num_tokens < size:
        return [(0, num_tokens)]
    return [(start, min(start + size, num_tokens)) for start in range(0, num_tokens, size - overlap)]
""",
    },
    {
        "question": "q6_windows",
        "mistake": "one window for any text",
        "score": 1,
        "message": "a window is longer than",
        "code": """
def cut(num_tokens, size, overlap):
    return [(0, num_tokens)]
""",
    },
    {
        "question": "q6_windows",
        "mistake": "the rest is dropped",
        "score": 2,
        "message": "are in no window",
        "code": """
def cut(num_tokens, size, overlap):
    if num_tokens <= size:
        return [(0, num_tokens)]
    return [(start, start + size) for start in range(0, num_tokens - size + 1, size - overlap)]
""",
    },
    {
        "question": "q7_fair",
        "mistake": "ranked by the loss per token, and nothing excluded",
        "score": 2,
        "message": "does not say what its unknown words are",
        "code": """
def bits_per_byte(nats_per_token, tokens, num_bytes):
    return nats_per_token * tokens / math.log(2) / num_bytes


excluded = set()
ranked = ["B", "E", "A"]
""",
    },
    {
        "question": "q7_fair",
        "mistake": "nats instead of bits",
        "score": 2,
        "message": "these are nats per byte",
        "code": """
def bits_per_byte(nats_per_token, tokens, num_bytes):
    return nats_per_token * tokens / num_bytes


excluded = {"C", "D"}
ranked = ["A", "E", "B"]
""",
    },
    {
        "question": "q8_cuts",
        "mistake": "the best cut instead of the sum",
        "score": 2,
        "message": "this is the best cut alone",
        "code": """
def probability(word, p):
    ways = [1.0]
    for end in range(1, len(word) + 1):
        ways.append(max(ways[start] * p.get(word[start:end], 0.0) for start in range(end)))
    return ways[-1]
""",
    },
    {
        "question": "q8_cuts",
        "mistake": "every place starts with 1",
        "score": 0,
        "message": "only the empty beginning has the probability 1",
        "code": """
def probability(word, p):
    ways = [1.0] * (len(word) + 1)
    for end in range(1, len(word) + 1):
        ways[end] += sum(ways[start] * p.get(word[start:end], 0.0) for start in range(end))
    return ways[-1]
""",
    },
    {
        "question": "q8_cuts",
        "mistake": "only pieces of up to five letters",
        "score": 4,
        "message": "long pieces are left out",
        "code": """
def probability(word, p):
    ways = [1.0]
    for end in range(1, len(word) + 1):
        ways.append(sum(ways[start] * p.get(word[start:end], 0.0) for start in range(max(0, end - 5), end)))
    return ways[-1]
""",
    },
    {
        "question": "q8_cuts",
        "mistake": "all cuts are listed",
        "score": 4,
        "message": "do not list the cuts",
        "code": """
def probability(word, p):
    if not word:
        return 1.0
    return sum(p.get(word[:end], 0.0) * probability(word[end:], p) for end in range(1, len(word) + 1))
""",
    },
    {
        "question": "q8_cuts",
        "mistake": "all cuts are listed, piece by piece",
        "score": 4,
        "message": "do not list the cuts",
        "code": """
def probability(word, p):
    if not word:
        return 1.0
    return sum(q * probability(word[len(piece):], p) for piece, q in p.items() if word.startswith(piece))
""",
    },
    {
        "question": "q7_fair",
        "mistake": "all five are ranked",
        "score": 3,
        "message": "leave them out",
        "code": """
def bits_per_byte(nats_per_token, tokens, num_bytes):
    return nats_per_token * tokens / math.log(2) / num_bytes


excluded = {"C", "D"}
ranked = ["D", "C", "A", "E", "B"]
""",
    },
]
