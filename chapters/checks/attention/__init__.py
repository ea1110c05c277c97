"""Checks of the exercises on attention."""
