"""Tagged sentences: schemes agree, wrong tags are named with their line, and a tag is at its word's first token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.data.conll import align, first_wrong_tag, read_conll, tag_names, tags_of_words, to_bio
from plm_core.data.examples import TaggedSentence
from plm_core.data.label_names import LabelNames
from plm_core.data.labels import IGNORE
from plm_core.data.tokenizer_training import train_tokenizer_of_kind

SENTENCE = TaggedSentence(
    ("Annabel", "Lee", "met", "Bob", "in", "New", "York", "."),
    ("B-PER", "I-PER", "O", "B-PER", "O", "B-LOC", "I-LOC", "O"),
)
NAMES = tag_names([SENTENCE], "train")
TEXTS = ["Annabel met Bob in York", "Lee met Ann in New York .", "Annabel Lee met Bob in New York ."] * 3


def written(tmp_path, content: str | bytes):
    path = tmp_path / "a.conll"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_sentences_are_read_whatever_stands_between_them(tmp_path):
    lines = [f"{word} X {tag}" for word, tag in zip(SENTENCE.words, SENTENCE.tags, strict=True)]
    content = "-DOCSTART- X O\n\n" + "\n".join(lines) + "\n \n\nHi\tX\tO\r\n"
    path = written(tmp_path, content)
    assert read_conll(path) == [SENTENCE, TaggedSentence(("Hi",), ("O",))]
    assert read_conll(path, tag_column=1, scheme=None)[1] == TaggedSentence(("Hi",), ("X",))
    swapped = written(tmp_path, "O\tAnn\n")
    assert read_conll(swapped, word_column=1, tag_column=0) == [TaggedSentence(("Ann",), ("O",))]


@pytest.mark.parametrize(
    ("scheme", "tags", "bio"),
    [
        ("iob1", "I-PER I-PER B-PER O I-LOC I-PER", "B-PER I-PER B-PER O B-LOC B-PER"),
        ("bioes", "S-PER O B-LOC I-LOC E-LOC S-LOC", "B-PER O B-LOC I-LOC I-LOC B-LOC"),
        ("bio", "B-PER I-PER B-PER O B-LOC B-PER", "B-PER I-PER B-PER O B-LOC B-PER"),
    ],
)
def test_every_scheme_is_read_as_bio(tmp_path, scheme, tags, bio):
    path = written(tmp_path, "".join(f"w{n} {tag}\n" for n, tag in enumerate(tags.split())))
    assert read_conll(path, scheme=scheme)[0].tags == tuple(bio.split())


def test_slips_are_repaired_on_request_as_the_scorer_of_the_shared_task_reads_them(tmp_path):
    path = written(tmp_path, "a I-LOC\nb I-LOC\nc I-PER\nd O\ne B-PER\nf I-PER\n")
    assert read_conll(path, repair=True)[0].tags == ("B-LOC", "I-LOC", "B-PER", "O", "B-PER", "I-PER")
    with pytest.raises(ValueError, match="line 1: 'E-LOC' is no tag of the scheme bio"):
        read_conll(written(tmp_path, "a E-LOC\n"), repair=True)


@given(st.lists(st.tuples(st.sampled_from(["PER", "LOC", None]), st.integers(1, 3)), max_size=6))
def test_the_schemes_say_the_same(names):
    """Names of any kinds and lengths, written in each scheme; two names of one kind may touch."""
    bio, iob1, bioes, before = [], [], [], None
    for kind, length in names:
        if kind is None:
            for tags in (bio, iob1, bioes):
                tags += ["O"] * length
        else:
            bio += [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
            iob1 += [f"B-{kind}" if before == kind else f"I-{kind}"] + [f"I-{kind}"] * (length - 1)
            bioes += [f"S-{kind}"] if length == 1 else [f"B-{kind}"] + [f"I-{kind}"] * (length - 2) + [f"E-{kind}"]
        before = kind
    for tags, scheme in ((bio, "bio"), (iob1, "iob1"), (bioes, "bioes")):
        assert first_wrong_tag(tags, scheme) is None
        assert to_bio(tags, scheme) == bio


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a O\nb I-PER\n", {}, r"a\.conll, line 2: I-PER cannot follow O \(is it scheme='iob1'\?"),
        ("I-PER-less O\n\nb I-PER\n", {}, "line 3: I-PER cannot follow the beginning of a sentence"),
        ("a B-PER\nb I-LOC\n", {}, "line 2: I-LOC cannot follow B-PER"),
        ("a PER\n", {}, "line 1: 'PER' is no tag of the scheme bio: expected O, B-NAME, I-NAME"),
        ("a S-PER\n", {}, "'S-PER' is no tag of the scheme bio"),
        ("a B-PER\nb O\n", {"scheme": "bioes"}, "line 2: O cannot follow B-PER"),
        ("a B-PER\nb I-PER\n", {"scheme": "bioes"}, "line 2: I-PER cannot end a sentence"),
        ("a O\nb B-PER\n", {"scheme": "iob1"}, "line 2: B-PER cannot follow O"),
        ("a O\nb X O\n", {}, "line 2: 3 columns, but line 1 has 2"),
        ("a O\n", {"tag_column": 3}, "has 2 columns, so there is no tag column 3"),
        ("a\nb\n", {}, "line 1: expected a word and a tag, found one column for both"),
        ("a O\n", {"word_column": 1}, "found one column for both"),
        ("\n\n", {}, "holds no sentence"),
        ("", {}, "is empty"),
        ("é O\n".encode() + b"\xe9 O\n", {}, "mixes encodings: line 2 is not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_message(tmp_path, content, options, message):
    with pytest.raises(ValueError, match=message):
        read_conll(written(tmp_path, content), **options)


def test_tags_are_numbered_with_the_continuations_that_training_lacks():
    assert NAMES.names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert tag_names([TaggedSentence(("a", "b"), ("O", "B-X"))], "train").names == ("O", "B-X", "I-X")
    assert tag_names([TaggedSentence(("a", "b"), ("NOUN", "VERB"))], "train").names == ("NOUN", "VERB")
    with pytest.raises(ValueError, match="train: every example is 'O': there is one class only"):
        tag_names([TaggedSentence(("a",), ("O",))], "train")


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "characters", "words"])
def test_each_tag_stands_at_the_first_token_of_its_word(kind):
    tokenizer = train_tokenizer_of_kind(kind, TEXTS, 300 if kind == "bpe" else 60)
    aligned = align(SENTENCE, tokenizer, NAMES)
    assert aligned.input_ids == tokenizer.encode(" ".join(SENTENCE.words), add_special_tokens=True)
    assert len(aligned.labels) == len(aligned.word_starts) == len(aligned.input_ids)
    assert [label != IGNORE for label in aligned.labels] == aligned.word_starts
    assert [NAMES.names[label] for label in aligned.labels if label != IGNORE] == list(SENTENCE.tags)
    assert aligned.word_starts[0] is aligned.word_starts[-1] is False
    assert aligned.num_words == len(SENTENCE.words)
    starts = [n for n, start in enumerate(aligned.word_starts) if start]
    pieces = [tokenizer.decode(aligned.input_ids[a:b]) for a, b in zip(starts, [*starts[1:], -1], strict=True)]
    assert ["".join(piece.split()) for piece in pieces] == [tokenizer.normalise(word) for word in SENTENCE.words]


def test_words_are_those_of_the_tokenizers_librarys_own_alignment():
    tokenizer = train_tokenizer_of_kind("wordpiece", TEXTS, 60)
    words = [word for word in SENTENCE.words if word != "."]  # the library splits off punctuation as a word of its own
    aligned = align(TaggedSentence(tuple(words), ("O",) * len(words)), tokenizer, NAMES)
    reference = tokenizer.backend.encode(words, is_pretokenized=True)
    assert aligned.input_ids == reference.ids
    ids, seen = reference.word_ids, set()
    expected = [word is not None and not (word in seen or seen.add(word)) for word in ids]
    assert aligned.word_starts == expected


def test_a_sentence_that_is_too_long_is_cut_and_its_last_words_are_outside():
    tokenizer = train_tokenizer_of_kind("wordpiece", TEXTS, 300)
    whole = align(SENTENCE, tokenizer, NAMES)
    cut = align(SENTENCE, tokenizer, NAMES, max_length=5)
    assert cut.input_ids == [*whole.input_ids[:4], whole.input_ids[-1]]
    assert cut.labels == [*whole.labels[:4], IGNORE]
    assert cut.num_words == 8
    predicted = [NAMES.names.index("I-PER")] * 7  # longer than the sequence: padding
    assert tags_of_words(predicted, cut, NAMES) == ["I-PER"] * sum(cut.word_starts) + ["O"] * (8 - sum(cut.word_starts))
    gold = [max(label, 0) for label in whole.labels]
    assert tags_of_words(gold, whole, NAMES) == list(SENTENCE.tags)
    parts = LabelNames(("NOUN", "VERB"))
    assert tags_of_words([], align(TaggedSentence(("a",), ("VERB",)), tokenizer, parts), parts) == ["NOUN"]
    with pytest.raises(ValueError, match="max_length 2 leaves no room"):
        align(SENTENCE, tokenizer, NAMES, max_length=2)


def test_tags_that_do_not_fit_the_words_or_tokens_are_named():
    tokenizer = train_tokenizer_of_kind("wordpiece", TEXTS, 60)
    with pytest.raises(ValueError, match=r"train, sentence 3: 2 words, but 1 tags"):
        align(TaggedSentence(("a", "b"), ("O",)), tokenizer, NAMES, where="train, sentence 3")
    with pytest.raises(ValueError, match="example 1 has the unknown label 'B-ORG'"):
        align(TaggedSentence(("a",), ("B-ORG",)), tokenizer, NAMES)
    for words in (("Ann", "\u200d", "Lee"), ("Ann", "\u200d")):  # the tokenizer leaves nothing of the second word
        with pytest.raises(ValueError, match=r"the word '\\u200d' \(number 2\) has no token of its own"):
            align(TaggedSentence(words, ("O",) * len(words)), tokenizer, NAMES)
