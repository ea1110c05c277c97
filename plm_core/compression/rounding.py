"""Integer layers whose weights are rounded with regard to what flows in: GPTQ and AWQ for a whole model.

:mod:`plm_core.compression.gptq` and :mod:`plm_core.compression.awq` round one weight; here the layers of a model are
exchanged for layers of these integers. Every layer is rounded by the inputs that it has in the model of floats. Frantar
et al. (2023, section 4) go from block to block instead: a block's inputs come from blocks that are rounded already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from plm_core.compression.awq import awq
from plm_core.compression.gptq import gptq
from plm_core.compression.quantize import QuantizeConfig, QuantizedLinear, Range, quantize_model

ByInputs = Literal["gptq", "awq"]
Rounding = Literal["nearest", "gptq", "awq"]
"""How a weight becomes an integer: the nearest one, or one that is chosen by the inputs of the layer."""


def quantize_by_inputs(
    model: nn.Module,
    config: QuantizeConfig,
    moments: Mapping[str, Tensor],
    *,
    rounding: ByInputs,
    ranges: Mapping[str, Range] | None = None,
) -> None:
    """Exchange the layers of a model for integer ones, rounded by GPTQ or AWQ, in place.

    Word embeddings, with ``config.embeddings``, go to the nearest integers: a table has no inputs.

    Args:
        model: as for :func:`~plm_core.compression.quantize.quantize_model`.
        config: as there. AWQ needs ``activations="none"``, because its layers divide their inputs by scales.
        moments: second moments of the inputs of every linear layer, (K, K) each, from
            :func:`~plm_core.compression.low_rank.input_moments`.
        rounding: ``"gptq"`` or ``"awq"``.
        ranges: as there, for static activations.

    Raises:
        ValueError: a layer without moments; AWQ with activations that are rounded; weights, moments or ranges that do
            not fit the format.
    """

    def make(name: str, layer: nn.Linear) -> QuantizedLinear:
        if name not in moments:
            raise ValueError(
                f"no input reached {name}: estimate the moments with text that uses the whole model, heads included"
            )
        if rounding == "awq":
            found = awq(layer.weight, moments[name], config.weights)
            scale = found.input_scale
            return QuantizedLinear.from_integers(found.weights, layer.bias, config, channel_scale=scale)
        integers = gptq(layer.weight, moments[name], config.weights)
        return QuantizedLinear.from_integers(integers, layer.bias, config, (ranges or {}).get(name))

    quantize_model(model, config, make=make)
