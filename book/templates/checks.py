"""Checks of the exercises of the chapter [[title]]."""

from __future__ import annotations

from typing import Any

import torch

from plm_core.checks.feedback import Check, Draw, expect_close, expect_tensor

[[checks]]
