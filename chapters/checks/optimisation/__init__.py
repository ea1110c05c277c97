"""Checks of the exercises on optimisation."""
