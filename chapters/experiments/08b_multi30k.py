"""English captions to German ones: a small Transformer and a recurrent network with attention, at nearly equal cost.

Data: Multi30k's 29,000 training pairs; 1,014 validation pairs; the 1,000 pairs of the Flickr test set of 2016. One
byte-level BPE of VOCABULARY pieces, trained on both sides of the training pairs. Text is neither lower-cased nor
tokenized, and BLEU and chrF are sacrebleu's on the detokenized output.

Arms:

- "transformer": 3 + 3 blocks of width 256, feed-forward networks of 512, one matrix of word embeddings;
- "floors": no model; the English caption as it is, and the German side of the most similar training caption;
- "recurrent": a bidirectional encoder and a decoder of gated recurrent units with additive attention, width 256, which
  costs nearly the same processor time for a step. Two thirds of its parameters are in word matrices, of which the
  output's is three times as wide as an embedding; outside of them it has half as many as the Transformer.

Both see the same batches in the same order, STEPS of BATCH pairs, with Muon, dropout 0.2 and label smoothing 0.1. Each
has its own sweep of five rates or more, by the loss without smoothing on the first 384 validation pairs after
SWEEP_STEPS steps with a seed of its own; the shorter training may prefer a larger rate than the longer one would. One
seed each: the training costs what the book's budget allows, and a difference of the arms within what another seed
changes is not claimed. The length penalty is chosen on the validation pairs at width 4 and the test pairs are used
once; widths and penalties in the figure are on the first VALIDATED validation pairs.

Criterion, set before the run: the Transformer's BLEU on the test pairs, beam search of width 4, is reported with its
cost and a bootstrap interval over test sentences; the arms differ if the interval of the paired difference of BLEU,
resampled over sentences, does not contain zero. This interval is about other sentences, not about other seeds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_chapters.experiments.sweeps import best_rate, sweep
from plm_chapters.experiments.translation_runs import loss_of, mistake_in_prefix, train
from plm_core.data.datasets import Split, multi30k
from plm_core.data.sequence_pairs import ParallelTexts, SequencePairBatches
from plm_core.data.tokenizer_training import train_bpe
from plm_core.data.tokenizers import Tokenizer
from plm_core.generation.beam import Beam, translate
from plm_core.models.recurrent_seq2seq import RecurrentSeq2Seq, RecurrentSeq2SeqConfig
from plm_core.models.seq2seq import Seq2Seq, Seq2SeqConfig
from plm_core.objectives.seq2seq import Seq2SeqLM
from plm_core.runtime import setup

VARIANTS = ["floors", "transformer", "recurrent"]
SEEDS = [0]
RATES = [1.25e-3, 2.5e-3, 5e-3, 1e-2, 2e-2]
VOCABULARY, SMOOTHING, DROPOUT = 3000, 0.1, 0.2
BATCH, STEPS, SWEEP_STEPS = 128, 2700, 150
LONGEST = 64
WIDTHS = [1, 2, 4, 8, 16, 32]
ALPHAS = [0.0, 1.0]
VALIDATED = 500
"""Validation pairs on which widths and penalties are compared."""
RESAMPLES = 1000
EXAMPLES = [3, 16, 40]
"""Test sentences whose translations are stored."""


@cache
def tokenizer() -> Tokenizer:
    """One vocabulary for both languages, from the training pairs."""
    return train_bpe((text for pair in multi30k("train") for text in (pair.source, pair.target)), vocab_size=VOCABULARY)


@cache
def texts(split: Split) -> tuple[list[str], list[str]]:
    """English and German sentences."""
    pairs = multi30k(split)
    return [pair.source for pair in pairs], [pair.target for pair in pairs]


def batches(split: Split, *, first: int | None = None, seed: int = 0) -> SequencePairBatches:
    """The pairs of a split, or the first of them, in batches."""
    sides = [tokenizer().encode_all(side[:first]) for side in texts(split)]
    tokens = tokenizer()
    ids = {"start_id": tokens.bos_id, "end_id": tokens.eos_id, "pad_id": tokens.pad_id}
    return SequencePairBatches(ParallelTexts(*sides), **ids, batch_size=BATCH, seed=seed)


def build(variant: str, seed: int) -> Seq2Seq | RecurrentSeq2Seq:
    """A model with initial weights."""
    torch.manual_seed(seed)
    size = tokenizer().vocab_size
    if variant == "recurrent":
        shape: dict[str, Any] = {"hidden_size": 256, "embedding_size": 256, "bidirectional": True, "attention": True}
        return RecurrentSeq2Seq(RecurrentSeq2SeqConfig(vocab_size=size, dropout=DROPOUT, **shape))
    layers: dict[str, Any] = {"num_hidden_layers": 3, "num_decoder_layers": 3, "intermediate_size": 512}
    dropout: dict[str, Any] = {"hidden_dropout_prob": DROPOUT, "attention_probs_dropout_prob": 0.0}
    shape = {"hidden_size": 256, "num_attention_heads": 4, "norm_position": "pre", **layers, **dropout}
    return Seq2Seq(Seq2SeqConfig(vocab_size=size, **shape))


def write(
    model: Seq2Seq | RecurrentSeq2Seq, sources: Sequence[str], *, width: int, alpha: float, together: int = 64
) -> list[str]:
    """Translations by beam search, in the order of the sources."""
    tokens = tokenizer()
    rows = [[*ids, tokens.eos_id] for ids in tokens.encode_all(list(sources))]
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    beam = Beam(width=width, alpha=alpha, max_new_tokens=LONGEST)
    outputs = [""] * len(rows)
    for start in range(0, len(order), together):
        numbers = order[start : start + together]
        lengths = torch.tensor([len(rows[number]) for number in numbers])
        ids_BS = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(rows[number]) for number in numbers], batch_first=True, padding_value=tokens.pad_id
        )
        found = translate(
            model,
            ids_BS,
            attention_mask=torch.arange(ids_BS.shape[1]) < lengths[:, None],
            start_token_id=tokens.bos_id,
            stop_token_id=tokens.eos_id,
            beam=beam,
        )
        for number, best in zip(numbers, found, strict=True):
            outputs[number] = tokens.decode(best[0].tokens, skip_special_tokens=True).strip()
    return outputs


def scores(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU, chrF and how long the outputs are beside the references, by sacrebleu."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    found = BLEU().corpus_score(list(outputs), [list(references)])
    return {
        "bleu": found.score,
        "brevity penalty": found.bp,
        "length ratio": found.sys_len / found.ref_len,
        "chrf": CHRF().corpus_score(list(outputs), [list(references)]).score,
    }


def statistics_of(outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """BLEU's statistics of each sentence, (N, 10): lengths of output and reference, matches and n-grams by order."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True)
    rows = []
    for output, reference in zip(outputs, references, strict=True):
        found = metric.sentence_score(output, [reference])
        rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals])
    return np.array(rows)


def bleu_of(total_10: np.ndarray) -> float:
    """BLEU of added statistics, without smoothing."""
    written, true, counts, possible = total_10[0], total_10[1], total_10[2:6], total_10[6:10]
    if not counts.all():
        return 0.0
    return float(100 * np.exp(min(0.0, 1 - true / written) + np.log(counts / possible).mean()))


def resampled(statistics: np.ndarray, *, seed: int = 0) -> list[float]:
    """BLEU on RESAMPLES draws of the test sentences with replacement, the same draws for every system."""
    draws = np.random.default_rng(seed).integers(0, len(statistics), (RESAMPLES, len(statistics)))
    return [bleu_of(statistics[draw].sum(axis=0)) for draw in draws]


def nearest(sources: Sequence[str]) -> list[str]:
    """For each source the German side of the training caption whose English side is most like it: a floor.

    Likeness is the cosine of the words' counts, weighted by the logarithm of the inverse document frequency.
    """
    known, german = texts("train")
    counted = [Counter(text.lower().split()) for text in known]
    frequency = Counter(word for words in counted for word in words)
    weight = {word: float(np.log(len(known) / count)) for word, count in frequency.items()}
    postings: dict[str, tuple[list[int], list[float]]] = {word: ([], []) for word in frequency}
    for number, words in enumerate(counted):
        norm = float(np.sqrt(sum((count * weight[word]) ** 2 for word, count in words.items()))) or 1.0
        for word, count in words.items():
            postings[word][0].append(number)
            postings[word][1].append(count * weight[word] / norm)
    arrays = {word: (np.array(numbers), np.array(values)) for word, (numbers, values) in postings.items()}
    found = []
    for source in sources:
        likeness = np.zeros(len(known))
        for word, count in Counter(source.lower().split()).items():
            if word in arrays:
                numbers, values = arrays[word]
                likeness[numbers] += count * weight[word] * values
        found.append(german[int(likeness.argmax())])
    return found


def german_ids() -> list[int]:
    """The tokens that occur in German training sentences."""
    return sorted({token for row in tokenizer().encode_all(texts("train")[1]) for token in row})


def swept_rates(variant: str, folder: Path) -> dict[float, float]:
    """The sweep, kept in a file: a run that was interrupted goes on after the last rate."""
    file = folder / "sweep.json"
    known = {float(rate): loss for rate, loss in json.loads(file.read_text()).items()} if file.exists() else {}
    valid = batches("validation", first=384).in_order()

    def measure(rate: float) -> float:
        if rate not in known:
            model = build(variant, seed=100)
            train(model, Seq2SeqLM(label_smoothing=SMOOTHING), batches("train", seed=100), rate=rate, steps=SWEEP_STEPS)
            known[rate] = loss_of(model, valid)
            file.write_text(json.dumps({str(each): loss for each, loss in known.items()}))
        return known[rate]

    return sweep(measure, RATES, factor=2, further=2)


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Sweep, train, and measure on validation and test pairs."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    sources, references = texts("test")
    if variant == "floors":
        return {"copied": scores(sources, references), "nearest": scores(nearest(sources), references)}
    folder.mkdir(parents=True, exist_ok=True)
    swept = swept_rates(variant, folder)
    rate = best_rate(swept)
    model = build(variant, seed)
    valid, test = batches("validation").in_order(), batches("test").in_order()
    curve, seconds = train(
        model,
        Seq2SeqLM(label_smoothing=SMOOTHING),
        batches("train", seed=seed),
        rate=rate,
        steps=STEPS,
        valid_batches=valid,
        eval_every=225,
        folder=folder / "run",
    )
    english, german = (side[:VALIDATED] for side in texts("validation"))
    beams = [
        {"width": width, "alpha": alpha} | scores(write(model, english, width=width, alpha=alpha), german)
        for width in (WIDTHS if variant == "transformer" else [1, 4])
        for alpha in (ALPHAS if width > 1 else [0.0])
    ]
    alpha = max((each for each in beams if each["width"] == 4), key=lambda each: each["bleu"])["alpha"]
    outputs = {
        "greedy": write(model, sources, width=1, alpha=0.0),
        "beam": write(model, sources, width=4, alpha=alpha),
    }
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "rate": rate,
        "sweep": {f"{each:.2g}": swept[each] for each in sorted(swept)},
        "curve": curve,
        "seconds of training": seconds,
        "pairs seen": STEPS * BATCH,
        "test loss": loss_of(model, test),
        "alpha": alpha,
        "validation": beams,
        "test": {name: scores(each, references) for name, each in outputs.items()},
        "resampled": [round(float(each), 3) for each in resampled(statistics_of(outputs["beam"], references))],
        "examples": [[sources[number], references[number], outputs["beam"][number]] for number in EXAMPLES],
        "mistake": mistake_in_prefix(model, valid, ids=german_ids()),
    }
