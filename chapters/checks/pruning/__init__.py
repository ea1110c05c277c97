"""Checks of the exercises on pruning."""
