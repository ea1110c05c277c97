"""The logs of a run: a progress bar, metrics as JSON lines, TensorBoard events, a learning curve.

Metrics and speed go to two files on purpose. ``metrics.jsonl`` holds only what the computation determines, so two equal
runs leave equal files; ``speed.jsonl`` holds times, which never repeat.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from plm_core.ownership import replace_file

METRICS_FILE = "metrics.jsonl"
SPEED_FILE = "speed.jsonl"


class RunLog:
    """The logs of one run.

    Args:
        folder: where the files go; None keeps the records in memory only. Records there of later steps than the first
            one are dropped: the run will write them again.
        total_steps: length of the progress bar.
        first_step: the steps before this run, if it is a resumed one.
        tensorboard: also write TensorBoard events.
        quiet: show no progress bar.

    Raises:
        ValueError: ``tensorboard`` is set and TensorBoard is not installed, or there is no folder for it.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        total_steps: int,
        first_step: int = 0,
        tensorboard: bool = False,
        quiet: bool = False,
    ) -> None:
        self.folder = folder
        self.records: list[dict[str, Any]] = []
        self.bar = tqdm(total=total_steps, initial=first_step, unit="step", disable=quiet, dynamic_ncols=True)
        self._writer: Any = None
        if folder is not None:
            drop_after(folder, first_step)
        if tensorboard:
            if folder is None:
                raise ValueError("TensorBoard events need an output folder")
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError("tensorboard is not installed: `pip install tensorboard`, or turn it off") from None
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step or None)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Record values that follow from the computation, which are equal in two equal runs."""
        record = {"step": step, **values}
        self.records.append(record)
        self._append(METRICS_FILE, record)
        if self._writer is not None:
            for key, value in values.items():
                self._writer.add_scalar(key, value, step)

    def speed(self, step: int, values: Mapping[str, float]) -> None:
        """Record times and speeds, which differ from run to run."""
        self._append(SPEED_FILE, {"step": step, **values})

    def advance(self, **shown: str) -> None:
        """Move the bar by one step, showing some values behind it."""
        if shown:
            self.bar.set_postfix(shown, refresh=False)
        self.bar.update(1)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if not self.bar.disable:
            self.bar.write(text)

    def close(self) -> None:
        """Finish the bar and flush the events."""
        self.bar.close()
        if self._writer is not None:
            self._writer.close()

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        if self.folder is not None:
            with (self.folder / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def rates_of(
    tokens: int, seconds: float, *, flops_per_token: float | None = None, peak: float | None = None
) -> dict[str, float]:
    """Tokens per second; operations per second if the cost of a token is known; utilisation (MFU) if the peak is.

    The model FLOP utilisation counts the operations that the model needs, not those that were spent, for example on
    padding (Chowdhery et al. 2022, appendix B).

    Args:
        tokens: real tokens trained on.
        seconds: the time it took.
        flops_per_token: floating-point operations of forward and backward pass.
        peak: floating-point operations a second that the hardware could do.
    """
    rates = {"tokens_per_second": tokens / seconds, "seconds": seconds}
    if flops_per_token is not None:
        rates["flops_per_second"] = flops_per_token * tokens / seconds
        if peak is not None:
            rates["mfu"] = rates["flops_per_second"] / peak
    return rates


def read_metrics(folder: Path | str) -> list[dict[str, Any]]:
    """The metric records of a run, in order. The half-written last line of a killed run is left out.

    Raises:
        FileNotFoundError: the folder holds no metrics.
        ValueError: a line that is no record.
    """
    path = Path(folder) / METRICS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: is {folder} the output folder of a training run?")
    return read_records(path)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a file of metrics or speeds.

    Raises:
        ValueError: a line that is no record; only the last one may be cut short.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            is_record = isinstance(record, dict) and type(record.get("step")) is int
        except (ValueError, RecursionError):
            is_record = False
        if is_record:
            records.append(record)
        elif number < len(lines):
            raise ValueError(
                f'{path}, line {number}: expected a record such as {{"step": 20, ...}}. The file was not written by a '
                "training run, or was changed since: restore it, or move it away"
            )
    return records


def all_records(folder: Path) -> dict[Path, list[dict[str, Any]]]:
    """The records of each file of metrics or speeds that a run has written so far.

    Raises:
        ValueError: as :func:`read_records`.
    """
    files = [folder / name for name in (METRICS_FILE, SPEED_FILE)]
    return {path: read_records(path) for path in files if path.is_file()}


def drop_after(folder: Path, step: int) -> None:
    """Delete the records of later steps: a run that resumes at this step will write them again.

    Raises:
        FileExistsError: a link has the name of the file.
        ValueError: a file that holds something else.
    """
    for path, records in all_records(folder).items():
        records = [record for record in records if record["step"] <= step]
        replace_file(path, "".join(json.dumps(record) + "\n" for record in records).encode())


def plot_learning_curve(
    records: list[dict[str, Any]], path: Path | str | None = None, *, entropy: float | None = None
) -> Any:
    """Plot training and validation loss in nats against steps, with the entropy of the text where it is known.

    Args:
        records: the records of :func:`read_metrics` or :class:`RunLog`.
        path: where to save the figure; None only returns it.
        entropy: the entropy of the text, the lowest possible loss, in nats; None where it is not known.

    Returns:
        The matplotlib figure.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    for key, label in (("train/loss", "training"), ("valid/loss", "validation")):
        points = [(record["step"], record[key]) for record in records if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if key == "valid/loss" else None)
    if entropy is not None:
        axes.axhline(entropy, color="black", linestyle="--", label="entropy")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats)")
    axes.legend()
    if path is not None:
        figure.savefig(path)
        plt.close(figure)
    return figure
