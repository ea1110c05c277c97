"""Compression: the same model in fewer bytes and less time, behind the same interface."""
