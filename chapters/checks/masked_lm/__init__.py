"""Checks of the exercises on masked language modelling."""
