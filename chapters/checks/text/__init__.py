"""Checks of the exercises on tokens and text."""
