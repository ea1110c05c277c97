"""Checks of the exercises of the chapter on encoder and decoder."""
