"""Checks of the exercises of the chapter on fine-tuning."""
