"""Four position schemes on a recall task, trained on streams of 32 events and tested on streams of up to 128.

Task, model, baselines and tests are those of :mod:`plm_chapters.experiments.position_recall`. A run is one scheme:

1. Sweep: five learning rates, 600 steps each, one seed that is not used again. The criterion is the mean loss of the
   last 50 steps, on streams that the model has not seen before. If the best rate is the lowest or the highest, the
   sweep goes on.
2. Five seeds at that rate, 2,000 steps; then the tests, on streams that are the same for all schemes and others for
   each seed. The five models train side by side as one batch, so the seeds are inside the run and ``SEEDS`` has one
   entry.
3. The models with RoPE are tested again without further training: with three repairs at six factors, and with the
   angles of one pair of columns interpolated, or of all pairs but one.

Criteria, fixed before the runs. *Near* questions have their evidence at most 31 events back, *far* ones beyond that.
Every interval is Student's with 4 degrees of freedom for a difference paired by seed, at 95 % after Bonferroni's
correction for 36 comparisons, four for each of the nine schemes of the experiments 06 and 06b. At 128 events, a scheme

- *reads order* on near questions if the interval of its accuracy minus that of the majority rule lies above zero;
- *reads order* on far questions likewise;
- *carries over* if the interval of its accuracy on near questions minus that at 32 events lies above -0.05;
- *gains* over truncation if the interval of its accuracy on all questions minus that of the same models with
  truncated streams lies above zero.

A scheme has learnt the task if it answers 95 % of the questions at 32 events, averaged over the seeds. Where one does
not within the 2,000 steps, the budget is spent and its results hold for this budget only.

A repair *works* on near (far) questions at 128 events if two intervals lie above zero: that of its accuracy minus that
of the same models as trained, and that of its accuracy minus the majority rule. A pair of columns is *decisive* on near
(far) questions if interpolating it alone works there and interpolating all others but this one does not. These are 104
comparisons, two for each of 18 repairs and 8 sets of pairs and for each kind of question; they are corrected for by
themselves.
"""

from __future__ import annotations

from plm_chapters.experiments.position_runs import run_scheme
from plm_core.runtime import Preset

VARIANTS = ["rope", "alibi", "none", "sinusoidal"]
SEEDS = [0]


def run(variant: str, seed: int, preset: Preset) -> dict[str, object]:
    """Sweep, train five models, test them; see :func:`run_scheme`. All presets are alike."""
    return run_scheme(variant)
