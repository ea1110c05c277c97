"""What the autograder does to a submission before it runs it; part of every ``autograder.zip``.

The module needs Otter-Grader, which students do not have; no other module imports it.
"""

from __future__ import annotations

from typing import Any

from otter.plugins import AbstractOtterPlugin


class AnyKernel(AbstractOtterPlugin):
    """Run a submission in the grader's own Python, whatever the student's kernel was called.

    A notebook records the name of the kernel in which it was last open, for example that of a conda environment.
    ``otter run`` would look for a kernel of this name and fail where there is none.
    """

    def before_execution(self, submission: Any) -> Any:
        """Return the submitted notebook with the kernel ``python3`` in its metadata."""
        submission["metadata"]["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
        return submission
