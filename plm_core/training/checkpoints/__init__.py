"""Checkpoints: the directory format, when to save and what to keep, and sharded saves."""
