"""Pretraining in stages: six orders of three objectives, against mixtures, single objectives, and replay.

One trunk (see stage_runs) of 3 blocks of width 96 with rotary positions, unless an arm says otherwise. Every arm makes
STAGES times STAGE_STEPS steps of BATCH stories and sees each story once, so all read the same number of words. How many
labels they learn from differs: every word for C, 40 % of the words for M (15 % in tests), 16 pairs a story for R.

Variants, each with all arms of its kind:

- "orders": the six orders of C, M and R, a third of the steps for each stage. Orders with the same beginning share it.
  The best checkpoint of each stage, by its own loss on validation stories, is handed on. Measured after every stage;
- "alone": C or M alone for all steps;
- "mixture": the three objectives side by side from the start, in equal shares;
- "others": R or P alone; mixtures with shares by the number of labels at temperatures 1 and 2; and P with M in equal
  shares;
- "replay": the orders RCM and RMC, with a fifth of the batches of each later stage for the earlier objectives;
- "positions": whether R buys anything, by what the trunk has for positions, learned ones, rotary ones and none: M alone
  for two thirds of the steps, and the same after R for the other third.

The learning rate of each objective is that of 11a_stage_rates, for one stage or for all; in a later stage it is
multiplied by that objective's factor of 11b_later_rates. Those of "positions" are swept for each scheme and each arm by
11d_position_rates. A first version of this experiment had learned positions everywhere; with them M stayed behind
counting, so that nothing could be said about it.

Measured on test stories: the loss of each objective, the excess over the ideal reader by skill (read from left to
right), and how often a linear classifier on the frozen trunk finds the mood of a story from 64, 256 or 1,024 labels.

Criterion, set before the run: no order is chosen. Compared are, in each seed, (a) the loss of C, averaged over the two
orders that end with C, (b) the loss of M, averaged over the two orders that end with M, (c) the probe with 256 labels
on states of both sides, averaged over all six orders, each with the single objective (C, M, M) and with the mixture in
equal shares. A difference counts if its interval (Student's t over the seeds) does not contain zero. Six comparisons:
each interval has 99.17 %, which makes 95 % together. What an interval contains is not separated here. The kinds of the
criterion have five seeds, the others three.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from plm_chapters.experiments import stage_runs as runs
from plm_chapters.notebook import load_results
from plm_core.runtime import setup
from plm_core.training.curriculum import Stage

ORDERS = ["".join(order) for order in itertools.permutations("CMR")]
TEMPERATURES = {"temperature 1": 1.0, "temperature 2": 2.0}
PREFIXES = "prefix and masked"
REPLAYED, REPLAY = ["RCM", "RMC"], 0.2
SCHEMES = runs.SCHEMES
SEEDS = [0, 1, 2, 3, 4]
ALL = runs.STAGES * runs.STAGE_STEPS


def rates(preset: str) -> dict[str, float]:
    """The best learning rate of each objective in a first stage ("C"), a later one ("C later"), or alone ("C long").

    Those of a position scheme are called "rope, R", "rope, M" for M alone and "rope, RM" for M after R.
    """
    found = {each["variant"]: each["rate"] for each in load_results("11a_stage_rates", preset)["runs"]}
    factors = {each["variant"]: each["factor"] for each in load_results("11b_later_rates", preset)["runs"]}
    placed = {
        f"{each['variant']}, {name}": rate
        for each in load_results("11d_position_rates", preset)["runs"]
        for name, rate in each["rates"].items()
    }
    return found | placed | {f"{name} later": found[name] * factor for name, factor in factors.items()}


def rate_in_stage(objective: str, number: int, rate_of: dict[str, float]) -> float:
    """The rate of an objective in the stage of that number."""
    return rate_of[f"{objective} later" if number else objective]


def with_replay(order: str, number: int, rate_of: dict[str, float], seed: int) -> Stage:
    """The stage of that number, with a fifth of its batches from the objectives of earlier ones."""
    earlier = order[:number]
    shares = {order[number]: 1 - REPLAY if earlier else 1.0} | {each: REPLAY / len(earlier) for each in earlier}
    if not earlier:
        return runs.storyworld().stage(order[0], 0, rate=rate_of[order[0]], seed=seed)
    name = f"{runs.NAMES[order[number]]}_and_earlier"
    return runs.storyworld().mixed(
        shares, number, rate=rate_in_stage(order[number], number, rate_of), seed=seed, name=name
    )


def in_order(order: str, rate_of: dict[str, float], seed: int) -> list[Stage]:
    """The stages of an order, or of its beginning."""
    return [
        runs.storyworld().stage(each, number, rate=rate_in_stage(each, number, rate_of), seed=seed)
        for number, each in enumerate(order)
    ]


def orders(rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """What was measured after every beginning of every order, by its letters."""
    found: dict[str, Any] = {"": runs.measure(runs.storyworld().build(seed))}
    for length in range(1, runs.STAGES + 1):
        for begun in sorted({order[:length] for order in ORDERS}):
            before = folder / begun[:-1] if length > 1 else None
            model = runs.run_stages(
                runs.storyworld().build(seed), in_order(begun, rate_of, seed), folder / begun, seed=seed, begun=before
            )
            found[begun] = runs.measure(model)
    return found


def for_all_steps(names: dict[str, str], rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """Objectives that are alone for all steps, each with the name of its rate."""
    texts, found = runs.storyworld(), dict[str, Any]()
    for each, rate in names.items():
        stage = texts.stage(each, 0, rate=rate_of[rate], seed=seed, steps=ALL)
        found[each] = runs.measure(runs.run_stages(texts.build(seed), [stage], folder / each, seed=seed))
    return found


def side_by_side(
    shares: dict[str, dict[str, float]], rate_of: dict[str, float], seed: int, folder: Path
) -> dict[str, Any]:
    """Mixtures with these shares for all steps."""
    texts, found = runs.storyworld(), dict[str, Any]()
    for name, each in shares.items():
        stage = texts.mixed(each, 0, rate=rate_of["mixture long"], seed=seed, steps=ALL)
        found[name] = runs.measure(runs.run_stages(texts.build(seed), [stage], folder / name, seed=seed))
    return found


def alone(rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """One objective for all steps."""
    return for_all_steps({"C": "C long", "M": "M long"}, rate_of, seed, folder)


def mixture(rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """All three in equal shares."""
    return side_by_side({"equal shares": dict.fromkeys("CMR", 1 / 3)}, rate_of, seed, folder)


def others(rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """What the criterion does not concern."""
    shares = {name: runs.storyworld().shares_at(temperature) for name, temperature in TEMPERATURES.items()}
    shares |= {PREFIXES: {"P": 0.5, "M": 0.5}}
    found = for_all_steps({"R": "R", "P": "C long"}, rate_of, seed, folder)
    return found | side_by_side(shares, rate_of, seed, folder) | {"shares": shares}


def replay(rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """Orders with replay."""
    found: dict[str, Any] = {}
    for order in REPLAYED:
        stages = [with_replay(order, number, rate_of, seed) for number in range(runs.STAGES)]
        found[order] = runs.measure(runs.run_stages(runs.storyworld().build(seed), stages, folder / order, seed=seed))
    return found


def positions(rate_of: dict[str, float], seed: int, folder: Path) -> dict[str, Any]:
    """M alone and R before M, by position scheme."""
    found: dict[str, Any] = {}
    later = 2 * runs.STAGE_STEPS
    for scheme in SCHEMES:
        for name, before in (("M", ""), ("RM", "R")):
            stages = [runs.storyworld().stage(each, 0, rate=rate_of[f"{scheme}, {each}"], seed=seed) for each in before]
            stages.append(runs.storyworld().stage("M", 1, rate=rate_of[f"{scheme}, {name}"], seed=seed, steps=later))
            model = runs.run_stages(
                runs.storyworld().build(seed, scheme), stages, folder / f"{scheme}-{name}", seed=seed
            )
            found[f"{scheme}, {name}"] = runs.measure(model)
    return found


ARMS: dict[str, Callable[[dict[str, float], int, Path], dict[str, Any]]] = {
    "orders": orders,
    "alone": alone,
    "mixture": mixture,
    "others": others,
    "replay": replay,
    "positions": positions,
}
VARIANTS = list(ARMS)


def run(variant: str, seed: int, preset: str, folder: Path) -> dict[str, Any]:
    """Train and measure all arms of a kind."""
    setup(seed=seed, preset=preset)
    torch.set_num_threads(1)
    return {"arms": ARMS[variant](rates(preset), seed, folder), "steps": ALL}
