"""Scores by skill as a text table and as a figure: excess above the floor, and accuracy beside the ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from plm_core.evaluation.skills import SkillScore

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def skill_table(scores: Sequence[SkillScore]) -> str:
    """The scores as a text table, with a column for each trivial baseline that was scored."""
    width = max(len("skill"), *(len(score.skill) for score in scores))
    names = list(scores[0].baselines)
    head = (
        f"{'skill':<{width}} {'of words':>8} {'entropy':>8} {'excess':>8}  ± {'95 %':<6} {'accuracy':>8} {'ceiling':>8}"
    )
    lines = [" ".join([head, *(f"{name:>13}" for name in names)])]
    for score in scores:
        row = (
            f"{score.skill:<{width}} {score.share:>8.1%} {score.entropy:>8.3f} {score.excess:>8.3f}  "
            f"± {score.half_width:<6.3f} {score.accuracy:>8.1%} {score.ceiling:>8.1%}"
        )
        lines.append(" ".join([row, *(f"{score.baselines[name]:>13.1%}" for name in names)]))
    return "\n".join(lines)


def plot_skills(scores: Sequence[SkillScore], path: Path | str | None = None) -> Figure:
    """Draw, for each skill, the model's excess on top of the floor, and its accuracy beside the ceiling.

    Args:
        scores: of :func:`~plm_core.evaluation.skills.score_skills`.
        path: where to save the figure; None only returns it.

    Returns:
        The matplotlib figure, two panels with a row for each skill.
    """
    import matplotlib.pyplot as plt

    rows = range(len(scores))
    floor, excess = [score.entropy for score in scores], [score.excess for score in scores]
    spread = [min(score.half_width, score.entropy + score.excess) for score in scores]
    with resources.as_file(resources.files("plm_core") / "figures.mplstyle") as style, plt.style.context(style):
        figure, (loss, hits) = plt.subplots(1, 2, sharey=True, figsize=(8, 1.6 + 0.28 * len(scores)))
        loss.barh(rows, floor, color="0.75", label="floor")
        ends = [low + more for low, more in zip(floor, excess, strict=True)]
        loss.barh(rows, excess, left=floor, xerr=spread, capsize=2, label="excess, with 95 % interval")
        widest = max(end + more for end, more in zip(ends, spread, strict=True))
        loss.set(xlabel="loss (nats per word)", xlim=(0, 1.05 * widest))
        loss.set_yticks(rows, [score.skill for score in scores])
        loss.invert_yaxis()
        for name, marker in zip(scores[0].baselines, "<>x", strict=False):
            hits.plot([score.baselines[name] for score in scores], rows, marker, color="0.5", label=name)
        hits.plot([score.accuracy for score in scores], rows, "o", label="accuracy")
        hits.plot([score.ceiling for score in scores], rows, "|", color="black", markersize=14, label="ceiling")
        hits.set(xlabel="accuracy", xlim=(-0.03, 1.03))
        figure.legend(loc="outside lower center", ncols=4)
        if path is not None:
            figure.savefig(path)
            plt.close(figure)
    return figure
