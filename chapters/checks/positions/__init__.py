"""Checks of the exercises on positional encoding."""
