"""Checks of the exercises on distillation."""
