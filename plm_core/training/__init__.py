"""The trainer and its parts. Nothing here knows a model: it sees parameters, objectives and batches."""
