"""Checks of the exercises on quantisation."""
