"""Checks of the exercises on mixed precision."""
