"""Pages of the book whose commands the tests run: what stands on them, and their configuration for a tiny model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def commands(page: str) -> list[list[str]]:
    """The arguments of the commands of ``plm`` on a page, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    split = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert {program for program, *_ in split} == {"plm"}
    return [arguments for _, *arguments in split]


def run_snippet(page: str, name: str) -> None:
    """Run the only block of Python on a page."""
    [snippet] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(snippet, name, "exec"), {})


def write_tiny_configuration(page: str, *, steps: int, **changes: Any) -> None:
    """Write the only configuration of a page to the file that it names, with a tiny model and few steps.

    Args:
        page: the text of the page.
        steps: steps of training; it evaluates and saves every two.
        changes: other fields to set.
    """
    [(name, text)] = re.findall(r"```yaml\n# (\S+)\n(.*?)```", page, re.DOTALL)
    config = yaml.safe_load(text)
    config["model"] |= SMALL
    config |= {"batch_size": 2, **changes}
    config["train"] |= {"steps": steps, "warmup_steps": 1, "eval_every": 2, "save_every": 2}
    Path(name).write_text(yaml.safe_dump(config), encoding="utf-8")
