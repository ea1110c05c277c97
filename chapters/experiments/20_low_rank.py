"""Singular values of trained and of random weights, and what is left of a model whose layers become thin pairs.

Everything that is estimated on text (moments, empirical Fisher information) is estimated on training text; errors of
outputs and quality are measured on other stories. Only the layers of attention and feed-forward networks are
factorised; their biases stay as they are. A budget in units of the loss also weighs the rows of each layer, which the
other budgets do not. The teacher is trained for so short a time that one block can do as well as its six.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from plm_chapters.experiments.teachers import Kind, Task, train
from plm_core.compression.low_rank import (
    LowRankLinear,
    factorise,
    factorise_model,
    fisher_rows,
    input_moments,
    row_curvature,
)
from plm_core.compression.rank_budget import ranks_by_budget, spectra
from plm_core.compression.structure import block_linears
from plm_core.models.replacement import replace_modules

VARIANTS = ["spectra", "methods", "recovery", "more training", "tied", "masked", "update"]
SEEDS = [0, 1, 2]

SHARES = [0.75, 0.5, 0.33, 0.25]
"""Of the weights of the blocks, kept at most."""
FEW = [0.5, 0.33]
"""The shares at which the weightings by Fisher information alone are measured."""
METHODS = ["plain", "Fisher of outputs", "Fisher of inputs", "activations", "budget"]
"""One rank for all layers of a shape, unless it is a budget: of the loss, of relative or of absolute errors."""
RECOVERY: dict[str, Any] = {"steps": 60, "learning_rate": 2e-3}


def run(variant: str, seed: int, preset: str) -> dict[str, Any]:
    """Measure one group of models that are made from one seed's teacher."""
    if variant == "masked":
        bench = bench_of("masked", seed, preset)
        return {"runs": [bench.measure(method, 0.33) for method in METHODS], "teacher": bench.quality}
    if variant == "update":
        return update(seed, preset)
    bench = bench_of("causal", seed, preset)
    return {"teacher": bench.quality} | GROUPS[variant](bench)


class Bench:
    """A teacher, what was estimated on its training text, and the moments of its inputs on test text."""

    def __init__(self, kind: Kind, seed: int, preset: str) -> None:
        self.task, self.seed = Task(kind, preset), seed
        self.teacher = self.task.teacher(seed)
        self.sample = self.task.sample(seed)

    @cached_property
    def quality(self) -> float:
        """The teacher's, on test text."""
        return self.task.quality(self.teacher)

    @cached_property
    def fisher(self) -> dict[str, Tensor]:
        """Fisher information of the outputs of layers, on training text."""
        return fisher_rows(self.teacher, self.task.objective, self.sample)

    @cached_property
    def fisher_of_inputs(self) -> dict[str, Tensor]:
        """Fisher information of the inputs, as diagonal matrices: the weighting of Hsu et al. (2022)."""
        rows = fisher_rows(self.teacher, self.task.objective, self.sample, per="input")
        return {name: torch.diag(row) for name, row in rows.items()}

    @cached_property
    def moments(self) -> dict[str, Tensor]:
        """Second moments of inputs, on training text."""
        return input_moments(self.teacher, partial(self.task.run, batches=self.sample))

    @cached_property
    def test_moments(self) -> dict[str, Tensor]:
        """Second moments of inputs, on test text: to judge by, never to choose by."""
        return input_moments(self.teacher, partial(self.task.run, batches=self.task.test[:2]))

    def thin(self, method: str, share: float) -> nn.Module:
        """A copy of the teacher that keeps at most that share of the weights of its blocks."""
        model = copy.deepcopy(self.teacher)
        if method == "plain":
            factorise_model(model, share)
        elif method == "Fisher of outputs":
            factorise_model(model, share, row_weights=self.fisher)
        elif method == "Fisher of inputs":
            factorise_model(model, share, moments=self.fisher_of_inputs)
        elif method == "activations":
            factorise_model(model, share, moments=self.moments)
        else:
            rows = row_curvature(self.fisher, self.moments) if method == "budget" else None
            errors = spectra(model, row_weights=rows, moments=self.moments)
            if method == "budget, relative":
                errors = {name: values / values.sum() for name, values in errors.items()}
            factorise_model(model, ranks_by_budget(model, share, errors), row_weights=rows, moments=self.moments)
        return model

    def lopsided(self, share: float, *, factor: float = 100.0) -> nn.Module:
        """As with a budget, but every ``up`` is larger by a factor and every ``down`` smaller: the same function."""
        model = self.thin("budget", share)
        with torch.no_grad():
            for pair in (module for module in model.modules() if isinstance(module, LowRankLinear)):
                pair.up.weight *= factor
                pair.down.weight /= factor
        return model

    def measure(self, method: str, share: float, *, recover: bool = False) -> dict[str, Any]:
        """Quality of a thinned model, its errors by layer, and its ranks."""
        model = self.lopsided(share) if method == "lopsided" else self.thin(method, share)
        found = {"method": method, "share": share, "recovered": recover, **self.errors(model), "ranks": ranks(model)}
        if recover:
            train(model, self.task, seed=self.seed + 500, **RECOVERY)
        quality = self.task.quality(model)
        return found | {"quality": quality, "lost": self.task.lost(quality, self.quality)}

    def errors(self, model: nn.Module) -> dict[str, float]:
        """Squared errors of weights, and of outputs on test text, as shares of what they approximate: layers' mean.

        A layer's output error is measured with the teacher's inputs: it is the layer's own.
        """
        of_weights, of_outputs = [], []
        for name, layer in block_linears(self.teacher).items():
            whole = layer.weight.detach().double()
            weight = model.get_submodule(name).weight  # of a thin pair: the product, which is no parameter
            assert isinstance(weight, Tensor)
            error = weight.detach().double() - whole
            moments = self.test_moments[name]
            of_weights.append(energy(error) / energy(whole))
            of_outputs.append(energy(error, moments) / energy(whole, moments))
        count = len(of_weights)
        return {"weight_error": sum(of_weights) / count, "output_error": sum(of_outputs) / count}


@lru_cache(maxsize=3)
def bench_of(kind: Kind, seed: int, preset: str) -> Bench:
    """The bench of a seed, kept for the next group."""
    return Bench(kind, seed, preset)


def energy(weight: Tensor, moments: Tensor | None = None) -> float:
    """Sum of squares of a matrix (M, K), or the mean squared length of its outputs for inputs of those moments."""
    return float(((weight if moments is None else weight @ moments) * weight).sum())


def ranks(model: nn.Module) -> dict[str, int]:
    """The rank of every layer that was factorised."""
    return {name: module.rank for name, module in model.named_modules() if isinstance(module, LowRankLinear)}


# The groups of one seed


def methods(bench: Bench) -> dict[str, Any]:
    """The methods without training; budgets of other errors at one share."""
    cases = [(method, share) for share in SHARES for method in METHODS if share in FEW or "Fisher" not in method]
    found = [bench.measure(method, share) for method, share in cases]
    others = [bench.measure(f"budget, {kind}", 0.33) for kind in ("relative", "absolute")]
    return {"runs": found + others}


def recovery(bench: Bench) -> dict[str, Any]:
    """A short training afterwards."""
    cases = [
        ("plain", 0.5),
        ("budget", 0.5),
        ("lopsided", 0.5),
        ("plain", 0.25),
        ("activations", 0.25),
        ("budget", 0.25),
    ]
    return {"runs": [bench.measure(method, share, recover=True) for method, share in cases]}


def more_training(bench: Bench) -> dict[str, Any]:
    """The teacher itself, trained as long as the thinned models are: what recovery owes to training alone."""
    model = train(copy.deepcopy(bench.teacher), bench.task, seed=bench.seed + 500, **RECOVERY)
    quality = bench.task.quality(model)
    return {"quality": quality, "lost": bench.task.lost(quality, bench.quality)}


def spectra_of(bench: Bench) -> dict[str, Any]:
    """Energy that the first ranks hold, by kind of layer: trained and initial weights, without and with the inputs."""
    torch.manual_seed(bench.seed)  # as the teacher started
    initial = bench.task.new_model()
    initial_moments = input_moments(initial, partial(bench.task.run, batches=bench.sample[:4]))
    found = {
        "trained weights": spectra(bench.teacher),
        "initial weights": spectra(initial),
        "trained outputs": spectra(bench.teacher, moments=bench.moments),
        "initial outputs": spectra(initial, moments=initial_moments),
    }
    return {
        "curves": {what: mean_curves(each) for what, each in found.items()},
        "effective": {
            what: {name: round(effective_rank(squares), 2) for name, squares in each.items()}
            for what, each in found.items()
        },
    }


def mean_curves(squares: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """The share of the energy that the first 4, 8, ... ranks hold, for each kind of layer, blocks averaged."""
    kinds: dict[str, list[Tensor]] = {}
    for name, values in squares.items():
        kinds.setdefault(name.rpartition(".")[2], []).append(values.cumsum(0) / values.sum())
    return {kind: [round(x, 4) for x in torch.stack(curves).mean(0)[3::4].tolist()] for kind, curves in kinds.items()}


def effective_rank(squares: Tensor) -> float:
    """The exponential of the entropy of the singular values, taken as probabilities (Roy and Vetterli 2007)."""
    p = squares.clamp(min=0).sqrt()
    p = p / p.sum()
    return float(torch.exp(torch.special.entr(p).sum()))


def tied(bench: Bench) -> dict[str, Any]:
    """Query and key alone made thin: each for itself, with one ``down`` for both, or with one ``up`` for two blocks.

    Two pairs of rank 3n have as many weights as two that share one factor at rank 4n.
    """
    found = []
    for rank in (6, 12):
        for share_what in ("nothing", "down", "up"):
            model = copy.deepcopy(bench.teacher)
            tie(model, share_what, rank if share_what == "nothing" else rank * 4 // 3, bench.moments)
            quality = bench.task.quality(model)
            found.append({"shared": share_what, "rank": rank, "lost": bench.task.lost(quality, bench.quality)})
    return {"runs": found}


def tie(model: nn.Module, shared: str, rank: int, moments: Mapping[str, Tensor]) -> None:
    """Factorise queries and keys in pairs of layers that share one factor, each pair in the best way for its outputs.

    Args:
        model: changed in place.
        shared: ``"down"``: the query and the key of a block, stacked; ``"up"``: the queries, and the keys, of two
            neighbouring blocks, side by side; ``"nothing"``: each layer for itself.
        rank: of every layer.
        moments: of the inputs.
    """
    layers = {name: each for name, each in block_linears(model).items() if name.endswith(("query", "key"))}
    blocks = [name.removesuffix("query") for name in layers if name.endswith("query")]
    made: dict[str, nn.Module] = {}
    if shared == "nothing":
        made = {name: factorise(each, rank, input_moments=moments[name]) for name, each in layers.items()}
    elif shared == "down":
        for block in blocks:
            names = [block + "query", block + "key"]  # both read the same input
            stacked = linear(torch.cat([layers[name].weight for name in names]))
            both = factorise(stacked, rank, input_moments=moments[names[0]])
            for name, up in zip(names, both.up.weight.chunk(2), strict=True):
                made[name] = pair(up, both.down.weight, layers[name].bias)
    else:
        for what in ("query", "key"):
            for first, second in zip(blocks[::2], blocks[1::2], strict=True):
                names = [first + what, second + what]
                side_by_side = linear(torch.cat([layers[name].weight for name in names], dim=1))
                inputs = torch.block_diag(*(moments[name] for name in names))
                both = factorise(side_by_side, rank, input_moments=inputs)
                for name, down in zip(names, both.down.weight.chunk(2, dim=1), strict=True):
                    made[name] = pair(both.up.weight, down, layers[name].bias)
    replace_modules(model, made)


def linear(weight: Tensor) -> nn.Linear:
    """A layer without bias that has this weight."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.detach())
    return layer


def pair(up: Tensor, down: Tensor, bias: Tensor) -> LowRankLinear:
    """A thin pair of these factors; a factor that is a parameter is shared, not copied."""
    made = LowRankLinear(down.shape[1], up.shape[0], down.shape[0])
    made.up.weight = up if isinstance(up, nn.Parameter) else nn.Parameter(up.detach().clone())
    made.down.weight = down if isinstance(down, nn.Parameter) else nn.Parameter(down.detach().clone())
    made.up.bias = nn.Parameter(bias.detach().clone())
    return made


def update(seed: int, preset: str) -> dict[str, Any]:
    """What fine-tuning added to the weights, cut to a rank: W + BA with the best BA of rank r, merged, nothing trained.

    The fine-tuned model tells moods; it began as the masked model.
    """
    task = Task("mood", preset)
    tuned, before = task.teacher(seed), block_linears(Task("masked", preset).teacher(seed))
    changes = {
        name: layer.weight.detach() - before[name].weight.detach() for name, layer in tuned_linears(tuned, before)
    }
    decomposed = {name: torch.linalg.svd(change) for name, change in changes.items()}
    whole, found = task.quality(tuned), []
    for rank in (0, 1, 2, 4, 8, 16):
        model = copy.deepcopy(tuned)
        with torch.no_grad():
            for name, layer in tuned_linears(model, before):
                u, s, vt = decomposed[name]
                layer.weight.copy_(before[name].weight + (u[:, :rank] * s[:rank]) @ vt[:rank])
        found.append({"rank": rank, "quality": task.quality(model)})
    return {
        "teacher": whole,
        "runs": found,
        "effective": {name: round(effective_rank(s.square()), 2) for name, (_, s, _) in decomposed.items()},
        "size": {name: float(change.norm() / before[name].weight.detach().norm()) for name, change in changes.items()},
    }


def tuned_linears(model: nn.Module, before: Mapping[str, nn.Linear]) -> list[tuple[str, nn.Linear]]:
    """The layers of a classifier's blocks, by the name that they have in the model it began as."""
    layers = block_linears(model)
    return [(name, next(each for full, each in layers.items() if full.endswith(name))) for name in before]


GROUPS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "spectra": spectra_of,
    "methods": methods,
    "recovery": recovery,
    "more training": more_training,
    "tied": tied,
}
