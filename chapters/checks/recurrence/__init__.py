"""Checks of the exercises of the chapter on autoencoders and recurrence."""
