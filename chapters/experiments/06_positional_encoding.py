"""Four position schemes on a recall task, trained on streams of 32 events and tested on streams of up to 128.

Task, model and tests are those of :mod:`plm_chapters.experiments.position_recall`. A run is one scheme:

1. Sweep: five learning rates, 160 of the 400 steps, one seed. The criterion is the mean loss of the last 20 steps, on
   streams that the model has not seen before. If the best rate is the lowest or the highest, the sweep goes on.
2. Five seeds at that rate, with all steps; then the tests, on streams that are the same for all schemes. The five
   models train side by side as one batch, so the seeds are inside the run and ``SEEDS`` has one entry.
3. The models with RoPE are tested again with their angles stretched by the factor 4, without further training.

Criteria, fixed before the runs. *Near* questions have their evidence at most 31 events back, *far* ones beyond that.

- A scheme *carries over* to four times the length if its accuracy on near questions stays within 0.05 of that at the
  trained length, in the mean of five seeds and in at least four of them.
- It *gains* over truncation, which sees no far evidence, if its accuracy on far questions exceeds that of the same
  models with truncated streams, and the 95 % interval of the paired difference, Bonferroni-corrected for the nine
  schemes of the experiments 06 and 06b, excludes zero.
"""

from __future__ import annotations

from plm_chapters.experiments.position_recall import run_scheme
from plm_core.runtime import Preset

VARIANTS = ["rope", "alibi", "none", "sinusoidal"]
SEEDS = [0]


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Sweep, train five models, test them; see :func:`run_scheme`. All presets are alike."""
    return run_scheme(variant, seed)
