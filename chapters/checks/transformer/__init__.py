"""Checks of the exercises on the Transformer."""
