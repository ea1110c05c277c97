"""Checks of the exercises on causal language modelling."""
