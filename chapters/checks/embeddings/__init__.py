"""Checks of the exercises on word embeddings."""
