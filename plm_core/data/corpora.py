"""Text to learn from that is there without a network: Python's own documentation, cleaned to prose."""

from __future__ import annotations

from dataclasses import dataclass

from plm_core.data.prose import clean_topics


@dataclass(frozen=True)
class Document:
    """One text with a beginning and an end.

    Attributes:
        title: a short description of the text.
        text: the text itself, one paragraph per line.
    """

    title: str
    text: str


def python_documentation() -> list[Document]:
    """Python's language reference as prose: one document per topic, one paragraph per line.

    ``pydoc_data.topics`` comes with Python itself: some 80 pages, plain text made from reStructuredText. Headings,
    code, grammar productions, tables and the marks of reStructuredText are removed. The source holds many sections
    twice, alone and inside a longer page; here each paragraph is kept once, on the shortest page that has it, so that
    documents can be split into training and test sets without sharing text.

    The text is that of the running Python and changes a little with its version: store a tokenizer or a measured
    number together with :func:`platform.python_version`.

    Returns:
        The documents in the alphabetical order of their topics, which is the same on every machine with the same
        Python. About 250,000 characters in all.

    Raises:
        FileNotFoundError: this Python was installed without its documentation topics.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise FileNotFoundError(
            "this Python has no module pydoc_data.topics: install the complete standard library "
            "(on some Linux systems a separate package)"
        ) from error
    return [Document(title, text) for title, text in clean_topics(topics)]
