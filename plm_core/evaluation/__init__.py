"""Evaluation of models: losses and their units, metrics, speed and memory."""
