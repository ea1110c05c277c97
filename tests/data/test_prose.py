"""Python's documentation as a corpus: prose stays, everything else goes, and no paragraph is there twice."""

import re
import sys

import pytest

from plm_core.data.corpora import Document, python_documentation
from plm_core.data.prose import clean_topics

PAGE = """The "zip" statement
*******************

The "zip" statement joins *two* sequences (not "*args") into one post-
mortem list; it is **never** empty. [3]

   zip_stmt ::= "zip" expression

   >>> zip(a, b)
   [1, 2]

   for a in b:
       use(a)  # this one is code, not prose

Changed in version 3.9: The statement’s second form was added for
“symmetry” only.

* Each of the items in this list has a mark, which is removed
  and its lines are joined.

Term
   The definition of the term stays, the term does not.

+-----------+------------------------+
| Operator  | A table is not prose.  |
+-----------+------------------------+

-[ Footnotes ]-

[3] The text of a footnote is a sentence, its number is not.
"""


def test_cleaning_keeps_sentences_and_removes_marks():
    [(title, text)] = clean_topics({"zip": PAGE})
    assert title == "The zip statement"
    assert text.splitlines() == [
        "The zip statement joins two sequences (not *args) into one post-mortem list; it is never empty.",
        'The statement\'s second form was added for "symmetry" only.',
        "Each of the items in this list has a mark, which is removed and its lines are joined.",
        "The definition of the term stays, the term does not.",
        "The text of a footnote is a sentence, its number is not.",
    ]


def test_a_paragraph_on_two_pages_is_kept_on_the_shorter_one():
    shared = "This sentence stands on both of the pages."
    pages = clean_topics({"a-long": shared + "\n\nAnd the long page has one more sentence to say.", "short": shared})
    assert pages == [("a-long", "And the long page has one more sentence to say."), ("short", shared)]


def test_a_page_without_prose_is_no_document():
    assert clean_topics({"code": "x = 1\n\n>>> x\n1\n"}) == []


def test_python_documentation_is_a_corpus_of_prose():
    documents = python_documentation()
    assert all(isinstance(document, Document) and document.title and document.text for document in documents)
    assert len(documents) >= 60
    assert sum(len(document.text) for document in documents) > 150_000
    lines = [line for document in documents for line in document.text.split("\n")]
    assert len(lines) == len(set(lines)), "a paragraph that is there twice would leak from training to test"
    text = "\n".join(lines)
    assert "::=" not in text
    assert ">>>" not in [line[:3] for line in lines]
    assert not re.search(r"\*{4}|={4}|\+--", text)
    prose = sum(character.isalpha() or character.isspace() for character in text) / len(text)
    assert prose > 0.93
    assert max(len(word) for word in text.split()) < 120


def test_python_documentation_is_the_same_every_time():
    assert python_documentation() == python_documentation()


def test_a_python_without_topics_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(FileNotFoundError, match="complete standard library"):
        python_documentation()
