"""The trainer and its parts, which work with parameters, objectives and batches of any model."""
