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
        "message": "a letter with an accent takes two bytes",
        "code": "tokens = [3, 4, 1, 2, 1]",
    },
    {
        "question": "q4_longest",
        "mistake": "the known part of an unknown word is kept",
        "score": 2,
        "message": "the whole word is unknown",
        "code": """
def match(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(len(word), start, -1):
            if prefix + word[start:end] in vocabulary:
                pieces.append(prefix + word[start:end])
                start = end
                break
        else:
            return [*pieces, "[UNK]"]
    return pieces
""",
    },
    {
        "question": "q4_longest",
        "mistake": "no mark inside the word",
        "score": 2,
        "message": "inside a word a piece begins with ##",
        "code": """
def match(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            if word[start:end] in vocabulary:
                pieces.append(word[start:end])
                start = end
                break
        else:
            return ["[UNK]"]
    return pieces
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
        "question": "q7_train",
        "mistake": "words are not weighed",
        "score": 3,
        "message": "weigh a pair by how often its word occurs",
        "code": """
def train(word_counts, num_merges):
    words = [list(word) for word in word_counts]
    merges = []
    for _ in range(num_merges):
        counts = Counter(pair for symbols in words for pair in pairwise(symbols))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for index, symbols in enumerate(words):
            joined = []
            for symbol in symbols:
                if joined and (joined[-1], symbol) == best:
                    joined[-1] += symbol
                else:
                    joined.append(symbol)
            words[index] = joined
    return merges
""",
    },
]
