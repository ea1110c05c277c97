"""Weights are read from every layout that Hugging Face writes; whatever is wrong with a folder is one clear error."""

import json
import pickle
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from plm_core.interop import load_pretrained, open_folder, save_pretrained
from plm_core.interop.weight_files import read_weights
from plm_core.models.gpt import Gpt, GptConfig

SHAPE = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gpt")
    torch.manual_seed(0)
    save_pretrained(Gpt(GptConfig(**SHAPE)), folder)
    return folder


@pytest.fixture
def folder(written, tmp_path) -> Path:
    """A folder of one's own, to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "gpt"))


def as_bin(folder: Path) -> dict[str, torch.Tensor]:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    return state


def as_shards(folder: Path, suffix: str = "bin") -> dict[str, str]:
    """Split the weights of a folder in two files with an index."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem = "pytorch_model" if suffix == "bin" else "model"
    places = {}
    for number, names in enumerate((list(state)[:4], list(state)[4:]), start=1):
        shard = f"{stem}-0000{number}-of-00002.{suffix}"
        part = {name: state[name].clone() for name in names}
        torch.save(part, folder / shard) if suffix == "bin" else save_file(part, folder / shard)
        places |= dict.fromkeys(names, shard)
    write_index(folder, {"weight_map": places}, suffix)
    return places


def write_index(folder: Path, content: object, suffix: str = "bin") -> None:
    name = "pytorch_model.bin.index.json" if suffix == "bin" else "model.safetensors.index.json"
    (folder / name).write_text(json.dumps(content))


def test_one_file_and_shards_of_both_kinds_hold_the_same_model(folder) -> None:
    expected = load_pretrained(folder).state_dict()
    for layout in (as_bin, lambda f: as_shards(f, "bin"), lambda f: as_shards(f, "safetensors")):
        copied = Path(shutil.copytree(folder, folder.parent / "copy"))
        layout(copied)
        found = load_pretrained(copied).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
        shutil.rmtree(copied)


@pytest.mark.parametrize(
    "place", ["../secret.bin", "/etc/passwd", "sub/x.bin", "..", "", "x.txt", "a\\b.bin", "\0.bin"]
)
def test_an_index_cannot_lead_out_of_its_folder(place, folder) -> None:
    places = as_shards(folder)
    torch.save({name: torch.zeros(1) for name in places}, folder.parent / "secret.bin")
    write_index(folder, {"weight_map": dict.fromkeys(places, place)})
    with pytest.raises(ValueError, match="expected the plain name of a file in the same folder"):
        read_weights(folder)


@pytest.mark.parametrize(
    "content", [[], {}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {}}, "x", None]
)
def test_an_index_of_another_form_is_named(content, folder) -> None:
    as_shards(folder)
    write_index(folder, content)
    with pytest.raises(ValueError, match=r"index\.json is damaged"):
        read_weights(folder)


def test_missing_shards_and_missing_tensors_are_named(folder) -> None:
    places = as_shards(folder)
    write_index(folder, {"weight_map": {**places, "more": places["transformer.wte.weight"]}})
    with pytest.raises(ValueError, match="holds 'more', but it does not"):
        read_weights(folder)
    write_index(folder, {"weight_map": places})
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"pytorch_model-00002-of-00002\.bin"):
        read_weights(folder)


class Payload:
    """An object whose unpickling would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(folder) -> None:
    state = as_bin(folder)
    victim = folder / "victim"
    for content in (Payload(victim), {**state, "x": Payload(victim)}):
        torch.save(content, folder / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"pytorch_model\.bin is damaged or holds something else"):
            load_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(victim)))
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is damaged or holds something else"):
        load_pretrained(folder)
    assert not victim.exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {1: torch.ones(1)}, {"a": torch.ones(1).to_sparse()}, "text"])
def test_a_bin_file_with_something_else_than_tensors_is_refused(content, folder) -> None:
    as_bin(folder)
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="damaged or holds something else than weights"):
        read_weights(folder)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(folder) -> None:
    as_bin(folder)
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 10_000_000)
    with pytest.raises(ValueError, match="compressed"):
        read_weights(folder)


def test_numbers_that_are_no_weights_are_refused(folder) -> None:
    state = load_file(folder / "model.safetensors")
    for bad, message in (
        (torch.full((30, 16), torch.nan), "nan or infinity"),
        (torch.ones(30, 16).char(), "quantised"),
    ):
        save_file(state | {"transformer.wte.weight": bad}, folder / "model.safetensors")
        with pytest.raises(ValueError, match=message):
            load_pretrained(folder)


def test_half_precision_is_read_as_single(folder) -> None:
    expected = load_pretrained(folder)
    state = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors")
    found = load_pretrained(folder)
    assert all(parameter.dtype == torch.float32 for parameter in found.parameters())
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), atol=1e-3, rtol=1e-3)


CONFIG_VALUES = [None, "x", -1, 0, 1, 3, 2**40, 10**30, 1.5, True, [], {}, "\ud800", float("nan")]


def damaged_folders(source: Path, target: Path, count: int, seed: int):
    """Folders with one thing wrong, each with what was done to it."""
    draw = random.Random(seed)
    for number in range(count):
        made = Path(shutil.copytree(source, target / str(number)))
        if draw.random() < 0.4:
            as_bin(made) if draw.random() < 0.5 else as_shards(made, draw.choice(["bin", "safetensors"]))
        file = draw.choice(sorted(path for path in made.iterdir() if path.name != "generation_config.json"))
        kind = draw.choice(["cut", "bytes", "empty", "folder", "config", "config", "text"])
        content = file.read_bytes()
        if kind == "cut":
            file.write_bytes(content[: draw.randrange(len(content))])
        elif kind == "bytes":
            place = draw.randrange(min(len(content), 2000))
            file.write_bytes(content[:place] + draw.randbytes(draw.choice([1, 8, 64])) + content[place + 1 :])
        elif kind == "empty":
            file.write_bytes(b"")
        elif kind == "folder":
            file.unlink()
            file.mkdir()
        elif kind == "text":
            file.write_text(draw.choice(["{}", "[]", "null", "[" * 100_000, '{"a": 1, "a": 2}', "\x00", "{'a'"]))
        else:
            file = made / "config.json"
            values = json.loads(file.read_text())
            values[draw.choice(sorted(values))] = draw.choice(CONFIG_VALUES)
            file.write_text(json.dumps(values))
        yield made, f"{number}: {kind} {file.name}"


def test_damaged_folders_are_refused_with_one_message_or_compute_as_they_say(written, tmp_path) -> None:
    expected = load_pretrained(written)(torch.arange(20)[None])
    messages = []
    for made, done in damaged_folders(written, tmp_path, count=250, seed=0):
        try:
            model = load_pretrained(made)
        except (ValueError, FileNotFoundError) as error:
            messages.append(str(error))
        else:
            found = model(torch.arange(20)[None])
            assert found.shape == expected.shape, done
            assert torch.isfinite(found).all(), done
        shutil.rmtree(made)
    assert all(message and "\n" not in message for message in messages)
    assert len(messages) > 125


def test_a_damaged_tokenizer_is_refused_with_one_message(written, tmp_path) -> None:
    shutil.copytree(written, tmp_path / "gpt")
    for content in ("", "{}", "[]", '{"model": {"type": "BPE"}}', "[" * 100_000, '{"version": "1.0"', "null"):
        (tmp_path / "gpt" / "tokenizer.json").write_text(content)
        with pytest.raises(ValueError, match=r"tokenizer\.json"):
            open_folder(tmp_path / "gpt")
