"""Checks of the exercises on low-rank factors."""
