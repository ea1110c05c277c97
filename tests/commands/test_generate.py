"""``plm generate`` and ``plm fill-mask``: several prompts, streams, unknown characters, refused numbers."""

from types import SimpleNamespace

import pytest
import torch

from plm_core.cli import main
from plm_core.data.tokenizer_training import train_characters
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.runs.open import Run


@pytest.fixture(autouse=True)
def run(monkeypatch):
    """A run that was never trained: what the command does with a model does not depend on its weights."""
    torch.manual_seed(0)
    tokenizer = train_characters(["the cat sat on the mat ."])
    config = GptConfig.tiny(tokenizer.vocab_size).replace(max_position_embeddings=32)
    opened = SimpleNamespace(tokenizer=tokenizer, model=Gpt(config))
    monkeypatch.setattr(Run, "open", lambda folder: opened)


def generate(capsys, *arguments):
    assert main(["generate", "run", "--max-new-tokens", "12", "--seed", "4", *map(str, arguments)]) == 0
    return capsys.readouterr()


def test_a_stream_shows_the_same_texts(capsys, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("the cat\n\nthe mat sat\n", encoding="utf-8")
    texts = generate(capsys, "--prompts", file).out
    first, second = texts.split("\n-----\n")
    assert first.startswith("the cat")
    assert second.startswith("the mat sat")
    assert generate(capsys, "--prompts", file, "--stream").out == texts
    assert generate(capsys, "--prompt", "the cat", "--stream").out == f"{first}\n"


def test_unknown_characters_of_a_prompt_are_reported_on_stderr(capsys):
    shown = generate(capsys, "--prompt", "the Ж cat")
    assert shown.out.startswith("the Ж cat")
    assert "'Ж'" in shown.err
    assert "[UNK]" in shown.err
    assert generate(capsys, "--prompt", "the cat").err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-new-tokens", "-5"], "max_new_tokens"),
        (["--temperature", "nan"], "temperature"),
        (["--temperature", "-0.1"], "temperature"),
        (["--top-p", "nan"], "top_p"),
        (["--top-k", "0"], "top_k"),
        (["--min-p", "0"], "min_p"),
        (["--min-p", "1.5"], "min_p"),
        (["--typical-p", "nan"], "typical_p"),
        (["--repetition-penalty", "0"], "repetition_penalty"),
        (["--repetition-penalty", "inf"], "repetition_penalty"),
        (["--beam", "0"], "outputs <= width"),
        (["--beam", "2", "--max-new-tokens", "0"], "max_new_tokens"),
        (["--beam", "2", "--max-new-tokens", "99"], "at most 32"),
        (["--beam", "2", "--length-penalty", "-1"], "short outputs win"),
        (["--beam", "2", "--temperature", "0.5"], "draws nothing"),
        (["--beam", "2", "--stream"], "draws nothing"),
        (["--length-penalty", "1"], "belongs to --beam"),
        (["--stop", ""], "not empty"),
        (["--regex", "(a"], "(a"),
        (["--regex", "[xyz]+"], "no match can be written"),
        (["--seed", "-1"], "seed"),
        (["--prompt", "a", "--prompts", "file"], "exclude each other"),
        (["--prompts", "nowhere.txt"], "nowhere.txt"),
        (["--prompt", "the " * 10], "shorten it"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_message(capsys, arguments, message):
    assert main(["generate", "run", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("plm: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("arguments", [["--temperature", "1e-40"], ["--top-p", "1e-300"], ["--max-new-tokens", "0"]])
def test_numbers_at_the_edge_of_their_range_work(capsys, arguments):
    assert main(["generate", "run", "--prompt", "the", *arguments]) == 0
    assert capsys.readouterr().out.startswith("the")


def test_a_filter_that_leaves_one_token_is_greedy_search(capsys):
    greedy = generate(capsys, "--prompt", "the cat", "--temperature", "0").out
    assert generate(capsys, "--prompt", "the cat", "--min-p", "1").out == greedy
    assert generate(capsys, "--prompt", "the cat", "--top-p", "1e-9").out == greedy
    assert generate(capsys, "--prompt", "the cat", "--beam", "1").out == greedy
    assert generate(capsys, "--prompt", "the cat", "--temperature", "1").out != greedy


def test_settings_reach_the_draws(capsys, monkeypatch):
    from plm_core.generation import text
    from plm_core.generation.sampling import Sampling

    seen = []
    kept = text.stream
    monkeypatch.setattr(text, "stream", lambda *args, **more: seen.append(more["sampling"]) or kept(*args, **more))
    arguments = ["--top-k", 5, "--top-p", 0.9, "--min-p", 0.1, "--typical-p", 0.8, "--repetition-penalty", 1.5]
    generate(capsys, "--temperature", 0.7, *arguments)
    assert seen == [Sampling(0.7, 5, 0.9, 0.1, 0.8, 1.5)]


def test_a_beam_finds_no_less_likely_a_text_than_greedy_search(run, capsys):
    opened = Run.open("run")

    def log_probability(text):
        ids = torch.tensor([[opened.tokenizer.bos_id, *opened.tokenizer.encode(text)]])
        with torch.no_grad():
            log_p_TV = opened.model.eval()(ids[:, :-1])[0].log_softmax(-1)
        return float(log_p_TV.gather(1, ids[0, 1:, None]).sum())

    wide = generate(capsys, "--prompt", "the cat", "--beam", 8, "--length-penalty", 0).out.removesuffix("\n")
    greedy = generate(capsys, "--prompt", "the cat", "--beam", 1, "--length-penalty", 0).out.removesuffix("\n")
    assert wide.startswith("the cat")
    assert len(wide) < len(greedy) or log_probability(wide) >= log_probability(greedy)


def test_several_prompts_are_searched_and_separated(capsys, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("the cat\nthe mat sat\n", encoding="utf-8")
    first, second = generate(capsys, "--prompts", file, "--beam", 3).out.split("\n-----\n")
    assert generate(capsys, "--prompt", "the cat", "--beam", 3).out == f"{first}\n"
    assert second.startswith("the mat sat")


def test_a_continuation_ends_before_a_stop_string(capsys):
    whole = generate(capsys, "--prompt", "the cat", "--top-k", 3).out.removesuffix("\n")
    new = whole.removeprefix("the cat")
    stop = new[3:5]
    assert len(stop) == 2, "the continuation is too short for this test: choose another seed"
    expected = "the cat" + new[: new.index(stop)] + "\n"
    for more in ([], ["--stream"]):
        arguments = ["--prompt", "the cat", "--top-k", 3, "--stop", "zzz", stop, *more]
        assert generate(capsys, *arguments).out == expected


def test_a_continuation_matches_the_regular_expression(capsys):
    for seed in range(5):
        text = generate(capsys, "--prompt", "the ", "--regex", "(cat|mat) (on|sat)", "--seed", seed).out
        assert text.removeprefix("the ").strip() in ("cat on", "cat sat", "mat on", "mat sat")
