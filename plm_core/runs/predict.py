"""Label new examples with a fine-tuned model."""

from __future__ import annotations

from pathlib import Path

from plm_core.data.examples import TaggedSentence
from plm_core.data.labelled_rows import LabelledBatches
from plm_core.data.tables import read_lines, read_table
from plm_core.runs.fine_tune import FineTuned
from plm_core.runs.fine_tune_tasks import TextTask


def predict_file(run: Path, file: Path) -> str:
    """The labels of the examples of a file, as tab-separated columns.

    Args:
        run: the output folder of ``plm fine-tune``.
        file: a table of texts; or sentences, one a line, their words separated by spaces.

    Returns:
        For texts a header and one line each: the label, its probability and the text. For sentences the words, one a
        line with its tag, and an empty line after each sentence.

    Raises:
        FileNotFoundError, ValueError: as for :meth:`~plm_core.runs.fine_tune.FineTuned.open`, and for the readers of
            such files.
    """
    opened = FineTuned.open(run)
    task = opened.task
    if isinstance(task, TextTask):
        texts = task.texts(read_table(file, delimiter=opened.config.delimiter if file.suffix == ".csv" else None))
        rows, _ = task.rows(texts, None)
    else:
        texts = [TaggedSentence(tuple(words), ()) for words in (line.split() for line in read_lines(file)) if words]
        if not texts:
            raise ValueError(f"{file} holds no sentence")
        unlabelled = [TaggedSentence(each.words, (task.names.names[0],) * len(each.words)) for each in texts]
        rows = (split := task.split(str(file), unlabelled, [])).rows
    batches = LabelledBatches(
        rows, batch_size=opened.config.batch_size, pad_id=task.tokenizer.pad_id, seed=opened.config.seed
    )
    predicted = task.predict(opened.model, batches.in_order())
    if isinstance(task, TextTask):
        probabilities = predicted.probabilities.max(dim=1).values.tolist()
        lines = [
            f"{label}\t{probability:.4f}\t{_one_line(text)}"
            for label, probability, text in zip(predicted.labels, probabilities, texts, strict=True)
        ]
        return "\n".join([f"label\tprobability\ttext{_pair_header(task)}", *lines]) + "\n"
    sentences = task.sentences(split, predicted.labels)
    return "".join(
        "".join(f"{word}\t{tag}\n" for word, tag in zip(sentence.words, tags, strict=True)) + "\n"
        for sentence, tags in zip(texts, sentences, strict=True)
    )


def _pair_header(task: TextTask) -> str:
    return "" if task.config.pair_column is None else "\tpair"


def _one_line(text: str | tuple[str, str]) -> str:
    return "\t".join(" ".join(part.split()) for part in ((text,) if isinstance(text, str) else text))
