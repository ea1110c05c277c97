"""Model files from elsewhere: nothing in them runs, nothing outside their folder is read, nothing huge is made."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import save_file

from plm_core.compression.export import open_onnx, quantize_onnx
from plm_core.compression.saved import STRUCTURE_FILE, WEIGHTS_FILE, load_compressed, save_compressed
from plm_core.models.gpt import Gpt


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def saved(gpt: Gpt, tmp_path) -> Path:
    save_compressed(gpt, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", [STRUCTURE_FILE, WEIGHTS_FILE])
def test_a_pickle_under_another_name_is_refused_and_not_run(name, saved, gpt, tmp_path):
    (saved / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(ValueError, match=rf"{name} is (damaged|not a complete safetensors file)"):
        load_compressed(gpt, saved)
    (tmp_path / "x.onnx").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(ValueError, match="is damaged or no ONNX model"):
        open_onnx(tmp_path / "x.onnx")
    with pytest.raises(ValueError, match="is damaged or no ONNX model"):
        quantize_onnx(tmp_path / "x.onnx", tmp_path / "y.onnx")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "y.onnx").exists()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_weights_cut_short_are_refused(share, saved, gpt):
    whole = (saved / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_compressed(gpt, saved)
    (saved / WEIGHTS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        load_compressed(gpt, saved)


HUGE = 10**7
LAYER = "decoder.layers.0.attention.query"


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        (LAYER, {"kind": "linear", "in_features": HUGE, "out_features": HUGE, "bias": True}),
        (LAYER, {"kind": "low_rank_linear", "in_features": 32, "out_features": 32, "rank": HUGE * HUGE, "bias": True}),
        (LAYER, {"kind": "quantized_linear", "in_features": HUGE, "out_features": HUGE, "bias": True, "config": {}}),
        ("embeddings.word_embeddings", {"kind": "quantized_embedding", "num_embeddings": HUGE, "embedding_dim": HUGE}),
        (LAYER, {"kind": "linear", "in_features": -1, "out_features": 32, "bias": True}),
        (LAYER, {"kind": "linear", "in_features": "32", "out_features": 32, "bias": True}),
        (LAYER, {"kind": "linear", "in_features": 32, "out_features": 32, "device": "cuda"}),
        (LAYER, {"kind": "os.system", "in_features": 32}),
        (LAYER, {"kind": ["linear"]}),
        ("decoder.layers.0.attention", {"kind": "attention", "num_heads": HUGE}),
        ("decoder.layers.0.attention", {"kind": "attention", "num_heads": 0}),
        ("decoder.layers.9.attention", {"kind": "attention", "num_heads": 1}),
        ("", {"kind": "linear", "in_features": 1, "out_features": 1, "bias": True}),
    ],
)
def test_impossible_structures_are_refused_before_memory_is_asked_for(name, entry, saved, gpt):
    (saved / STRUCTURE_FILE).write_text(json.dumps({name: entry}), encoding="utf-8")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cannot be rebuilt from its description"):
            load_compressed(gpt, saved)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_weights_of_another_type_or_shape_are_refused(saved, gpt):
    save_file({"decoder.final_norm.weight": np.zeros(3, dtype=np.float32)}, saved / WEIGHTS_FILE)
    with pytest.raises(ValueError, match="do not fit Gpt; missing"):
        load_compressed(gpt, saved)


def outside(folder: Path, location: str) -> Path:
    """An ONNX file whose weights lie in another file."""
    value = onnx.helper.make_tensor_value_info
    weights = numpy_helper.from_array(np.zeros((4, 4), dtype=np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", "0"), ("length", "64")):
        weights.external_data.add(key=key, value=text)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value("x", onnx.TensorProto.FLOAT, [None, 4])],
        [value("y", onnx.TensorProto.FLOAT, [None, 4])],
        [weights],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_weights_outside_the_folder_of_an_onnx_file_are_not_read(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(np.ones(16, dtype=np.float32).tobytes())
    for location in ("../secret", str(tmp_path / "secret")):
        path = outside(folder, location)
        with pytest.raises(ValueError, match="is damaged or no ONNX model"):
            open_onnx(path)
        with pytest.raises(ValueError, match="is damaged or no ONNX model"):
            quantize_onnx(path, folder / "int8.onnx")
    assert [file.name for file in folder.iterdir()] == ["m.onnx"]
