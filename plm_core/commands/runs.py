"""``plm train``, ``evaluate``, ``fill-mask`` and ``generate``: functions whose arguments become options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from plm_core.commands.translation import train_on_pairs

if TYPE_CHECKING:
    from plm_core.data.tokenizers import Tokenizer


def train(config: Positional[Path], overrides: Positional[tuple[str, ...]] = (), /, resume: bool = False) -> None:
    """Pretrain a model according to a configuration file; Ctrl-C saves the state and leaves.

    A file with `stages` trains one model in stages, such as configs/stages/tiny.yaml; one with `objective: seq2seq` an
    encoder-decoder for `plm translate`, such as configs/translation/tiny.yaml. Both take one process.
    On several GPUs or processes: torchrun --nproc-per-node 2 -m plm_core.cli train CONFIG train.micro_batches=2
    A classifier, tagger or reader is trained from a pretrained model by plm fine-tune.

    Args:
        config: a YAML file, such as configs/gpt_tiny.yaml.
        overrides: values to replace, as key=value: train.steps=100 model.hidden_size=64 output=runs/other.
        resume: continue the run in the output folder from its newest complete checkpoint.
    """
    import shlex

    from plm_core.distributed import launcher, report_failure_once, report_once_per_node, start_processes
    from plm_core.runs.config import read_run_config
    from plm_core.runs.pretrain import pretrain
    from plm_core.training.interrupt import Interrupted

    with report_once_per_node():
        if train_in_stages(config, overrides, resume=resume) or train_on_pairs(config, overrides, resume=resume):
            return
        run = read_run_config(config, overrides)
        processes = start_processes(run.strategy)
    with report_failure_once(processes):
        try:
            report = pretrain(run, resume=resume, processes=processes)
        except Interrupted:
            if processes.is_main:
                command = shlex.join([*launcher(), "train", str(config), *overrides, "--resume"])
                print(f"\nstate saved in {run.output}; continue with: {command}")
            raise
    if report is not None:
        print("\n".join(report.lines()))
        print(f"model, tokenizer, logs and learning curve: {run.output}")


def train_in_stages(config: Path, overrides: tuple[str, ...], *, resume: bool) -> bool:
    """Train in stages if the configuration has some; whether it has.

    Raises:
        ValueError: several processes.
    """
    import os
    import shlex

    from plm_core.runs.stages import pretrain_in_stages, read_staged_config, result_lines
    from plm_core.training.interrupt import Interrupted

    staged = read_staged_config(config, overrides)
    if staged is None:
        return False
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a run in stages takes one process: start it without torchrun")
    output = staged.run.output
    try:
        results = pretrain_in_stages(staged, resume=resume)
    except Interrupted:
        command = shlex.join(["plm", "train", str(config), *overrides, "--resume"])
        print(f"\nstate saved in {output}; continue with: {command}")
        raise
    print("\n".join(result_lines(results)))
    print(f"model and tokenizer: {output}; the stages: {output / 'stages'}")
    return True


def evaluate(
    run: Positional[Path],
    text: Path | None = None,
    skills: bool = False,
    skills_by_distance: bool = False,
    stories: int = 200,
    output: Path | None = None,
) -> None:
    """Measure a trained model on the validation part of its corpus, on a text of your own, or skill by skill.

    Args:
        run: the output folder of `plm train`.
        text: a UTF-8 text file, a folder of them, or a token file; its documents are found as the run's were.
        skills: for a causal run on a StoryWorld: its excess over the ideal reader and its accuracy for each skill.
        skills_by_distance: the same for each skill and distance to the evidence.
        stories: how many unseen stories the skills are scored on.
        output: where to write the scores of the skills, as FILE.json with a figure FILE.png beside it; by default into
            the run's folder.
    """
    from plm_core.runs.open import Run
    from plm_core.runs.report import shown
    from plm_core.runs.text_report import causal_lines

    if skills or skills_by_distance:
        if text is not None:
            raise ValueError("--text and --skills exclude each other: skills are known for generated stories only")
        score_by_skill(run, by_distance=skills_by_distance, stories=stories, output=output)
        return
    if output is not None:
        raise ValueError("--output belongs to --skills: it names the file of the scores")
    opened = Run.open(run)
    metrics, counts = opened.validation_metrics() if text is None else opened.text_metrics(text)
    print(counts.shown(opened.config.documents))
    losses = [key for key in metrics if key.endswith("/loss")]
    for key, value in metrics.items():
        if key.endswith("/count"):
            print(f"{key:<24} {value:.0f}")
        elif key != "loss" or len(losses) != 1:  # the sum over the objectives, where there are several
            print(f"{key:<24} {value:.4f}")
    for line in causal_lines(metrics, counts):
        print(line)
    if text is None and opened.entropy is not None:
        print(f"{'floor':<24} {shown(opened.entropy)}")


def score_by_skill(run: Path, *, by_distance: bool, stories: int, output: Path | None) -> None:
    """Print a run's scores by skill, and write them as JSON and as a figure."""
    from plm_core.commands.compression import check_picture
    from plm_core.evaluation.skill_report import plot_skills, skill_table
    from plm_core.runs.open import Run
    from plm_core.runs.skills import evaluate_skills

    if output is not None:
        if output.suffix != ".json":
            raise ValueError(f"--output is the name of a JSON file, such as skills.json; got {output}")
        if output.exists():
            raise FileExistsError(f"{output} exists already: choose another name")
        check_picture(output.with_suffix(".png"))
    opened = Run.open(run)
    report = evaluate_skills(opened, stories=stories, by_distance=by_distance)
    print(f"{report.stories:,} unseen stories of {report.corpus}, {report.words:,} words; nats per word")
    print(skill_table(report.scores))
    path = output or run / ("skills_by_distance.json" if by_distance else "skills.json")
    report.save(path)
    plot_skills(report.scores, path.with_suffix(".png"))
    print(f"scores: {path}; figure: {path.with_suffix('.png')}")


def fill_mask(run: Positional[Path], text: Positional[str], top: int = 5) -> None:
    """Show the likeliest tokens at each [MASK] of a text.

    Args:
        run: the output folder of `plm train` with a masked objective.
        text: the text, with [MASK] where a token is missing.
        top: how many tokens to show.
    """
    from plm_core.generation.text import MASK, fill
    from plm_core.runs.open import Run

    opened = Run.open(run)
    found = fill(opened.model, opened.tokenizer, text, top=top)
    report_unknown(opened.tokenizer, text.replace(MASK, " "), "the text")
    for number, guesses in enumerate(found, start=1):
        print(f"[MASK] {number}")
        for token, probability in guesses:
            print(f"  {probability:6.1%}  {token}")


def generate(
    run: Positional[Path],
    prompt: str | None = None,
    prompts: Path | None = None,
    stream: bool = False,
    max_new_tokens: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    typical_p: float | None = None,
    repetition_penalty: float = 1.0,
    beam: int | None = None,
    length_penalty: float | None = None,
    stop: tuple[str, ...] = (),
    regex: str | None = None,
    seed: int | None = None,
) -> None:
    """Continue a prompt, or several, with a causal model.

    Filters apply one after the other, in the order top-k, top-p, min-p, typical, after the temperature.

    Args:
        run: the output folder of `plm train` with the objective causal_lm.
        prompt: the beginning of the text; without one a document is begun.
        prompts: a UTF-8 file with a prompt in each line that is not empty; they are continued side by side, and a line
            of dashes stands between the texts.
        stream: show the text while it is generated, one prompt after the other.
        max_new_tokens: how many tokens to add at most.
        temperature: below 1 for likelier, above 1 for more varied tokens; 0 always takes the likeliest token.
        top_k: choose among the k likeliest tokens.
        top_p: choose among the likeliest tokens that together have this probability.
        min_p: choose among tokens at least this many times as probable as the likeliest.
        typical_p: choose among the tokens nearest to the mean surprisal that together have this probability.
        repetition_penalty: above 1, tokens of the text so far become rarer.
        beam: search for the likeliest text with so many candidates instead of drawing one.
        length_penalty: with --beam, scores are divided by ((5 + tokens) / 6) to this power; by default 0.6.
        stop: texts before which a continuation ends, for example --stop END.
        regex: a regular expression that the continuation as a whole matches; for tokens that are characters or
            byte-level BPE.
        seed: seed of the draws; the same seed gives the same text.
    """
    from plm_core.generation.beam import Beam
    from plm_core.generation.beam_text import search_texts
    from plm_core.generation.constrained import Grammar, token_texts
    from plm_core.generation.regular import parse
    from plm_core.generation.sampling import Sampling
    from plm_core.generation.text import continue_texts, read_prompts, stream_texts
    from plm_core.runs.open import Run

    if prompt is not None and prompts is not None:
        raise ValueError("--prompt and --prompts exclude each other: put all prompts into the file")
    settings = Sampling(temperature, top_k, top_p, min_p, typical_p, repetition_penalty)
    search = None
    if beam is not None:
        if stream or stop or regex is not None or settings != Sampling():
            raise ValueError(
                "--beam searches for the likeliest text: it draws nothing, and takes no --stream, --stop, --regex, "
                "temperature, filter or repetition penalty"
            )
        search = Beam(beam, max_new_tokens, alpha=0.6 if length_penalty is None else length_penalty)
    elif length_penalty is not None:
        raise ValueError("--length-penalty belongs to --beam: give its width, for example --beam 4")
    expression = None if regex is None else parse(regex)
    beginnings = [prompt or ""] if prompts is None else read_prompts(prompts)
    opened = Run.open(run)
    for number, beginning in enumerate(beginnings, start=1):
        report_unknown(opened.tokenizer, beginning, "the prompt" if prompts is None else f"prompt {number}")
    if search is not None:
        print("\n-----\n".join(search_texts(opened.model, opened.tokenizer, beginnings, search)))
        return
    constraint = None if expression is None else Grammar(expression, token_texts(opened.tokenizer))
    if not stream:
        texts = continue_texts(
            opened.model,
            opened.tokenizer,
            beginnings,
            max_new_tokens=max_new_tokens,
            sampling=settings,
            stop_strings=stop,
            constraint=constraint,
            seed=seed,
        )
        print("\n-----\n".join(texts))
        return
    for number, beginning in enumerate(beginnings):
        pieces = stream_texts(
            opened.model,
            opened.tokenizer,
            [beginning],
            max_new_tokens=max_new_tokens,
            sampling=settings,
            stop_strings=stop,
            constraint=constraint,
            seed=seed,
            first=number,
        )
        print("-----\n" * (number > 0) + beginning, end="", flush=True)
        for _, piece in pieces:
            print(piece, end="", flush=True)
        print()


def report_unknown(tokenizer: Tokenizer, text: str, name: str) -> None:
    """Name on standard error the parts of a text that are not in the vocabulary."""
    from plm_core.generation.text import unknown_parts

    if unknown := unknown_parts(tokenizer, text):
        shown = ", ".join(map(repr, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        print(f"note: {name} has parts that are not in the vocabulary and are read as [UNK]: {shown}", file=sys.stderr)
