"""Checks of the exercises of the chapter on neural networks."""
