"""Label new examples with a fine-tuned model."""

from __future__ import annotations

from pathlib import Path

from plm_core.data.examples import TaggedSentence
from plm_core.data.labelled_rows import LabelledBatches
from plm_core.data.relations import MarkedText
from plm_core.data.squad import read_squad
from plm_core.data.tables import read_lines, read_table
from plm_core.runs.fine_tune import FineTuned
from plm_core.runs.fine_tune_answers import AnswerTask
from plm_core.runs.fine_tune_tasks import Split, TagTask, TextTask


def predict_file(run: Path, file: Path) -> str:
    """The labels of the examples of a file, as tab-separated columns.

    Args:
        run: the output folder of ``plm fine-tune``.
        file: a table of texts; sentences, one a line, their words separated by spaces; or questions as SQuAD has them.

    Returns:
        For texts and questions a header and one line each: the label or answer, its probability, and the text or
        question. For sentences the words, one a line with its tag, and an empty line after each sentence.

    Raises:
        FileNotFoundError, ValueError: as for :meth:`~plm_core.runs.fine_tune.FineTuned.open`, and for the readers of
            such files.
    """
    opened = FineTuned.open(run)
    task = opened.task
    split = unlabelled(task, file)
    batches = LabelledBatches(
        split.rows, batch_size=opened.config.batch_size, pad_id=task.tokenizer.pad_id, seed=opened.config.seed
    )
    predicted = task.predict(opened.model, split, batches.in_order())
    if isinstance(task, TagTask):
        return "".join(
            "".join(f"{word}\t{tag}\n" for word, tag in zip(sentence.words, tags, strict=True)) + "\n"
            for sentence, tags in zip(split.texts, task.sentences(split, predicted.labels), strict=True)
        )
    if isinstance(task, TextTask):
        shown = [_one_line(text) for text in split.texts]
        header = "label\tprobability\ttext" + ("" if task.config.pair_column is None else "\tpair")
    else:
        shown = [_one_line((question.id, question.question)) for question in split.texts]
        header = "answer\tprobability\tid\tquestion"
    lines = [
        f"{_one_line(label)}\t{probability:.4f}\t{text}"
        for label, probability, text in zip(predicted.labels, predicted.confidence.tolist(), shown, strict=True)
    ]
    return "\n".join([header, *lines]) + "\n"


def unlabelled(task: TextTask | TagTask | AnswerTask, file: Path) -> Split:
    """The examples of a file without their labels."""
    if isinstance(task, TextTask):
        texts = task.texts(read_table(file, delimiter=task.config.delimiter if file.suffix == ".csv" else None))
        return Split(str(file), texts, [], *task.rows(texts, None))
    if isinstance(task, AnswerTask):
        return task.split(str(file), list(read_squad(file)), [])
    sentences = [words for words in (line.split() for line in read_lines(file)) if words]
    if not sentences:
        raise ValueError(f"{file} holds no sentence")
    tag = task.names.names[0]  # stands in each place for the one that is to be predicted
    return task.split(str(file), [TaggedSentence(tuple(words), (tag,) * len(words)) for words in sentences], [])


def _one_line(text: str | tuple[str, str] | MarkedText) -> str:
    parts = text if isinstance(text, tuple) else (text.with_marks() if isinstance(text, MarkedText) else text,)
    return "\t".join(" ".join(part.split()) for part in parts)
