"""Which distances harm RoPE on 128 events: those whose angles are new, or those whose angles come round again?

The models with RoPE of the experiment 06 are trained again (same rate, seeds and streams) and read the test streams
with a mask: every event attends to the distances 0 to 31, as in training, and to one band of greater distances. Near
questions have their evidence within the first 32 distances, so a band adds nothing that they need.

The second pair of columns turns by 0.1 per event. In the band 32 to 62 its angles are new. In the band 64 to 94 they
are, less one full turn, those of the distances 1 to 31; so are those of the first pair, which makes ten turns in 62.8
events. The third and the fourth pair meet new angles in both bands, unless they are interpolated by four.

Narrow bands of six distances, one turn of the first pair, follow the second pair around the circle. Its trained angles
fill the first 3.1 of 6.28 radians. The band 36 to 41 lies 0.5 to 1.0 radians from the nearest of them, that of 31; the
bands 42 to 47 and 48 to 53 lie 1.0 to 1.6 from all; 54 to 59 lies 0.4 to 0.9 from that of 0; in 66 to 71 they are those
of 3 to 8.

Criteria, fixed before the runs; two seeds with fewer steps had suggested the wide bands, one seed the narrow ones. A
band *harms* if the interval of the accuracy on near questions with the band, minus that of the same models and angles
without, lies below zero (Student's, five seeds, 95 % after Bonferroni's correction for 36 comparisons, as in 06). Here
there are 8 with wide and 15 with narrow bands, and two more: *resemblance* to recent events adds to the harm of new
angles if the accuracy with 54 to 59, minus that with 36 to 41, lies below zero, as trained and with the third and the
fourth pair interpolated. Angles that come round again harm by themselves if the band 64 to 94 harms while these two
pairs are interpolated, and new angles do if the band 42 to 47 then does.
"""

from __future__ import annotations

import torch

from plm_chapters.experiments.position_recall import (
    LENGTH,
    LENGTHS,
    MODEL_SEEDS,
    SCORED,
    Recall,
    build,
    test_streams,
    train,
)
from plm_chapters.experiments.position_runs import stretched, with_angles
from plm_core.models.positions import Rope
from plm_core.runtime import Preset

VARIANTS = ["rope"]
SEEDS = [0]
RATE = 1.6e-2
"""The learning rate that the sweep of 06 chose."""

NARROW = {f"{first}-{first + 5}": (first, first + 5) for first in (36, 42, 48, 54, 66)}
BANDS = {"none": None, "32-62": (32, 62), "64-94": (64, 94), "64-78": (64, 78), "80-94": (80, 94), **NARROW}
"""The distances to which an event may attend besides 0 to 31; first and last."""
SLOWED = {"as trained": (), "pair 2": (1,), "pairs 3, 4": (2, 3)}
"""The pairs of columns that are interpolated by four, counted from 0."""
TESTS = [
    *(("as trained", band) for band in BANDS),
    *((slowed, band) for slowed in ("pair 2", "pairs 3, 4") for band in ("none", "32-62", "64-94", *NARROW)),
]


def slowed_pairs(slowed: str) -> Rope:
    """RoPE with the pairs of :data:`SLOWED` interpolated and the others as trained."""
    scheme, slow = stretched("as trained"), stretched("interpolated").omega
    scheme.omega = [slow[pair] if pair in SLOWED[slowed] else omega for pair, omega in enumerate(scheme.omega)]
    return scheme


def allowed(band: str) -> torch.Tensor:
    """The mask of a band, (1, 1, T, T), True where a query may attend to a key; the causal mask comes on top."""
    t = torch.arange(LENGTHS[-1])
    back_TT = t[:, None] - t
    mask_TT = back_TT < LENGTH
    if (limits := BANDS[band]) is not None:
        mask_TT |= (limits[0] <= back_TT) & (back_TT <= limits[1])
    return mask_TT[None, None]


@torch.no_grad()
def near_accuracy(model: Recall, seed: int, slowed: str, band: str) -> float:
    """The share of right answers to the near questions of a seed's test streams, under a mask, with pairs slowed."""
    reader, data, mask = with_angles(model, slowed_pairs(slowed)), test_streams(LENGTHS[-1], seed), allowed(band)
    logits = torch.cat(
        [
            reader.places(reader.stack(reader.events(part), mask=mask, is_causal=True)[:, -SCORED:])
            for part in data.ids.split(100)
        ]
    )  # (B, SCORED, PLACES); RoPE adds nothing to the input
    distances = data.distances[:, -SCORED:]
    near = (distances > 0) & (distances < LENGTH)
    return (logits.argmax(-1) == data.answers[:, -SCORED:])[near].float().mean().item()


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Train five models side by side and read with every band. All presets are alike."""
    torch.set_num_threads(1)
    models = build(variant, MODEL_SEEDS)
    train(models, [RATE] * len(models), seeds=MODEL_SEEDS)
    return {
        "rate": RATE,
        "model_seeds": MODEL_SEEDS,
        "near": {
            f"{slowed} | {band}": [
                round(near_accuracy(model, each, slowed, band), 4)
                for model, each in zip(models, MODEL_SEEDS, strict=True)
            ]
            for slowed, band in TESTS
        },
    }
