"""ONNX Runtime's integers are the taught ones: the same weights, and outputs within the stated bounds."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from plm_core.compression.calibration import calibrate
from plm_core.compression.export import open_onnx, quantize_onnx
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear, Range


@pytest.fixture(scope="module")
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(64, 24).requires_grad_(False)


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(3, 11, 64, generator=torch.Generator().manual_seed(1)) + 0.5


@pytest.fixture(scope="module")
def files(layer, x, tmp_path_factory):
    """The layer as x·W + b, in floats and in both integer forms."""
    folder = tmp_path_factory.mktemp("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["m"]), onnx.helper.make_node("Add", ["m", "b"], ["y"])],
        "layer",
        [value("x", onnx.TensorProto.FLOAT, [None, None, 64])],
        [value("y", onnx.TensorProto.FLOAT, [None, None, 24])],
        [numpy_helper.from_array(layer.weight.T.numpy(), "w"), numpy_helper.from_array(layer.bias.numpy(), "b")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "floats.onnx")
    quantize_onnx(folder / "floats.onnx", folder / "dynamic.onnx")
    quantize_onnx(folder / "floats.onnx", folder / "static.onnx", calibration=[{"x": x.numpy()}])
    return folder


def outputs(path, x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(open_onnx(path, threads=1).run(None, {"x": x.numpy()})[0])


def stored(path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_weights_are_the_same_integers(kind, files, layer):
    ours, theirs = QuantizedLinear.of(layer, QuantizeConfig()), stored(files / f"{kind}.onnx")
    (weights,) = [array for array in theirs.values() if array.dtype == np.int8 and array.shape == (64, 24)]
    assert (ours.weights.values.int() - torch.from_numpy(weights).T.int()).abs().max() <= 1
    scales = [array for name, array in theirs.items() if name.startswith("w") and name.endswith("scale")]
    np.testing.assert_allclose(scales[0].ravel(), ours.scale.numpy().ravel(), rtol=1e-5)
    assert all((array == 0).all() for name, array in theirs.items() if name.startswith("w") and "zero_point" in name)


def rounding_bound(layer: nn.Linear, x: torch.Tensor, step_x: float) -> torch.Tensor:
    """What rounding weights and inputs can change: the bound of ``error_bound``, for one step of all inputs."""
    error_w = layer.weight.abs().amax(-1) / 127 / 2
    error_x = step_x / 2
    flat = x.abs().sum(-1, keepdim=True) * error_w
    return flat + error_x * (layer.weight.abs().sum(-1) + layer.in_features * error_w)


def test_dynamic_outputs_lie_within_the_bound(files, layer, x):
    """ONNX Runtime rounds all tokens of a call with one step, this library each with its own."""
    step = float(x.max().clamp(min=0) - x.min().clamp(max=0)) / 255
    bound = rounding_bound(layer, x, step) * (1 + 1e-4) + 1e-5
    theirs, exact = outputs(files / "dynamic.onnx", x), layer(x)
    assert ((theirs - exact).abs() <= bound).all()
    ours = QuantizedLinear.of(layer, QuantizeConfig(activations="dynamic"))(x)
    assert ((ours - exact).abs() <= bound).all()
    assert (ours - theirs).abs().max() > 0


def test_static_outputs_differ_by_the_rounding_of_the_output_alone(files, layer, x):
    """Inputs and weights become the same integers; ONNX Runtime rounds the product to 8 bits as well."""
    model = nn.Sequential(layer)
    ranges = calibrate(model, lambda module: module(x), method="minmax")
    ours = QuantizedLinear.of(layer, QuantizeConfig(activations="static"), ranges["0"])
    theirs, product = outputs(files / "static.onnx", x) - layer.bias, layer(x) - layer.bias
    low, high = float(product.min()), float(product.max())
    step = (high - low) / 255
    ours = ours(x) - layer.bias
    inside = (ours > low + step) & (ours < high - step)  # what lies further out is clipped to what was seen
    assert inside.float().mean() > 0.95
    assert (theirs - ours)[inside].abs().max() <= 0.55 * step
    assert (theirs - ours).abs().mean() > 0.1 * step


def test_the_static_range_is_ours(files, x):
    seen = stored(files / "static.onnx")
    ours: Range = calibrate(nn.Sequential(nn.Linear(64, 2)), lambda model: model(x), method="minmax")["0"]
    assert float(seen["x_scale"]) == pytest.approx(ours.scale, rel=1e-5)
    assert abs(int(seen["x_zero_point"]) - (ours.zero_point + 128)) <= 1  # unsigned there, signed here


def test_integer_products_are_exact_on_processors_without_vnni(tmp_path):
    """Extreme factors: two products of unsigned and signed 8-bit integers add up to more than 16 bits hold."""
    weights_KM, inputs_NK = np.full((64, 8), 127, dtype=np.int8), np.full((3, 64), 255, dtype=np.uint8)
    value, kinds = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [value("x", kinds.UINT8, [None, 64])],
        [value("y", kinds.INT32, [None, 8])],
        [numpy_helper.from_array(weights_KM, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "product.onnx")
    (found,) = open_onnx(tmp_path / "product.onnx", threads=1).run(None, {"x": inputs_NK})
    assert (found == 64 * 127 * 255).all()
