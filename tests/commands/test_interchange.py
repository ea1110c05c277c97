"""`plm export --format huggingface` and `plm import`: models go out and come in by the command line."""

from pathlib import Path

import pytest
import torch
import transformers

from plm_core.cli import main
from plm_core.interop import pretrained_folder, save_pretrained
from plm_core.models.bert import Bert, BertConfig
from plm_core.models.classifier import BertClassifier, ClassifierConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.runs.config import read_run_config
from plm_core.runs.open import Run
from plm_core.weights import stripped_state_dict

SENTENCES = [
    "小猫坐在窗边，看着外面的雨。",
    "她把红色的球放进盒子里，然后去了花园。",
    "盒子里的球是红色的吗？",
    "雨停了，小猫睡着了。",
]
CONFIG = """
corpus: {corpus}
output: {output}
objective: {objective}
tokenizer: {tokenizer}
vocab_size: 400
documents: line
context: 32
batch_size: 8
precision: fp32
model: {model}
train: {{steps: 40, learning_rate: 0.01, warmup_steps: 4, eval_every: 40, save_every: 40}}
"""
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(autouse=True)
def _offline(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def run_of(folder: Path, *, objective: str, tokenizer: str, **model: object) -> Path:
    """A run that `plm train` made from a Chinese text file."""
    corpus, config = folder / "text.txt", folder / "config.yaml"
    corpus.write_text("\n".join(SENTENCES * 20), encoding="utf-8")
    values = {"corpus": corpus, "output": folder / "run", "objective": objective, "tokenizer": tokenizer}
    config.write_text(CONFIG.format(**values, model={**SHAPE, **model}), encoding="utf-8")
    assert main(["train", str(config)]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def gpt_run(tmp_path_factory) -> Path:
    return run_of(tmp_path_factory.mktemp("gpt"), objective="causal_lm", tokenizer="bpe", position="rope")


def exported(run: Path, output: Path) -> Path:
    assert main(["export", str(run), "--output", str(output), "--format", "huggingface"]) == 0
    return output


def test_a_gpt_of_ones_own_chinese_text_is_continued_alike_by_transformers(gpt_run, tmp_path, capsys) -> None:
    folder = exported(gpt_run, tmp_path / "exported")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for prompt in ("小猫", "她把", "盒子"):
        ids = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=24, do_sample=False)[0]
        capsys.readouterr()
        arguments = ["--prompt", prompt, "--max-new-tokens", "24", "--temperature", "0"]
        assert main(["generate", str(gpt_run), *arguments]) == 0
        assert capsys.readouterr().out == tokenizer.decode(ids, skip_special_tokens=True) + "\n"
        assert main(["generate", str(folder), *arguments]) == 0  # a command takes the folder where it takes a run
        assert capsys.readouterr().out == tokenizer.decode(ids, skip_special_tokens=True) + "\n"


def test_what_was_exported_is_imported_and_evaluated_alike(gpt_run, tmp_path, capsys) -> None:
    folder, imported = exported(gpt_run, tmp_path / "exported"), tmp_path / "imported"
    assert main(["import", str(folder), str(imported)]) == 0
    assert "Gpt with" in capsys.readouterr().out
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(SENTENCES), encoding="utf-8")
    lines = []
    for model in (folder, imported):
        assert main(["evaluate", str(model), "--text", str(text)]) == 0
        lines.append(capsys.readouterr().out)
    assert lines[0] == lines[1]
    assert "perplexity" in lines[0]
    original, again = Run.open(gpt_run), Run.open(imported)
    assert again.tokenizer.fingerprint == original.tokenizer.fingerprint
    before, after = stripped_state_dict(original.model), stripped_state_dict(again.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_bert_fills_masks_alike_in_transformers(tmp_path, capsys) -> None:
    run = run_of(tmp_path, objective="masked_lm", tokenizer="wordpiece")
    folder = exported(run, tmp_path / "exported")
    pipeline = transformers.pipeline("fill-mask", model=str(folder), tokenizer=str(folder))
    best = pipeline("小[MASK]坐在窗边", top_k=1)[0]
    capsys.readouterr()
    assert main(["fill-mask", str(folder), "小[MASK]坐在窗边", "--top", "1"]) == 0
    assert f"{best['score']:6.1%}  {best['token_str']}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["gpt_tiny", "bert_tiny", "text8_gpt", "wikitext_bert"])
def test_every_configuration_that_ships_can_be_exported(name, root, tmp_path) -> None:
    config = read_run_config(root / "configs" / f"{name}.yaml")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    shape = config.replace(model={**config.model, **small}).model_config(vocab_size=50)
    model = (Gpt(shape) if isinstance(shape, GptConfig) else Bert(shape)).eval()
    notes = save_pretrained(model, tmp_path)
    assert all(note.startswith("ESM has no") for note in notes)
    ids = torch.randint(50, (2, 9))
    with torch.no_grad():
        if isinstance(model, Gpt):
            theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
            torch.testing.assert_close(theirs(ids).logits, model(ids), atol=1e-5, rtol=1e-5)
        else:
            theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
            expected = model(ids, masked_positions=torch.ones_like(ids).bool()).prediction_logits
            torch.testing.assert_close(theirs(ids).logits.flatten(0, 1), expected, atol=1e-5, rtol=1e-5)


def test_minilm_is_imported_and_says_what_it_lacks(tmp_path, capsys) -> None:
    folder, run = pretrained_folder("all-minilm-l6-v2"), tmp_path / "run"
    assert main(["import", str(folder), str(run)]) == 0
    assert "without mlm_head, nsp_head" in capsys.readouterr().out
    text = tmp_path / "text.txt"
    text.write_text("A cat sleeps.\n", encoding="utf-8")
    for model in (folder, run):
        for command in (["fill-mask", str(model), "a [MASK]"], ["evaluate", str(model), "--text", str(text)]):
            assert main(command) == 2
            assert "came without its mlm_head" in capsys.readouterr().err
    assert exported(run, tmp_path / "again").is_dir()
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "again").eval()
    ids = torch.tensor([[101, 7592, 2088, 102]])
    with torch.no_grad():
        assert torch.equal(theirs(ids).last_hidden_state, Run.open(run).model.encoder(ids))


def refused(capsys, *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_nothing_is_replaced_and_mistakes_are_named(gpt_run, tmp_path, capsys) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    assert "is not empty" in refused(capsys, "export", gpt_run, "--output", taken, "--format", "huggingface")
    folder = exported(gpt_run, tmp_path / "exported")
    assert "is not empty" in refused(capsys, "import", folder, taken)
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]
    assert "it has no config.json" in refused(capsys, "import", taken, tmp_path / "x")
    assert "no folder" in refused(capsys, "import", tmp_path / "none", tmp_path / "x")
    assert "belong to --format onnx" in refused(
        capsys, "export", gpt_run, "--output", tmp_path / "x", "--format", "huggingface", "--int8"
    )
    assert "names no corpus: give a text" in refused(capsys, "evaluate", folder)
    assert not (tmp_path / "x").exists()


def test_a_classifier_is_no_run(tmp_path, capsys) -> None:
    from plm_core.data.tokenizer_training import train_wordpiece

    tokenizer = train_wordpiece(SENTENCES, vocab_size=200)
    model = BertClassifier(ClassifierConfig(vocab_size=tokenizer.vocab_size, **SHAPE))
    save_pretrained(model, tmp_path / "folder", tokenizer=tokenizer)
    assert "holds a classifier" in refused(capsys, "import", tmp_path / "folder", tmp_path / "x")


def test_a_model_with_more_ids_than_its_tokenizer_is_used_as_it_is(tmp_path, capsys) -> None:
    from plm_core.data.tokenizer_training import train_wordpiece

    tokenizer = train_wordpiece(SENTENCES, vocab_size=200)
    model = Bert(BertConfig(vocab_size=tokenizer.vocab_size + 9, **SHAPE))
    save_pretrained(model, tmp_path / "folder", tokenizer=tokenizer)
    assert "Use the folder as it is" in refused(capsys, "import", tmp_path / "folder", tmp_path / "x")
    assert main(["fill-mask", str(tmp_path / "folder"), "小[MASK]"]) == 0
